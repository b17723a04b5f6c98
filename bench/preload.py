"""Fill a cluster with many secrets quickly."""

import asyncio
import itertools

from bench.cluster import Cluster, ClusterError, Node
from bench.load import Full
from bench.probes import Kind

WRITERS = 64
LOOK_SECONDS = 0.2


async def preload(cluster: Cluster, count: int) -> None:
    """Store so many secrets, by parallel writers at the active node itself; raises `ClusterError`."""
    active = await cluster.active()
    if active is None:
        raise ClusterError("no node is active")
    filler = _writer(active, count)
    filler.start()
    while filler.counts["done"] < count:
        await asyncio.sleep(LOOK_SECONDS)
        if filler.counts["refused"] + filler.counts["unknown"] > count // 100:
            filler.stop()
            raise ClusterError(f"too many writes fail: {dict(filler.counts)}")
    filler.stop()


def _writer(active: Node, count: int) -> Full:
    numbers = itertools.count()

    def request(number: int) -> tuple[Kind, bytes]:
        path = f"secret/data/bench-store/{next(numbers) % count}"
        return Kind.WRITE, active.direct.request("PUT", path, {"data": {"value": "x" * 64}})

    return Full(active.direct, WRITERS, request)
