"""The outermost ASGI layer: take a request in whole and strictly, or refuse it before anything runs.

Falcon takes a body that was cut off for complete, decodes paths leniently and reads without a limit in time
or size. So each request becomes a `RawRequest` here first, and what is inside sees nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from haven.api import replies, targets
from haven.api.errors import translate
from haven.api.settings import ApiSettings
from haven.clock import Clock
from haven.errors import RequestError
from haven.ha.forwarding import RawRequest, RawResponse
from haven.telemetry import Telemetry

Scope = dict[str, Any]
Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

RAW = "haven.raw"
"""The key in the ASGI scope under which the request is found further in."""
METHODS = frozenset({"GET", "HEAD", "LIST", "POST", "PUT", "PATCH", "DELETE"})
KEPT_HEADERS = frozenset({"accept", "authorization", "content-type", "x-forwarded-for"})
CLOSE = {"Connection": "close"}
"""Sent where the body was not read to its end: what follows on the connection is no request."""


class Intake:
    """Wrap the Falcon application."""

    def __init__(self, app: AsgiApp, clock: Clock, settings: ApiSettings, telemetry: Telemetry) -> None:
        self._app = app
        self._clock = clock
        self._settings = settings
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope; those that are not HTTP go straight in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock.now()
        status = 499

        async def noting(event: dict[str, Any]) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            await send(event)

        try:
            await self._serve(scope, receive, noting)
        finally:
            self._telemetry.http(scope["method"], status, self._clock.now() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            inner = await self._take(scope, receive)
        except RequestError as error:
            refusal = translate(error)
            closing = RawResponse(refusal.status, {**refusal.headers, **CLOSE}, refusal.body)
            await _answer(scope["method"], closing, send)
            return
        if isinstance(inner, RawResponse):
            await _answer(scope["method"], inner, send)
            return
        await self._app(inner, _replay(receive), send)

    async def _take(self, scope: Scope, receive: Receive) -> Scope | RawResponse:
        """Return the scope with the whole request in it, or a redirection; raises `RequestError`."""
        if scope["method"] not in METHODS:
            raise RequestError(405)
        target = targets.target_of(scope["raw_path"], scope.get("query_string", b""))
        path, query = targets.split(target)
        body = await self._body(scope, receive)
        if (tidy := targets.clean(path)) != path:
            return replies.empty(301, {"Location": quote(tidy) + (f"?{query}" if query else "")})
        raw = RawRequest(scope["method"], target, _headers(scope), body)
        return {**scope, "path": path, RAW: raw}

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read the whole body; raises `RequestError` if it is too large, too slow or cut off."""
        declared = _declared_length(scope)
        if declared is not None and declared > self._settings.max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await self._chunks(receive)
        except TimeoutError:
            raise RequestError(408, "request body did not arrive in time") from None
        if declared is not None and declared != len(body):
            raise _cut_off()
        return body

    async def _chunks(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _cut_off()
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            if size > self._settings.max_body:
                raise self._too_large()
            if not event.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> RequestError:
        return RequestError(413, f"request body exceeds the limit of {self._settings.max_body} bytes")


def _cut_off() -> RequestError:
    return RequestError(400, "request body was cut off")


def _declared_length(scope: Scope) -> int | None:
    """Return the Content-Length, if any; raises `RequestError` for what is no length."""
    given = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
    if not given:
        return None
    if len(given) > 1 or not given[0].isdigit() or len(given[0]) > 18:
        raise RequestError(400, "Content-Length is no length")
    return int(given[0])


def _headers(scope: Scope) -> Mapping[str, str]:
    """Return the headers that matter, names in lower case; repeated ones are joined with commas."""
    kept: dict[str, str] = {}
    for name_bytes, value_bytes in scope["headers"]:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        if name in KEPT_HEADERS or name.startswith("x-vault-"):
            kept[name] = f"{kept[name]},{value}" if name in kept else value
    return kept


def _replay(receive: Receive) -> Receive:
    """Give the application an empty body at once, then what the server says next."""
    given = False

    async def next_event() -> Event:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return next_event


async def _answer(method: str, response: RawResponse, send: Send) -> None:
    """Send an answer without the application."""
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})
