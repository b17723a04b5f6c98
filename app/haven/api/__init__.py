"""The HTTP surface: Falcon resources, middleware, errors."""
