"""Two nodes on the loopback interface, and ways to break what is between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from haven.clock import BootClock
from haven.ha.follower import Follower
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.handshake import Identity
from haven.ha.hub import Hub
from haven.ha.membership import InUse
from haven.ha.peers import LinkTiming
from haven.ha.record import LockRecord, Road

KEY = bytes(range(32))
CLOCK = BootClock()
BRISK = LinkTiming(tick=0.01, ping=0.05, silent=0.4, isolated=0.6, repeat=0.05, handshake=5.0)
"""A silence is judged soon, in tests that are about silence."""
PATIENT = LinkTiming(silent=30.0, isolated=30.0, repeat=0.05, handshake=20.0)
"""A busy machine is not taken for a silent peer, in all the others."""


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def identity(name: str, port: int = 1, run: str | None = None) -> Identity:
    return Identity(name, run or f"run-{name}", f"http://{name}:8200", f"127.0.0.1:{port}")


def record(name: str, port: int = 1, run: str | None = None, session: str = "s") -> LockRecord:
    return LockRecord(
        name,
        run or f"run-{name}",
        session,
        "c",
        "consul",
        f"http://{name}:8200",
        f"127.0.0.1:{port}",
        Road.FIRST,
    )


def get(target: str = "/v1/secret/x", method: str = "GET", body: bytes = b"") -> RawRequest:
    return RawRequest(method, target, {"x-vault-token": "t"}, body)


def unexpected(name: str) -> None:
    raise AssertionError(f"task died: {name}")


@dataclass
class Told:
    """What a follower reported."""

    deaths: list[str] = field(default_factory=list)
    resigned: list[str] = field(default_factory=list)
    in_use: list[InUse] = field(default_factory=list)
    changes: int = 0

    def on_death(self, run: str) -> None:
        self.deaths.append(run)

    def on_in_use(self, keys: InUse) -> None:
        self.in_use.append(keys)

    def on_resigned(self, word: str) -> None:
        self.resigned.append(word)

    def on_changed(self) -> None:
        self.changes += 1


@dataclass
class Holder:
    """A hub, what it was asked, and how it answers."""

    hub: Hub
    asked: list[RawRequest]
    told: list[tuple[LockRecord, int]]
    answer: Callable[[RawRequest], "asyncio.Future[RawResponse] | RawResponse"]

    def reset_links(self) -> None:
        for link in list(self.hub._links):
            link._writer.transport.abort()

    async def reset_and_forget(self) -> None:
        """Reset the links that there are and wait until none of them is left."""
        await self.met()
        before = set(self.hub._links)
        self.reset_links()
        await until(lambda: not before & set(self.hub._links))

    async def met(self) -> None:
        """Wait until there is a link, and no connection that is not one yet."""
        await until(lambda: bool(self.hub._links) and self.hub._connections == len(self.hub._links))

    async def kill(self) -> None:
        """End as a killed process does: no goodbye, nobody listens any more."""
        await self.met()
        assert self.hub._server
        self.hub._server.close()
        self.reset_links()


def echo(request: RawRequest) -> RawResponse:
    return RawResponse(200, {"x-target": request.target}, request.body)


@asynccontextmanager
async def holder_of(
    name: str, port: int = 0, run: str | None = None, timing: LinkTiming = PATIENT
) -> AsyncIterator[Holder]:
    asked: list[RawRequest] = []
    told: list[tuple[LockRecord, int]] = []

    async def on_request(request: RawRequest) -> RawResponse:
        asked.append(request)
        answer = holder.answer(request)
        return answer if isinstance(answer, RawResponse) else await answer

    def on_holder(found: LockRecord, term: int) -> None:
        told.append((found, term))

    hub = Hub(identity(name, run=run), KEY, CLOCK, on_request, on_holder, unexpected, timing)
    holder = Holder(hub, asked, told, echo)
    await hub.start("127.0.0.1", port)
    try:
        yield holder
    finally:
        await hub.close(1.0)


@asynccontextmanager
async def follower_of(
    name: str, told: Told | None = None, timing: LinkTiming = PATIENT
) -> AsyncIterator[Follower]:
    follower = Follower(identity(name), KEY, CLOCK, told or Told(), unexpected, timing)
    try:
        yield follower
    finally:
        await follower.close()


class Proxy:
    """A TCP proxy that can stop to pass bytes on, without closing anything."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stall(self) -> None:
        self._open.clear()

    def stall_present(self) -> None:
        """Stall the connections that there are, and pass on those that come."""
        self._open.clear()
        self._open = asyncio.Event()
        self._open.set()

    def go_on(self) -> None:
        self._open.set()

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink, self._open))
            self._tasks.add(task)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(65536):
                await passing.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            sink.transport.abort()
        finally:
            sink.close()
