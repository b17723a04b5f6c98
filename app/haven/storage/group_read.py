"""Group reads: reads that arrive together share one call of the storage.

A lone read is sent at once. While the lanes are busy, others gather, and the next call takes all that
fit. After a change of holder everybody who waited asks at once, of a cache that is almost empty.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from haven.errors import StorageError, Unavailable
from haven.storage.base import Storage

MOST_KEYS = 16
"""How many keys one call reads: even if all have the largest value, the answer comes within the deadline."""


@dataclass(eq=False, frozen=True, slots=True)
class _Reading:
    """One read that waits for its call."""

    key: str
    value: "asyncio.Future[bytes | None]"


class GroupRead:
    """Gathers reads of one storage; at most `lanes` calls are in flight."""

    def __init__(self, storage: Storage, lanes: int = 4) -> None:
        self._storage = storage
        self._lanes = lanes
        self._waiting: deque[_Reading] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def get(self, key: str) -> bytes | None:
        """Return the value, linearizably, or None; raises `Unavailable`."""
        reading = _Reading(key, asyncio.get_running_loop().create_future())
        self._waiting.append(reading)
        self._fill_lanes()
        return await reading.value

    def _fill_lanes(self) -> None:
        while self._waiting and len(self._in_flight) < self._lanes:
            most = min(MOST_KEYS, len(self._waiting))
            group = [self._waiting.popleft() for _ in range(most)]
            task = asyncio.get_running_loop().create_task(self._send(group))
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._fill_lanes()

    async def _send(self, group: list[_Reading]) -> None:
        """Read the keys of a group in one call, and give each its value or the failure."""
        keys = [reading.key for reading in group]
        try:
            found = {keys[0]: await self._storage.get(keys[0])} if len(keys) == 1 else await self._many(keys)
        except StorageError as error:
            _tell(group, error)
        except BaseException:
            _tell(group, Unavailable("the read was cut off"))
            raise
        else:
            for reading in group:
                if not reading.value.done():
                    reading.value.set_result(found[reading.key])

    async def _many(self, keys: list[str]) -> dict[str, bytes | None]:
        return dict(await self._storage.get_many(list(dict.fromkeys(keys))))


def _tell(group: list[_Reading], error: StorageError) -> None:
    for reading in group:
        if not reading.value.done():
            reading.value.set_exception(error)
