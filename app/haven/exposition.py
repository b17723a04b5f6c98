"""Write a registry in the format that a scraper asks for."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder


@dataclass(frozen=True, slots=True)
class _Families:
    """What the encoders take for a registry."""

    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        return self.families


async def expose(registry: CollectorRegistry, accept: str = "") -> tuple[str, bytes]:
    """Return (content type, body) for the value of the `Accept` header.

    One family at a time, and what else waits in between: all of them take up to 20 ms, in which no
    request would be answered, once for each scrape.
    """
    encode, content_type = choose_encoder(accept)
    end = encode(_Families(()))
    parts = []
    for family in registry.collect():
        parts.append(encode(_Families((family,))).removesuffix(end))
        await asyncio.sleep(0)
    return content_type, b"".join([*parts, end])
