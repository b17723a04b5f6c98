"""The storage of one activation: cached reads and grouped writes, each under authority.

While the node prepares, the previous lease may still run: reads go past the cache and
nothing is written. What was read in one activation must never serve, nor decide a write,
under the authority of a later one: so each activation has a store of its own, with an
empty cache, and it is dead once the activation ends.

A read is answered only if the lease still holds after the value was read; a write is sent
under the fence, acknowledged only if the lease still holds, and settled if its outcome is
unknown (DESIGN.md 3.3 and 3.5).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from enum import Enum
from typing import Any, TypeVar

from haven.errors import Fenced, NotActive, NotApplied, OutcomeUnknown, Unavailable
from haven.storage.authority import Authority, Warrant
from haven.storage.base import Delete, Limits, Operation, Storage
from haven.storage.cache import Cache, Fill
from haven.storage.commit_count import note_commit
from haven.storage.group_commit import GroupCommit
from haven.storage.group_read import GroupRead
from haven.storage.shared_list import SharedList
from haven.telemetry import Telemetry

log = logging.getLogger("haven.storage")
T = TypeVar("T")

SENDINGS = 5
"""How often a write is sent, each time surely not applied before, until it is refused."""
RETRY_SECONDS = 0.05
"""How long to wait before reading again what became of a write."""
MOST_IN_USE = 24
"""How many keys a successor is told of. What every request needs is among them; each makes the pause longer:
Consul reads one key in 2.8 ms, eight in 4, sixty in 6, and four times that during a change of holder."""
MOST_BYTES_IN_USE = 256 * 1024
"""How many bytes their values may have: they are read in the pause of a change of holder."""


class Phase(Enum):
    """Where an activation stands."""

    PREPARING = "preparing"
    SERVING = "serving"
    ENDED = "ended"


class ActiveStore:
    """Reads and writes of the holder of the lock; raises `NotActive` once it no longer is that."""

    def __init__(self, storage: Storage, authority: Authority, telemetry: Telemetry) -> None:
        self._storage = storage
        self._authority = authority
        self._telemetry = telemetry
        self._cache = Cache()
        self._group = GroupCommit(storage, telemetry)
        self._reads = GroupRead(storage)
        self._lists = SharedList(storage)
        self._sending: Counter[str] = Counter()
        """The keys of writes on their way: nobody knows yet what the storage holds there."""
        self._unsettled: Counter[str] = Counter()
        self._settlement = asyncio.Condition()
        self._expected_keys: frozenset[str] = frozenset()
        self._expected: asyncio.Future[dict[str, bytes | None]] | None = None
        self._phase = Phase.PREPARING
        self._ended = asyncio.Event()

    @property
    def limits(self) -> Limits:
        """Tell what one commit may hold."""
        return self._storage.limits

    def expect(self, groups: Iterable[Sequence[str]]) -> None:
        """Read at once what preparing, and those who wait for it to end, are going to ask for.

        Each group in a call of its own, because one of existing keys only takes one round trip. Call it once,
        after the lock was taken: from then on until it serves, nobody changes these keys.
        """
        wanted = [tuple(group) for group in groups if group]
        self._expected_keys = frozenset().union(*wanted)
        self._expected = asyncio.ensure_future(self._read_all(wanted))
        self._expected.add_done_callback(_take_note)

    async def _read_all(self, groups: Iterable[Sequence[str]]) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        for values in await asyncio.gather(*map(self._storage.get_many, groups)):
            found.update(values)
        return found

    def in_use(self) -> tuple[list[str], list[str]]:
        """Return the keys that were used last, and so will be asked for next: existing and absent ones."""
        return self._cache.in_use(MOST_IN_USE, MOST_BYTES_IN_USE)

    def serve(self) -> None:
        """Go over from preparing to serving."""
        if self._phase is Phase.PREPARING:
            self._phase = Phase.SERVING
            self._keep_expected()

    def end(self) -> None:
        """End the activation for good."""
        self._phase = Phase.ENDED
        self._ended.set()
        self._cache.clear()
        self._forget_expected()

    def _keep_expected(self) -> None:
        """Put what was expected into the cache; a read that nobody waited for may not have ended."""
        read = self._expected
        if read and read.done() and not read.cancelled() and not read.exception():
            for key, value in read.result().items():
                self._cache.end(self._cache.begin(key), value)
        self._forget_expected()

    def _forget_expected(self) -> None:
        if self._expected:
            self._expected.cancel()
        self._expected = None
        self._expected_keys = frozenset()

    async def get(self, key: str) -> bytes | None:
        """Return the value at the key; raises `NotActive` or `Unavailable`."""
        if self._phase is Phase.PREPARING:
            if self._expected and key in self._expected_keys:
                return (await asyncio.shield(self._expected))[key]
            return await self._storage.get(key)
        warrant = self._authority.reading()
        cached = self._cache.get(key)
        self._telemetry.cache("miss" if cached is None else "hit")
        value = await self._fetch(key) if cached is None else cached.value
        self._require(warrant)
        return value

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below the prefix; raises `NotActive` or `Unavailable`."""
        if self._phase is Phase.PREPARING:
            return await self._storage.list(prefix)
        warrant = self._authority.reading()
        names = await self._unless_ended(self._lists.names(prefix))
        self._require(warrant)
        return names

    async def commit(self, operations: Sequence[Operation]) -> None:
        """Apply all operations or none, under the fence.

        Raises `NotActive` or `NotApplied` when surely nothing was applied, `OutcomeUnknown`
        when authority was lost before that could be known.
        """
        keys = {operation.key for operation in operations}
        for _ in range(SENDINGS):
            await self._wait_for_settlement(keys)
            warrant = await self._authority.writing()
            self._require_serving()
            if self._unsettled.keys() & keys:
                continue
            if await self._sent(operations, warrant):
                note_commit(warrant.term)
                return
        raise NotApplied("the write was refused again and again while the lock moved; try again")

    async def _fetch(self, key: str) -> bytes | None:
        if key in self._sending or key in self._unsettled:  # a write may still change it: keep nothing
            return await self._unless_ended(self._reads.get(key))
        fill = self._cache.under_way(key) or self._begin(key)
        assert fill.read is not None
        return await self._unless_ended(asyncio.shield(fill.read))

    async def _unless_ended(self, read: Awaitable[T]) -> T:
        """Wait for a read, but not beyond the activation; raises `NotActive`.

        A holder that is cut off from the storage must not keep who asked it from the next one.
        """
        reading, end = asyncio.ensure_future(read), asyncio.ensure_future(self._ended.wait())
        reading.add_done_callback(_take_note)
        try:
            await asyncio.wait((reading, end), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.is_set():
                raise NotActive
            return reading.result()
        finally:
            end.cancel()
            reading.cancel()

    def _begin(self, key: str) -> Fill:
        """Begin a read that all share who want the key meanwhile: after a change of holder, everybody."""
        fill = self._cache.begin(key)
        fill.read = asyncio.ensure_future(self._read(fill))
        fill.read.add_done_callback(_take_note)
        return fill

    async def _read(self, fill: Fill) -> bytes | None:
        try:
            value = await self._reads.get(fill.key)
        except BaseException:
            self._cache.abandon(fill)
            raise
        self._cache.end(fill, value)
        return value

    def _require(self, warrant: Warrant) -> None:
        self._require_serving()
        if not self._authority.holds(warrant):
            raise NotActive

    def _require_serving(self) -> None:
        if self._phase is not Phase.SERVING:
            raise NotActive

    async def _sent(self, operations: Sequence[Operation], warrant: Warrant) -> bool:
        """Send the write once; tell whether it was applied and may be acknowledged.

        While it is on its way its keys are read past the cache: once somebody has seen what it wrote, in
        a list or at another of its keys, nobody may read what was there before.
        """
        keys = [operation.key for operation in operations]
        self._sending.update(keys)
        for key in keys:
            self._cache.drop(key)
        try:
            await self._group.commit(operations, warrant.fence)
        except Fenced:
            self._telemetry.fenced()
            self._authority.doubt(warrant)
            if not await self._authority.settled(warrant):
                raise NotActive from None
            return False
        except OutcomeUnknown:
            self._authority.doubt(warrant)
            return await self._settle(operations, warrant)
        finally:
            self._sending.subtract(keys)
            self._sending = +self._sending
        held = self._phase is Phase.SERVING and self._authority.holds(warrant)
        for operation in operations:
            if held and operation.key not in self._sending:
                value = None if isinstance(operation, Delete) else operation.value
                self._cache.written(operation.key, value)
            else:  # another write, or another node, may have changed it since
                self._cache.drop(operation.key)
        if held or await self._authority.settled(warrant):
            return True
        raise OutcomeUnknown("the write was stored, but this node lost its authority before it could say so")

    async def _settle(self, operations: Sequence[Operation], warrant: Warrant) -> bool:
        """Find out what became of a write of unknown outcome, by reading one of its keys.

        The commit is atomic and ciphertext is unique, so equal bytes mean that all of it
        was applied. Until then nobody else may write these keys, and none is cached.
        """
        keys = {operation.key for operation in operations}
        self._unsettled.update(keys)
        for key in keys:
            self._cache.drop(key)
        try:
            while await self._authority.settled(warrant):
                try:
                    applied = await self._was_applied(operations)
                except Unavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                log.info("event=settled applied=%s operations=%d", applied, len(operations))
                return applied
        finally:
            self._unsettled.subtract(keys)
            self._unsettled = +self._unsettled
            async with self._settlement:
                self._settlement.notify_all()
        raise OutcomeUnknown("this node lost its authority while the write was on its way")

    async def _was_applied(self, operations: Sequence[Operation]) -> bool:
        written = [operation for operation in operations if not isinstance(operation, Delete)]
        witness: Operation = written[0] if written else operations[0]
        expected = None if isinstance(witness, Delete) else witness.value
        return await self._storage.get(witness.key) == expected

    async def _wait_for_settlement(self, keys: set[str]) -> None:
        if not self._unsettled.keys() & keys:
            return
        async with self._settlement:
            await self._settlement.wait_for(lambda: not self._unsettled.keys() & keys)


def _take_note(read: asyncio.Future[Any]) -> None:
    """Take note of a read's failure, which nobody may be left to receive."""
    if not read.cancelled():
        read.exception()
