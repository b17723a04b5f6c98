"""Lists that are asked for at the same time share one call of the storage.

Consul goes through every key below a prefix for each list: half a second and a hundred megabytes for
100,000 secrets. Who asks while such a call is on its way shares the next one with all others who do: the
one on its way may miss what was acknowledged since it began.
"""

import asyncio

from haven.storage.base import Storage

AT_ONCE = 2
"""How many lists, each of another prefix, may be on their way."""


class SharedList:
    """Gathers the lists of one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._next: dict[str, asyncio.Task[list[str]]] = {}
        """By prefix: the calls that have not begun."""
        self._under_way: dict[str, asyncio.Task[list[str]]] = {}

    async def names(self, prefix: str) -> list[str]:
        """Return the names right below the prefix, as of a moment after this call; raises `Unavailable`."""
        call = self._next.get(prefix)
        if call is None:
            call = asyncio.create_task(self._call(prefix, self._under_way.get(prefix)))
            call.add_done_callback(_take_note)
            self._next[prefix] = call
        return list(await asyncio.shield(call))

    async def _call(self, prefix: str, before: "asyncio.Task[list[str]] | None") -> list[str]:
        if before:
            await asyncio.wait([before])
        async with self._slots:
            own = self._under_way[prefix] = self._next.pop(prefix)
            try:
                return await self._storage.list(prefix)
            finally:
                if self._under_way.get(prefix) is own:
                    del self._under_way[prefix]


def _take_note(call: "asyncio.Task[list[str]]") -> None:
    """Take note of a failure, which nobody may be left to receive."""
    if not call.cancelled():
        call.exception()
