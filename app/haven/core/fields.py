"""Read the fields of a request as leniently as Vault does, and refuse in its words."""

from collections.abc import Mapping
from typing import Any

from haven.core.times import parse_duration
from haven.errors import RequestError

TRUE = {"1", "t", "T", "TRUE", "true", "True"}
FALSE = {"0", "f", "F", "FALSE", "false", "False"}


def _refuse(name: str, kind: str) -> RequestError:
    # Vault quotes the value here; ours may be a secret, so only its field is named.
    return RequestError(
        400, f'Field validation failed: error converting input for field "{name}": expected {kind}'
    )


def integer(data: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number, None if absent; raises `RequestError`."""
    value = data.get(name)
    if value is None:
        return None
    try:
        return as_integer(value)
    except ValueError:
        raise _refuse(name, "an integer") from None


def as_integer(value: object) -> int:
    """Convert as Go's weak decoding does: numbers, texts and booleans; raises `ValueError`."""
    if isinstance(value, str):
        return int(value) if value.strip() else 0
    if isinstance(value, (bool, int)):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError("not an integer")


def boolean(data: Mapping[str, Any], name: str) -> bool | None:
    """Return a truth value, None if absent; raises `RequestError`."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        if value in TRUE:
            return True
        if value in FALSE or value == "":
            return False
    elif isinstance(value, (bool, int)):
        return bool(value)
    raise _refuse(name, "a boolean")


def string(data: Mapping[str, Any], name: str) -> str | None:
    """Return a text, None if absent; raises `RequestError`."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise _refuse(name, "a string")


def mapping(data: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return an object, None if absent; raises `RequestError`."""
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _refuse(name, "an object")
    return value


def duration(data: Mapping[str, Any], name: str, *, signed: bool = False) -> int | None:
    """Return whole seconds, None if absent; raises `RequestError`."""
    value = data.get(name)
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise _refuse(name, "a duration") from None
    if seconds < 0 and not signed:
        raise RequestError(
            400,
            f'Field validation failed: error converting input for field "{name}": '
            "cannot provide negative value",
        )
    return seconds


def strings(data: Mapping[str, Any], name: str) -> list[str] | None:
    """Return a list of texts from an array or a comma-separated text, None if absent."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list) and all(isinstance(part, (str, int, float)) for part in value):
        return [str(part).strip() for part in value]
    raise _refuse(name, "a list of strings")


def integers(data: Mapping[str, Any], name: str) -> list[int]:
    """Return a list of whole numbers from an array, a number or a comma-separated text."""
    value = data.get(name)
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        return [as_integer(part) for part in parts if part != ""]
    except ValueError:
        raise _refuse(name, "a list of integers") from None
