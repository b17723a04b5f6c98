"""The mount table of one term: in memory, and in storage under one key."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from haven.core.logical import View
from haven.core.mounts import MountEntry, MountTable
from haven.core.view import NarrowView, remove_all
from haven.errors import OutcomeUnknown, Unavailable
from haven.storage.base import Put

KEY = "core/mounts"
log = logging.getLogger("haven.mounts")


class MountStore:
    """Hold the table and change it, one change at a time: storage first, then memory."""

    def __init__(self, view: View, table: MountTable) -> None:
        self._view = view
        self._table = table
        self._lock = asyncio.Lock()
        self._stale = False

    @classmethod
    async def load(cls, view: View) -> "MountStore":
        """Read the table; raises `Unavailable` if there is none."""
        return cls(view, await _read(view))

    async def table(self) -> MountTable:
        """Return the table; reads it again after a change of unknown outcome."""
        if self._stale:
            async with self._lock:
                self._table = await _read(self._view)
                self._stale = False
        return self._table

    async def change(self, make: Callable[[MountTable], MountTable]) -> None:
        """Replace the table by what `make` returns; an error that it raises changes nothing."""
        async with self._lock:
            if self._stale:
                self._table = await _read(self._view)
                self._stale = False
            table = make(self._table)
            try:
                await self._view.commit([Put(KEY, table.encode())])
            except OutcomeUnknown:
                self._stale = True
                raise
            self._table = table

    async def stop(self, entry: MountEntry) -> None:
        """Stop serving a mount; `purge` must follow, or `finish` in a later term."""
        await self.change(lambda table: table.with_entry(replace(entry, deleting=True)))

    async def finish(self) -> None:
        """Remove the data of mounts whose removal was cut short, in this term or an earlier one."""
        for entry in (await self.table()).removing():
            await self.purge(entry)

    async def purge(self, entry: MountEntry) -> None:
        """Remove the data of a stopped mount, which nobody may be using, and then its entry."""
        await remove_all(NarrowView(self._view, entry.storage_prefix))
        await self.change(lambda table: table.without(entry.uuid))
        log.info("event=unmounted path=%s accessor=%s", entry.full_path, entry.accessor)


async def _read(view: View) -> MountTable:
    raw = await view.get(KEY)
    if raw is None:
        raise Unavailable("the mount table is missing")
    return MountTable.decode(raw)
