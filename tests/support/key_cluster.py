"""Nodes over one memory storage, for tests of the barrier, the seals and what changes keys."""

from collections.abc import Sequence

from haven.barrier.seals import SealConfiguration
from haven.core.core import Core
from haven.errors import NotApplied, OutcomeUnknown
from haven.storage.base import Operation
from haven.storage.memory import MemoryStorage

ROOT_TOKEN = "hvs." + "r" * 24
STATIC_KEY = bytes(range(32))


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, seconds: float = 1_700_000_000.0) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.seconds


class TermStore:
    """The store of a term over raw storage; `fault` strikes the next commit, and what runs before it."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.storage = storage
        self.fault = ""
        self.commits: list[list[Operation]] = []

    async def get(self, key: str) -> bytes | None:
        return await self.storage.get(key)

    async def list(self, prefix: str) -> list[str]:
        return await self.storage.list(prefix)

    async def commit(self, operations: Sequence[Operation]) -> None:
        fault, self.fault = self.fault, ""
        if fault == "refused":
            raise NotApplied("refused by the test")
        await self.storage.commit(operations, None)
        self.commits.append(list(operations))
        if fault == "reply lost":
            raise OutcomeUnknown("reply lost by the test")


def entries(now: float) -> tuple[str, list[tuple[str, bytes]]]:
    return ROOT_TOKEN, [("sys/token/id/root", b"the root token's entry"), ("core/mounts", b"the mounts")]


def node(
    storage: MemoryStorage, seal: SealConfiguration | None = None, clock: SetClock | None = None
) -> Core:
    return Core(storage, seal or SealConfiguration.shamir(), clock or SetClock(), entries)


def static_node(storage: MemoryStorage, clock: SetClock | None = None) -> Core:
    return node(storage, SealConfiguration.static(STATIC_KEY), clock)


async def unsealed(storage: MemoryStorage, keys: Sequence[str], clock: SetClock | None = None) -> Core:
    """Make one more node and unseal it with these shares."""
    core = node(storage, clock=clock)
    for key in keys:
        await core.unseal({"key": key})
    assert not core.sealed
    return core


async def fresh(
    shares: int = 3, threshold: int = 2, clock: SetClock | None = None
) -> tuple[MemoryStorage, Core, list[str]]:
    """Initialise a cluster; return its storage, an unsealed node and all shares in hex."""
    storage = MemoryStorage()
    core = node(storage, clock=clock)
    answer = await core.initialize({"secret_shares": shares, "secret_threshold": threshold})
    for key in answer["keys"][:threshold]:
        await core.unseal({"key": key})
    assert not core.sealed
    return storage, core, answer["keys"]
