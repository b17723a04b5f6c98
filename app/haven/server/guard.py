"""Refuse bodies that were cut off or are too large, before the application acts on them.

Falcon takes a body that ends with the connection for complete: a write would run with half of its data.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

TOO_LARGE = 413
CUT_OFF = 400
TEXTS = {TOO_LARGE: "request body too large", CUT_OFF: "request body was cut off"}


class BodyRefused(Exception):
    """The body cannot be used; raised to whoever reads it."""


class BodyGuard:
    """An ASGI application around another; `limit` is the largest body in bytes."""

    def __init__(self, app: Application, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of any type; only HTTP is guarded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._limit)
        if _declared(scope) > self._limit:
            exchange.refusal = TOO_LARGE
        else:
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except BodyRefused:
                if exchange.started:
                    raise
        await exchange.finish()


class _Exchange:
    """One request and its response."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit
        self._whole = False
        self.started = False
        self.refusal = 0

    async def receive(self) -> Message:
        """Pass a message on; raises `BodyRefused` in place of half a body."""
        if self.refusal:
            raise BodyRefused
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._left < 0:
                self._refuse(TOO_LARGE)
        elif not self._whole:
            self._refuse(CUT_OFF)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the body was refused before the answer began."""
        if self.refusal and not self.started:
            return
        self.started = True
        await self._send(message)

    async def finish(self) -> None:
        """Answer a refused request."""
        if not self.refusal or self.started:
            return
        body = json.dumps({"errors": [TEXTS[self.refusal]]}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await self._send({"type": "http.response.start", "status": self.refusal, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _refuse(self, status: int) -> None:
        self.refusal = status
        raise BodyRefused


def _declared(scope: Scope) -> int:
    """Return the declared length; the parser has refused a wrong or double one."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
