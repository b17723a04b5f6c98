"""Request bodies: JSON or a form, read strictly.

Beyond what Vault refuses, this refuses text after the value, bad UTF-8 and lone surrogates (Vault replaces
them, so that two values become one) and deep nesting. Whole numbers keep their digits, and the last of equal
keys wins.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from haven.errors import RequestError

MAX_DEPTH = 100
"""Nesting that the envelope's encoder surely takes: orjson stops at 254."""
MAX_FORM_FIELDS = 1000
LONG_NUMBER = re.compile(rb"[0-9]{18}")
FORM = "application/x-www-form-urlencoded"
PARSE_ERROR = "error parsing JSON"
KINDS: Mapping[type, str] = {str: "string", bool: "bool", int: "int", list: "list of strings"}


class Malformed(ValueError):
    """The body is not one JSON object of acceptable depth."""


def read_object(body: bytes) -> dict[str, Any]:
    """Read one JSON object; an empty body and `null` are an empty one. Raises `Malformed`."""
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
        if LONG_NUMBER.search(body):
            value = json.loads(body)
    except (ValueError, RecursionError):
        # orjson's text quotes nothing, but the standard module's may: neither is passed on.
        raise Malformed("invalid JSON") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed("not an object")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deep(value):
        raise Malformed("nested too deep")
    return value


def read_logical(body: bytes, content_type: str) -> dict[str, Any]:
    """Read the body of a logical request: JSON whatever its type says, or a form. Raises `RequestError`."""
    try:
        return _read_form(body) if _is_form(body, content_type) else read_object(body)
    except Malformed:
        raise RequestError(400, PARSE_ERROR) from None


def read_fields(body: bytes, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Read the body of a hand-written endpoint: keys in any case, each of its kind, null left out.

    Raises `RequestError`; unknown keys are ignored, as Go does.
    """
    try:
        given = {key.lower(): value for key, value in read_object(body).items()}
    except Malformed as error:
        raise RequestError(400, f"failed to parse JSON input: {error}") from None
    taken = {key: given[key] for key in kinds if given.get(key) is not None}
    for key, value in taken.items():
        if not _is_kind(value, kinds[key]):
            raise RequestError(400, f"failed to parse JSON input: {key} must be a {KINDS[kinds[key]]}")
    return taken


def _is_kind(value: Any, kind: type) -> bool:
    """Tell whether a value has exactly that type; lists hold strings."""
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is kind


def _deep(value: Any) -> bool:
    """Tell whether containers nest deeper than allowed, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return False
    return True


def _containers(value: Any) -> Iterator[Any]:
    """Give the containers right inside a container."""
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield inner


def _is_form(body: bytes, content_type: str) -> bool:
    """Tell a form: curl says so of everything that it posts, so a body that looks like JSON is JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == FORM and body.lstrip(b" \t\r\n")[:1] not in (b"{", b"[")


def _read_form(body: bytes) -> dict[str, Any]:
    """Read a form; a field given once is a string, else a list. Raises `Malformed`."""
    try:
        given = parse_qs(body.decode(), errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise Malformed("invalid form") from None
    return {key: values[0] if len(values) == 1 else values for key, values in given.items()}
