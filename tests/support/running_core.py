"""An in-memory view with a fake clock, and a running core on top of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from haven.core.bootstrap import initial_entries
from haven.core.logical import Request, Response, Verb
from haven.core.running import Running, SystemHandler
from haven.engines.catalog import ENGINES
from haven.errors import NotApplied, RequestError
from haven.storage.base import Delete, Operation, PutIfAbsent

START = 1_700_000_000.0


class FakeClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


class MemoryView:
    """Keeps what is committed; the next commits raise `failures`: (error, whether applied)."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.commits: list[list[Operation]] = []
        self.failures: list[tuple[Exception, bool]] = []

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def list(self, prefix: str) -> list[str]:
        names = set()
        for key in self.values:
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                names.add(name + slash)
        return sorted(names)

    async def commit(self, operations: Sequence[Operation]) -> None:
        assert 0 < len(operations) <= 63, "more than the smallest storage takes"
        assert len({operation.key for operation in operations}) == len(operations)
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or failure[1]:
            self._apply(operations)
        if failure is not None:
            raise failure[0]

    def _apply(self, operations: Sequence[Operation]) -> None:
        self.commits.append(list(operations))
        for operation in operations:
            if isinstance(operation, PutIfAbsent) and operation.key in self.values:
                raise NotApplied(operation.key)
        for operation in operations:
            if isinstance(operation, Delete):
                self.values.pop(operation.key, None)
            else:
                self.values[operation.key] = operation.value


@dataclass
class Core:
    view: MemoryView
    clock: FakeClock
    running: Running
    root: str

    async def __call__(
        self,
        verb: Verb,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        **query: str,
    ) -> Response | None:
        who = self.root if token is None else token
        return await self.running.handle(Request(verb, path, data or {}, query, who))

    async def read(self, path: str, *, token: str | None = None, **query: str) -> Mapping[str, Any]:
        response = await self(Verb.READ, path, token=token, **query)
        assert response is not None
        assert response.data is not None
        return response.data

    async def write(
        self, path: str, data: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> Any:
        response = await self(Verb.UPDATE, path, data, token=token)
        return None if response is None else response.data

    async def token(self, **body: Any) -> str:
        response = await self(Verb.UPDATE, "auth/token/create", body)
        assert response is not None
        assert response.auth is not None
        return str(response.auth["client_token"])

    async def restarted(self) -> "Core":
        """Activate anew over the same storage, as the next term would."""
        running = await Running.activate(self.view, self.clock, ENGINES)
        return Core(self.view, self.clock, running, self.root)


async def start(extensions: Mapping[str, SystemHandler] | None = None) -> Core:
    view, clock = MemoryView(), FakeClock()
    root, entries = initial_entries(clock.wall())
    view.values.update(entries)
    running = await Running.activate(view, clock, ENGINES, extensions)
    return Core(view, clock, running, root)


def one_error(text: str) -> str:
    """Return a text as Go's multierror prints it alone."""
    return f"1 error occurred:\n\t* {text}\n\n"


class Refused:
    """`with Refused(400, "text"):` expects a `RequestError`."""

    def __init__(self, status: int, text: str | None = None) -> None:
        self._raises = pytest.raises(RequestError)
        self._status = status
        self._text = text

    def __enter__(self) -> None:
        self._info = self._raises.__enter__()

    def __exit__(self, *error: Any) -> bool:
        result = bool(self._raises.__exit__(*error))
        assert self._info.value.status == self._status, self._info.value
        if self._text is not None:
            assert self._info.value.errors == [self._text]
        return result
