"""Serving: gunicorn's `asgi` worker with the few changes that a node needs (docs/adr/0001)."""
