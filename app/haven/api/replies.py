"""HTTP answers as values: JSON bodies, and the headers that each one carries."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from haven.ha.forwarding import RawResponse

HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "Content-Type": "application/json"}
EMPTY_HEADERS: Mapping[str, str] = {"Cache-Control": "no-store"}


def encode(value: Any) -> bytes:
    """Write JSON; whole numbers beyond 64 bits keep all their digits."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> RawResponse:
    """Answer with a JSON body."""
    return RawResponse(status, {**HEADERS, **(headers or {})}, encode(body))


def errors(status: int, texts: Sequence[str] = (), headers: Mapping[str, str] | None = None) -> RawResponse:
    """Answer with Vault's error body; texts may be none."""
    return reply(status, {"errors": list(texts)}, headers)


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> RawResponse:
    """Answer without a body."""
    return RawResponse(status, {**EMPTY_HEADERS, **(headers or {})}, b"")
