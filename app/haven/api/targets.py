"""Paths and queries: decoded once, strictly, so that policy and storage see the same string."""

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from haven.errors import RequestError

BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))
MAX_FIELDS = 200
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def target_of(raw_path: bytes, query: bytes) -> str:
    """Join a raw path and query to one string of ASCII; bytes beyond it become escapes."""
    whole = raw_path + b"?" + query if query else raw_path
    return quote(whole, safe=VISIBLE)


def split(target: str) -> tuple[str, str]:
    """Return the decoded path and the raw query; raises `RequestError`."""
    path, _, query = target.partition("?")
    return decode(path.encode("ascii")), query


def decode(raw_path: bytes) -> str:
    """Decode a raw path; raises `RequestError` for bad escapes, bad UTF-8 and what cannot be printed."""
    if BAD_ESCAPE.search(raw_path):
        raise RequestError(400, "path holds a bad escape")
    try:
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise RequestError(400, "path is not UTF-8") from None
    if not path.isprintable():
        raise RequestError(400, "path holds characters that cannot be printed")
    return path


def clean(path: str) -> str:
    """Resolve `.`, `..` and empty parts as Go's router does; a slash at the end stays."""
    tidy = posixpath.normpath("/" + path.lstrip("/"))
    return tidy + "/" if path.endswith("/") and tidy != "/" else tidy


def fields(query: str) -> Mapping[str, str]:
    """Return a query's fields; the first value of a repeated one wins. Raises `RequestError`."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise RequestError(400, "query cannot be read") from None
    return dict(reversed(pairs))


def flag(text: str) -> bool:
    """Read a boolean as Go does; raises `RequestError` without text."""
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise RequestError(400)
