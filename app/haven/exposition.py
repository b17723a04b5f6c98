"""Write a registry in the format that a scraper asks for."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def expose(registry: CollectorRegistry, accept: str = "") -> tuple[str, bytes]:
    """Return (content type, body) for the value of the `Accept` header."""
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)
