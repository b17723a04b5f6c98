"""A node whose state a test sets by hand, and a client that speaks ASGI to the application before it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from haven.api.admission import Admission
from haven.api.app import build_app, build_gate
from haven.api.ports import Holder, RawRequest, RawResponse, Role, SealStatus, Status
from haven.api.settings import ApiSettings
from haven.clock import BootClock
from haven.core.logical import Request, Response
from haven.errors import HavenError, NotActive
from haven.ha.parking import ParkingLimits, ParkingLot
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

OTHER = Holder("haven-2", "https://haven-2:8200/dropped", "haven-2:8201", is_self=False)
MYSELF = Holder("haven-1", "https://haven-1:8200", "haven-1:8201", is_self=True)
UNSEALED = SealStatus("shamir", True, False, 3, 5, 0, "", "consul", "haven-cluster", "an-id")
SEALED = replace(UNSEALED, sealed=True)
BLANK = SealStatus("shamir", False, True, 0, 0, 0, "", "consul")

Handler = Callable[[Request], Awaitable[Response | None]]
Forwarder = Callable[[RawRequest], Awaitable[RawResponse]]


class FakeNode:
    """Implements `haven.api.ports.Node`; what it was asked is kept in lists."""

    def __init__(self, role: Role = Role.ACTIVE, *, ha: bool = True) -> None:
        self.requests: list[Request] = []
        self.forwards: list[RawRequest] = []
        self.calls: list[tuple[str, Any]] = []
        self.handler: Handler = self._echo
        self.forwarder: Forwarder = self._from_holder
        self.result: Mapping[str, Any] = {"keys": ["k"], "root_token": "t"}
        self.refusal: Exception | None = None
        self.lease = True
        self._wake = asyncio.Event()
        self._status = Status(role, UNSEALED, ha, None, 7, None, 0.0, "started")
        self.become(role)

    def become(self, role: Role, holder: Holder | None = None) -> None:
        """Change the role, and wake those who wait for that."""
        seal = {Role.UNINITIALISED: BLANK, Role.SEALED: SEALED}.get(role, UNSEALED)
        holder = MYSELF if role in (Role.ACTIVE, Role.ACTIVATING) else holder
        since = 1700000000.25 if role is Role.ACTIVE else None
        self._status = replace(self._status, role=role, seal=seal, holder=holder, active_since=since)
        self.announce()

    def announce(self) -> None:
        """Wake those who wait for a change."""
        self._wake.set()
        self._wake = asyncio.Event()

    async def _echo(self, request: Request) -> Response | None:
        return Response(data={"path": request.path})

    async def _from_holder(self, request: RawRequest) -> RawResponse:
        return RawResponse(200, {"Content-Type": "application/json"}, b'{"from":"holder"}')

    def status(self) -> Status:
        return self._status

    def may_serve(self) -> bool:
        return self._status.role is Role.ACTIVE and self.lease

    async def handle(self, request: Request) -> Response | None:
        self.requests.append(request)
        return await self.handler(request)

    async def forward(self, request: RawRequest) -> RawResponse:
        self.forwards.append(request)
        return await self.forwarder(request)

    async def changed(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def initialized(self) -> bool:
        return self.status().seal.initialized

    async def initialize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._called("initialize", body)
        return self.result

    async def unseal(self, body: Mapping[str, Any]) -> SealStatus:
        self._called("unseal", body)
        return self._status.seal

    async def seal(self, token: str) -> None:
        self._called("seal", token)

    async def step_down(self, token: str) -> None:
        self._called("step_down", token)

    def _called(self, name: str, argument: Any) -> None:
        self.calls.append((name, argument))
        if self.refusal is not None:
            raise self.refusal


def failing(error: HavenError | Exception) -> Callable[[Any], Awaitable[Any]]:
    """Make a handler or forwarder that always raises."""

    async def fail(_: Any) -> Any:
        raise error

    return fail


def failing_once(error: Exception, then: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Make a handler or forwarder that raises the first time."""
    left = [error]

    async def run(request: Any) -> Any:
        if left:
            raise left.pop()
        return await then(request)

    return run


@dataclass
class Answer:
    """What the client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """The application over a fake node, and everything around it."""

    node: FakeNode = field(default_factory=FakeNode)
    settings: ApiSettings = field(default_factory=ApiSettings)
    patience: float = 30.0
    parking_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        self.telemetry = Telemetry()
        clock = BootClock()
        self.admission = Admission(TaskSet(died=print))
        operations = TaskSet(died=print)
        self.lot = ParkingLot(
            ParkingLimits(bytes=self.parking_bytes, seconds=self.patience), clock, self.telemetry, operations
        )
        self.gate = build_gate(
            self.node, self.admission, operations, self.lot, self.settings, self.telemetry, lambda: "an-id"
        )
        self.app = build_app(self.node, self.gate, operations, clock, self.settings, self.telemetry)

    async def call(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        chunks: Sequence[Mapping[str, Any]] | None = None,
    ) -> Answer:
        """Send a request; `body` is bytes or becomes JSON, `chunks` are the ASGI events in its place."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        if chunks is None:
            chunks = [{"type": "http.request", "body": raw, "more_body": False}]
            given.append((b"content-length", str(len(raw)).encode()))
        return await self.exchange(method, target, given, chunks)

    async def exchange(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        chunks: Sequence[Mapping[str, Any]],
    ) -> Answer:
        """Speak ASGI; after `chunks` the server has nothing more to say."""
        path, _, query = target.encode("latin-1").partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": list(headers),
            "server": ("haven-1", 8200),
            "client": ("client", 1),
        }
        events, sent = list(chunks), []

        async def receive() -> Mapping[str, Any]:
            if events:
                return events.pop(0)
            return await asyncio.Future()

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        await self.app(scope, receive, send)
        names = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], names, b"".join(event.get("body", b"") for event in sent[1:]))


def not_active() -> NotActive:
    """Make the error of a node that lost its authority."""
    return NotActive("no lease")
