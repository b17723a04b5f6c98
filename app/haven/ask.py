"""Ask a node over HTTP with the standard library alone: `haven status` must start fast and need nothing."""

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


class NoAnswer(Exception):
    """The node did not answer: `text` says why."""


class NotSent(NoAnswer):
    """No connection came about, so that the request was surely not executed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body; the body may hold secrets."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object, {} where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def ask(method: str, url: str, seconds: float, body: object = None) -> Answer:
    """Send one request, never again; `seconds` bounds each wait. Raises `NotSent` or `NoAnswer`."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, seconds)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise NotSent(_reason(error)) from None
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        payload = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, target, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(_reason(error)) from None
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None, seconds: float) -> http.client.HTTPConnection:
    """Make a connection, not yet open."""
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)


def _reason(error: Exception) -> str:
    """Say in a few words why there is no answer."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
