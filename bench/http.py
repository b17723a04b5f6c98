"""A small HTTP/1.1 client for probes: cheap per request, exact about what was sent and what came back."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast


class Failure(StrEnum):
    """Why a request has no answer."""

    NOT_SENT = "too many requests wait"
    REFUSED = "connection refused"
    CLOSED = "connection closed"  # after something was sent
    TIMEOUT = "no answer in time"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body, or the failure that took their place (then the status is 0)."""

    status: int
    body: bytes = b""
    failure: Failure | None = None

    def json(self) -> Any:
        """Return the body as JSON; an empty one is None."""
        return json.loads(self.body or b"null")


@dataclass(frozen=True)
class Target:
    """Where requests go, and what each carries."""

    host: str
    port: int
    token: str = field(default="", repr=False)

    def request(self, method: str, path: str, body: object = None, *, close: bool = False) -> bytes:
        """Return the bytes of a request; `close` ends its connection after the answer."""
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /v1/{path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if self.token:
            lines.append(f"X-Vault-Token: {self.token}")
        if payload:
            lines.append("Content-Type: application/json")
        if payload or method in {"PUT", "POST"}:
            lines.append(f"Content-Length: {len(payload)}")
        if close:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode() + payload


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: Callable[[Answer], None] | None = None
        self._buffer = bytearray()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def send(self, request: bytes, done: Callable[[Answer], None]) -> None:
        """Send a request; `done` is called once."""
        assert self._transport is not None
        assert self._done is None
        self._done = done
        self._transport.write(request)

    def abort(self) -> None:
        """End the connection; a request that waits is given up without a word."""
        self._done = None
        self.closed = True
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes until the answer is complete."""
        self._buffer += data
        parsed = parse(self._buffer)
        if parsed is None:
            return
        answer, keep = parsed
        self._buffer.clear()
        if not keep and self._transport:
            self.closed = True
            self._transport.close()
        self._finish(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a request that waits that no answer will come."""
        self.closed = True
        self._finish(Answer(0, failure=Failure.CLOSED))

    def _finish(self, answer: Answer) -> None:
        done, self._done = self._done, None
        if done:
            done(answer)


def parse(buffer: bytearray) -> tuple[Answer, bool] | None:
    """Return an answer and whether its connection stays, or None while bytes are missing."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    headers = _headers(lines[1:])
    body = bytes(buffer[end + 4 :])
    if headers.get("transfer-encoding", "").lower() == "chunked":
        whole = _unchunked(body)
        if whole is None:
            return None
        body = whole
    elif len(body) < int(headers.get("content-length", "0")):
        return None
    return Answer(int(lines[0].split()[1]), body), headers.get("connection", "").lower() != "close"


def _headers(lines: list[str]) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _unchunked(data: bytes) -> bytes | None:
    """Join chunks; None while the last one is missing."""
    whole = b""
    while True:
        size, mark, data = data.partition(b"\r\n")
        if not mark:
            return None
        length = int(size.split(b";")[0], 16)
        if len(data) < length + 2:
            return None
        if length == 0:
            return whole
        whole, data = whole + data[:length], data[length + 2 :]


async def connect(target: Target, seconds: float = 10.0) -> Connection:
    """Open a connection; raises `OSError`, as a timeout does."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        _, connection = await loop.create_connection(Connection, target.host, target.port)
    return connection


async def ask(
    target: Target, method: str, path: str, body: object = None, *, seconds: float = 15.0
) -> Answer:
    """Send one request on a connection of its own; return its answer, or its failure. Raises nothing."""
    try:
        connection = await connect(target, seconds)
    except OSError:
        return Answer(0, failure=Failure.REFUSED)
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    connection.send(target.request(method, path, body, close=True), answered.set_result)
    try:
        async with asyncio.timeout(seconds):
            return await answered
    except TimeoutError:
        return Answer(0, failure=Failure.TIMEOUT)
    finally:
        connection.abort()
