"""Secrets engines."""
