"""A bounded write-through cache of ciphertext, used by the active node only.

A read that misses may come back after a write of the same key: its value is then too old to
be kept. So a fill must be announced before the read is sent, and any change of the key or
of the term between voids it.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice


@dataclass(slots=True)
class Cached:
    """What the storage holds at a key; None is a key that does not exist."""

    value: bytes | None
    asked: bool = field(default=False, compare=False)
    """Whether anybody has asked for it since it came here."""


class Fill:
    """A read of one key on its way to the storage, announced with `Cache.begin`."""

    __slots__ = ("key", "read")

    def __init__(self, key: str) -> None:
        self.key = key
        self.read: asyncio.Future[bytes | None] | None = None
        """What others who want the same key may wait for."""


LOOKED_AT = 8
"""How many entries are looked at for each key in use that is wanted."""
ENTRY_OVERHEAD = 200
"""Bytes that an entry costs beside its key and value, about."""


class Cache:
    """Least recently used entries up to `limit_bytes`; empty at the start of each term."""

    def __init__(self, limit_bytes: int = 16 * 1024 * 1024) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._entries: OrderedDict[str, Cached] = OrderedDict()
        self._fills: dict[str, Fill] = {}

    def get(self, key: str) -> Cached | None:
        """Return what is known of the key, or None where that is nothing."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.asked = True
            self._entries.move_to_end(key)
        return entry

    def in_use(self, most: int, most_bytes: int) -> tuple[list[str], list[str]]:
        """Return the keys asked for last, the latest first: those that exist, and those that do not.

        At most so many together, with values of so many bytes. What was only written does not count.
        """
        existing: list[str] = []
        absent: list[str] = []
        for key in islice(reversed(self._entries), LOOKED_AT * most):
            entry = self._entries[key]
            if not entry.asked:
                continue
            most_bytes -= len(entry.value or b"")
            if most_bytes < 0 or len(existing) + len(absent) == most:
                break
            (absent if entry.value is None else existing).append(key)
        return existing, absent

    def under_way(self, key: str) -> Fill | None:
        """Return the read of the key that is under way, if the key has not changed since it began."""
        return self._fills.get(key)

    def begin(self, key: str) -> Fill:
        """Announce a read of the key."""
        fill = self._fills[key] = Fill(key)
        return fill

    def end(self, fill: Fill, value: bytes | None) -> None:
        """Keep what the announced read brought, unless the key has changed since."""
        if self._fills.get(fill.key) is fill:
            del self._fills[fill.key]
            self._put(fill.key, value, asked=True)

    def abandon(self, fill: Fill) -> None:
        """Take back an announced read that failed."""
        if self._fills.get(fill.key) is fill:
            del self._fills[fill.key]

    def written(self, key: str, value: bytes | None) -> None:
        """Keep what a committed write left; None where it deleted the key."""
        self._fills.pop(key, None)
        self._put(key, value, asked=False)

    def drop(self, key: str) -> None:
        """Forget the key, and void the reads of it that are on their way."""
        self._fills.pop(key, None)
        self._remove(key)

    def clear(self) -> None:
        """Forget everything: the term is over."""
        self._entries.clear()
        self._fills.clear()
        self._size = 0

    def _put(self, key: str, value: bytes | None, *, asked: bool) -> None:
        self._remove(key)
        self._entries[key] = Cached(value, asked)
        self._size += _cost(key, value)
        while self._size > self._limit:
            oldest, entry = self._entries.popitem(last=False)
            self._size -= _cost(oldest, entry.value)

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= _cost(key, entry.value)


def _cost(key: str, value: bytes | None) -> int:
    return ENTRY_OVERHEAD + len(key) + len(value or b"")
