"""When the benchmarks take a cluster for whole."""

import pytest
from bench.cluster import Cluster, Node
from bench.http import Target

NOWHERE = Target("127.0.0.1", 1)
NODES = tuple(Node(f"haven-{number}", number, "", NOWHERE, NOWHERE) for number in (1, 2, 3))


async def test_an_active_node_that_goes_away_at_once_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that a busy machine deposes for a moment broke a whole trial."""
    seen = iter([None, NODES[1]])

    async def whole(self: Cluster) -> bool:
        return True

    async def active(self: Cluster) -> Node | None:
        return next(seen)

    async def complete(target: Target) -> bool:
        return True

    monkeypatch.setattr(Cluster, "_is_whole", whole)
    monkeypatch.setattr(Cluster, "active", active)
    cluster = Cluster("p", "haven", NOWHERE, NODES, {}, {}, {}, complete)
    assert await cluster.whole(settle=0.0) is NODES[1]
