"""One client connection: gunicorn's protocol with the limits that it lacks."""

import functools
import logging
from asyncio import TimerHandle, Transport
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol

log = logging.getLogger("haven.server")

HEADER_SECONDS = 10.0
"""From the connection, or from a request's first byte, to the end of its headers."""
PIPELINE_BYTES = 1 << 20

REFUSAL = b'{"errors":["too many connections"]}'
REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(REFUSAL), REFUSAL)
)


def prime_parser() -> None:
    """Fill gunicorn's cache of the C parser, on the class that gunicorn reads it from.

    A subclass would fill a cache of its own, which gunicorn then does not find. And the parser's own limit of
    what may follow a message is smaller than one read of uvloop's: it loses the tail of large requests.
    """
    if not ASGIProtocol._check_h1c_protocol_available():
        raise RuntimeError("gunicorn_h1c is not installed")
    parser = ASGIProtocol._h1c_protocol_class
    if not isinstance(parser, functools.partial):
        ASGIProtocol._h1c_protocol_class = functools.partial(parser, limit_remaining=PIPELINE_BYTES)


class Connection(ASGIProtocol):  # type: ignore[misc]
    """A connection that ends in time, and is counted until its handler has ended too."""

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self._limit: TimerHandle | None = None
        self._refused = False
        self._partial = False

    def connection_made(self, transport: Transport) -> None:
        """Take the connection, or answer 503 where there are too many."""
        if self.worker.nr_conns >= self.worker.connection_limit:
            self._refused = True
            log.warning("connection refused, too many open=%d", self.worker.nr_conns)
            transport.write(REFUSED)
            transport.close()
            return
        super().connection_made(transport)
        self.worker.connections.add(self)
        self._task.add_done_callback(lambda _: self.worker.connections.discard(self))
        self._end_in(HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones of a request start its clock."""
        if self._refused:
            return
        if self._awaiting_request and not self._partial:
            self._partial = True
            self._cancel_keepalive_timer()
            self._end_in(HEADER_SECONDS)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        if self._refused:
            return
        self._never_end()
        super().connection_lost(exc)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being received or answered."""
        if self._awaiting_request and not self._partial:
            self._end()

    def _on_headers_complete(self) -> bool:
        """Stop the clock: the application has one of its own for the body."""
        self._partial = False
        self._never_end()
        return bool(super()._on_headers_complete())

    def _end_in(self, seconds: float) -> None:
        self._never_end()
        self._limit = self.worker.loop.call_later(seconds, self._end)

    def _never_end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _end(self) -> None:
        """Close, and wake whoever waits for the rest of the request."""
        self._close_transport()
        self._request_ready.set()
