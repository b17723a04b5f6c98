"""Group commit: writes that arrive together share one storage transaction.

A lone write is sent at once. While the lanes are busy, others gather, and the next
transaction takes as many as fit. Writes of the same key never overtake one another.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from haven.clock import BootClock, Clock
from haven.errors import Fenced, NotApplied, OutcomeUnknown, StorageError, ValueTooLarge
from haven.storage.base import Delete, Fence, Limits, Operation, Storage
from haven.telemetry import Telemetry

OPERATION_OVERHEAD = 200
"""Bytes that a storage spends on one operation beside key and value, at most."""


@dataclass(eq=False, slots=True)
class Member:
    """One atomic write waiting for its transaction."""

    operations: Sequence[Operation] = field(repr=False)
    fence: Fence | None
    outcome: asyncio.Future[None]

    @property
    def keys(self) -> set[str]:
        """Return the keys that it touches."""
        return {operation.key for operation in self.operations}

    @property
    def size(self) -> int:
        """Return about how many bytes it takes in a transaction."""
        return sum(map(size_of, self.operations))


def size_of(operation: Operation) -> int:
    """Return about how many bytes an operation takes in a transaction."""
    value = b"" if isinstance(operation, Delete) else operation.value
    return OPERATION_OVERHEAD + len(operation.key) + len(value)


class GroupCommit:
    """Gathers writes into transactions of one storage; at most `lanes` are in flight."""

    def __init__(
        self, storage: Storage, telemetry: Telemetry, lanes: int = 2, clock: Clock | None = None
    ) -> None:
        self._storage = storage
        self._telemetry = telemetry
        self._clock = clock or BootClock()
        self._lanes = lanes
        self._waiting: deque[Member] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._busy_keys: set[str] = set()

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        """Apply all operations or none, as `Storage.commit` does; raises what that raises."""
        refuse_oversized(operations, self._storage.limits)
        member = Member(operations, fence, asyncio.get_running_loop().create_future())
        self._waiting.append(member)
        self._fill_lanes()
        await member.outcome

    def _fill_lanes(self) -> None:
        while self._waiting and len(self._in_flight) < self._lanes:
            members = self._take()
            if not members:
                return
            keys = set().union(*(member.keys for member in members))
            self._busy_keys |= keys
            task = asyncio.get_running_loop().create_task(self._send(members))
            self._in_flight.add(task)
            task.add_done_callback(lambda done, keys=keys: self._landed(done, keys))  # type: ignore[misc]

    def _landed(self, task: asyncio.Task[None], keys: set[str]) -> None:
        self._in_flight.discard(task)
        self._busy_keys -= keys
        self._fill_lanes()

    def _take(self) -> list[Member]:
        """Take the next members that fit in one transaction, in order, under one fence.

        A member waits on if it touches a key in flight, or a key of an earlier member.
        """
        limits = self._storage.limits
        taken: list[Member] = []
        left: deque[Member] = deque()
        blocked = set(self._busy_keys)
        operations = size = 0
        while self._waiting:
            member = self._waiting.popleft()
            fits = (
                operations + len(member.operations) <= limits.operations
                and size + member.size <= limits.commit_bytes
                and (not taken or member.fence == taken[0].fence)
            )
            if fits and not member.keys & blocked:
                taken.append(member)
                operations += len(member.operations)
                size += member.size
            else:
                left.append(member)
            blocked |= member.keys
        self._waiting = left
        return taken

    async def _send(self, members: list[Member]) -> None:
        operations = [operation for member in members for operation in member.operations]
        began = self._clock.now()
        try:
            await self._storage.commit(operations, members[0].fence)
        except Fenced as error:
            _tell(members, error)
        except NotApplied as error:
            if len(members) == 1:
                _tell(members, error)
            else:  # one of them may be at fault: its neighbours must not fail with it
                for member in members:
                    await self._send([member])
        except StorageError as error:
            _tell(members, error)
        except BaseException:
            _tell(members, OutcomeUnknown("the write was cut off on its way to the storage"))
            raise
        else:
            self._telemetry.group_commit(len(members), self._clock.now() - began)
            _tell(members, None)


def refuse_oversized(operations: Sequence[Operation], limits: Limits) -> None:
    """Raise `ValueTooLarge` for a write that can never fit in one transaction."""
    values = [len(operation.value) for operation in operations if not isinstance(operation, Delete)]
    if any(value > limits.value_bytes for value in values):
        raise ValueTooLarge(limits.value_bytes)
    if len(operations) > limits.operations or sum(map(size_of, operations)) > limits.commit_bytes:
        raise ValueTooLarge(limits.commit_bytes)


def _tell(members: list[Member], error: StorageError | None) -> None:
    for member in members:
        if member.outcome.done():
            continue
        if error is None:
            member.outcome.set_result(None)
        else:
            member.outcome.set_exception(error)
