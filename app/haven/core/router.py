"""Which engine answers a path, and with which view."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from haven.clock import Clock
from haven.core.logical import Engine, View
from haven.core.mount_store import MountStore
from haven.core.mounts import AUTH, MountEntry
from haven.core.view import NarrowView

Factory = Callable[[Mapping[str, str], Clock], Engine]
"""Makes an engine from a mount's options."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: a mount, its engine and view, and the path below the mount."""

    entry: MountEntry
    engine: Engine
    view: View
    path: str


class Router:
    """Find the mount of a path; engines live as long as their mount, because they hold its locks."""

    def __init__(
        self,
        mounts: MountStore,
        view: View,
        clock: Clock,
        engines: Mapping[str, Factory],
        auth: Mapping[str, Factory],
    ) -> None:
        self._mounts = mounts
        self._view = view
        self._clock = clock
        self._engines = dict(engines)
        self._auth = auth
        self._users: Counter[str] = Counter()
        self._waiting: dict[str, asyncio.Event] = {}
        self._live: dict[str, tuple[Engine, View]] = {}

    def factory(self, table: str, kind: str) -> Factory | None:
        """Return what makes engines of this type, None if the type is unknown."""
        return (self._auth if table == AUTH else self._engines).get(kind)

    def add_factory(self, kind: str, factory: Factory) -> None:
        """Make one more type of secrets engine known: `sys`, which needs the router itself."""
        self._engines[kind] = factory

    async def route(self, path: str) -> Route | None:
        """Return where a path goes, None if nothing is mounted there."""
        table = await self._mounts.table()
        entry = table.match(path)
        if entry is None and not path.endswith("/"):
            path += "/"
            entry = table.match(path)
        if entry is None:
            return None
        live = self._live.get(entry.uuid) or self._start(entry)
        return None if live is None else Route(entry, *live, path[len(entry.full_path) :])

    @contextmanager
    def using(self, entry: MountEntry) -> Iterator[None]:
        """Keep `emptied` waiting for the length of the block."""
        self._users[entry.uuid] += 1
        try:
            yield
        finally:
            self._users[entry.uuid] -= 1
            if not self._users[entry.uuid]:
                del self._users[entry.uuid]
                if (waiting := self._waiting.pop(entry.uuid, None)) is not None:
                    waiting.set()

    async def emptied(self, entry: MountEntry) -> None:
        """Wait until no request uses a stopped mount any more, and drop its engine."""
        if self._users[entry.uuid]:
            await self._waiting.setdefault(entry.uuid, asyncio.Event()).wait()
        self._live.pop(entry.uuid, None)

    def _start(self, entry: MountEntry) -> tuple[Engine, View] | None:
        factory = self.factory(entry.table, entry.type)
        if factory is None:
            return None
        engine = factory(entry.options or {}, self._clock)
        live = (engine, NarrowView(self._view, entry.storage_prefix))
        self._live[entry.uuid] = live
        return live
