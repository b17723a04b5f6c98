"""Clients' values as JSON in storage; whole numbers keep all their digits."""

import json
import re
from typing import Any

import orjson

from haven.errors import RequestError

LONG_NUMBER = re.compile(rb"[0-9]{18}")
"""What orjson might read as a fraction, because it does not fit 64 bits."""


def encode_value(value: object) -> bytes:
    """Write a value for storage; raises `RequestError` if it is not JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError):
        raise RequestError(400, "the data cannot be written as JSON") from None


def decode_value(raw: bytes) -> Any:
    """Read a value from storage."""
    return json.loads(raw) if LONG_NUMBER.search(raw) else orjson.loads(raw)
