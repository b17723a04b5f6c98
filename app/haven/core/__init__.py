"""Mounts, router, tokens and policies: what every request passes through."""
