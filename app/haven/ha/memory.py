"""A coordination service in memory, with Consul's rules, on an injected clock.

For tests of the driver and for trying the protocol out without Consul. All nodes of one
process share a `MemoryService`; each has a `MemoryCoordinator` of its own.
"""

import asyncio
import math
from collections.abc import Sequence

from haven.clock import Clock
from haven.errors import ConditionFailed, Fenced, NotApplied, Unavailable
from haven.ha.coordinator import Condition, LockReading, MadeSession
from haven.ha.lock_operations import LockEntry, LockOperation, apply, leaving, taking
from haven.ha.record import LockRecord
from haven.ha.takeover import TTL_EXPIRED, ReplaceHolder

WATCH = 10.0
"""How long (seconds) a watch is held open."""


class MemoryService:
    """Sessions bound to TTL checks, and one lock; what expires does so when it is looked at."""

    def __init__(self, clock: Clock, check_ttl: float) -> None:
        self._clock = clock
        self._check_ttl = check_ttl
        self._deadlines: dict[str, float] = {}
        self._checks: dict[str, str] = {}
        self._critical: dict[str, str] = {}
        self._index = 0
        self._entry = LockEntry()
        self._changed = asyncio.Event()

    def entry(self) -> LockEntry:
        """Return the lock as it is now."""
        self._expire()
        return self._entry

    def critical(self) -> tuple[tuple[str, str], ...]:
        """Return every critical check with its output."""
        self._expire()
        return tuple(self._critical.items())

    def add(self, check_id: str) -> str:
        """Register a check, passing, and a session; return the session."""
        session = f"session-of-{check_id}"
        self._checks[session] = check_id
        self._deadlines[session] = self._clock.now() + self._check_ttl
        return session

    def pass_check(self, session: str) -> None:
        """Let the session live for another TTL; raises `Unavailable` where its check is gone."""
        self._expire()
        if session not in self._deadlines:
            raise Unavailable("unknown check")
        self._deadlines[session] = self._clock.now() + self._check_ttl

    def destroy(self, session: str, output: str | None = None) -> None:
        """End a session, which frees its lock; with an output its check turns critical, else it goes."""
        if self._deadlines.pop(session, None) is None:
            return
        check_id = self._checks.pop(session)
        if output is not None:
            self._critical[check_id] = output
        if self._entry.session == session:
            self._index += 1
            self._put(LockEntry(self._index, "", self._entry.record))

    def transact(self, operations: Sequence[LockOperation]) -> int | None:
        """Apply a lock transaction; return its index, or None where it is refused."""
        self._expire()
        after = apply(self._entry, operations, self._deadlines.__contains__, self._index + 1)
        if after is None:
            return None
        self._index += 1
        self._put(after)
        return self._index

    async def wait(self, index: int) -> int:
        """Wait until the lock's index is not this one, or for so long; return it."""
        end = self._clock.now() + WATCH
        while self.entry().index == index and (left := end - self._clock.now()) > 0:
            expiry = min(self._deadlines.values(), default=math.inf) - self._clock.now()
            try:
                async with asyncio.timeout(max(0.001, min(left, expiry))):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return self.entry().index

    def _expire(self) -> None:
        now = self._clock.now()
        for session in [session for session, end in self._deadlines.items() if end <= now]:
            self.destroy(session, TTL_EXPIRED)

    def _put(self, entry: LockEntry) -> None:
        self._entry = entry
        self._changed.set()
        self._changed = asyncio.Event()


class MemoryCoordinator:
    """Implements `Coordinator` on a service that never fails; the agents are only names."""

    def __init__(self, service: MemoryService, agents: Sequence[str] = ("agent-1", "agent-2")) -> None:
        self._service = service
        self._agents = agents

    async def read_lock(self) -> LockReading:
        """Read the lock."""
        entry = self._service.entry()
        return LockReading(entry.index, entry.session, entry.record)

    async def watch_lock(self, index: int) -> tuple[LockReading, int]:
        """Wait until the lock's index is another; the wait index is one more, so that 0 answers at once."""
        if index:
            await self._service.wait(index - 1)
        entry = self._service.entry()
        return LockReading(entry.index, entry.session, entry.record), entry.index + 1

    async def critical_checks(self) -> tuple[tuple[str, str], ...]:
        """Return every critical check with its output."""
        return self._service.critical()

    async def make_session(self, check_id: str, apart_from: str | None) -> MadeSession:
        """Make a session through the first agent that is not `apart_from`."""
        agent = next((name for name in self._agents if name != apart_from), self._agents[0])
        return MadeSession(self._service.add(check_id), check_id, agent)

    async def pass_check(self, session: MadeSession) -> None:
        """Pass the session's check."""
        self._service.pass_check(session.session)

    async def end_session(self, session: MadeSession) -> None:
        """Destroy the session and its check."""
        self._service.destroy(session.session)

    async def move(self, condition: Condition, record: LockRecord) -> int:
        """Apply a lock transaction; raises `Fenced` or `ConditionFailed`."""
        term = self._service.transact(taking(condition, record))
        if term is None:
            raise self._refusal(condition.old if isinstance(condition, ReplaceHolder) else None)
        return term

    async def leave(self, old: str, record: LockRecord) -> int:
        """Free the lock, or give it away; raises `Fenced`."""
        term = self._service.transact(leaving(old, record))
        if term is None:
            raise self._refusal(old)
        return term

    async def close(self) -> None:
        """Close nothing."""

    def _refusal(self, fence: str | None) -> NotApplied:
        """Say as Consul does whether the fence failed, or what came after it."""
        holder = self._service.entry().session
        if fence is not None and holder != fence:
            return Fenced(holder)
        return ConditionFailed("condition not met")
