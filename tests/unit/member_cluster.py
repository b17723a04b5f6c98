"""Members over one in-memory coordination service in virtual time, and the failures of their ways to it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from haven.errors import NotActive, OutcomeUnknown, Unavailable
from haven.ha.coordinator import Condition, LockReading, MadeSession
from haven.ha.driver import Member, Membership
from haven.ha.membership import InUse
from haven.ha.memory import MemoryCoordinator, MemoryService
from haven.ha.record import LockRecord
from haven.ha.timing import Timing
from haven.telemetry import Telemetry
from virtual_time import VirtualLoop, run

TIMING = Timing()


class Fragile(MemoryCoordinator):
    """Breaks on request: `cut`, nothing is answered; `leaderless`, only passes are; `deaf`, no move is."""

    def __init__(self, service: MemoryService) -> None:
        super().__init__(service)
        self.cut = self.leaderless = self.deaf = False
        self.applies_unanswered = False
        self.made = 0
        self.ended: list[str] = []

    async def _fail(self, failing: bool) -> None:
        if failing:
            await asyncio.sleep(TIMING.call_deadline)
            raise Unavailable("no answer")

    async def read_lock(self) -> LockReading:
        await self._fail(self.cut or self.leaderless)
        return await super().read_lock()

    async def watch_lock(self, index: int) -> tuple[LockReading, int]:
        await self._fail(self.cut or self.leaderless)
        return await super().watch_lock(index)

    async def pass_check(self, session: MadeSession) -> None:
        await self._fail(self.cut)
        await super().pass_check(session)

    async def make_session(self, check_id: str, apart_from: str | None) -> MadeSession:
        self.made += 1
        await self._fail(self.cut or self.leaderless)
        return await super().make_session(check_id, apart_from)

    async def end_session(self, session: MadeSession) -> None:
        self.ended.append(session.session)
        await super().end_session(session)

    async def move(self, condition: Condition, record: LockRecord) -> int:
        return await self._send(super().move(condition, record))

    async def leave(self, old: str, record: LockRecord) -> int:
        return await self._send(super().leave(old, record))

    async def _send(self, transaction: Coroutine[Any, Any, int]) -> int:
        if not (self.cut or self.leaderless or self.deaf):
            return await transaction
        if self.applies_unanswered:
            await transaction
        else:
            transaction.close()
        await asyncio.sleep(TIMING.call_deadline)
        raise OutcomeUnknown("no answer")


@dataclass
class Duties:
    """What a node was told to do; preparing takes 10 ms."""

    prepared: list[int] = field(default_factory=list)
    read_for: list[int] = field(default_factory=list)
    retired: int = 0
    settled: int = 0
    fails: bool = False

    def read_ahead(self, term: int) -> None:
        self.read_for.append(term)

    async def prepare(self, term: int) -> None:
        await asyncio.sleep(0.01)
        if self.fails:
            raise RuntimeError("cannot load")
        self.prepared.append(term)

    def retire(self) -> None:
        self.retired += 1

    def settle(self) -> None:
        self.settled += 1

    def in_use(self) -> InUse:
        return [], []

    def expect(self, keys: InUse) -> None:
        return None


class Node:
    """A member with its way to the service and its duties."""

    def __init__(self, name: str, service: MemoryService, loop: VirtualLoop) -> None:
        self.way = Fragile(service)
        self.duties = Duties()
        self.telemetry = Telemetry(loop)
        self.words: list[str] = []
        self.deaths: list[str] = []
        self.member = Member(
            Membership(name, f"run-{name}", f"http://{name}:8200", f"{name}:8201"),
            self.way,
            loop,
            TIMING,
            self.telemetry,
            self.duties,
            announce_resigned=self.announce,
            died=self.deaths.append,
            random=Random(name),
        )

    async def announce(self, word: str) -> None:
        self.words.append(word)

    @property
    def active(self) -> bool:
        try:
            self.member.reading()
        except NotActive:
            return False
        return True


class MemberCluster:
    """Two nodes; `a` is active when a test begins."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.service = MemoryService(loop, TIMING.check_ttl)
        self.a = Node("a", self.service, loop)
        self.b = Node("b", self.service, loop)

    async def start(self) -> None:
        self.a.member.start()
        await asyncio.sleep(0.1)
        self.b.member.start()
        await asyncio.sleep(1.0)
        assert self.a.active

    async def stop(self) -> None:
        for node in (self.a, self.b):
            await node.member.stop()
            assert node.deaths == []

    async def until(self, condition: Callable[[], bool], within: float) -> float:
        """Wait in virtual time for a condition; return after how many seconds it held."""
        began = self.loop.now()
        while not condition():
            assert self.loop.now() - began < within, "it did not happen in time"
            await asyncio.sleep(0.005)
        return self.loop.now() - began


def in_cluster(test: Callable[[MemberCluster], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in a started cluster, in virtual time, and stop the cluster after it."""

    def played() -> None:
        async def play() -> None:
            cluster = MemberCluster(loop)
            await cluster.start()
            await test(cluster)
            await cluster.stop()

        loop = VirtualLoop()
        run(play(), loop)

    played.__name__ = test.__name__
    return played
