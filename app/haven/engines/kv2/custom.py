"""The limits of custom metadata, refused with every fault at once. Pure."""

from collections.abc import Iterator, Mapping

from haven.core.refusals import multiple
from haven.errors import RequestError

MAX_KEYS = 64
MAX_KEY_BYTES = 128
MAX_VALUE_BYTES = 512
PREFIX = "custom_metadata validation failed"


def checked_custom_metadata(raw: Mapping[str, object], *, drop_null: bool) -> dict[str, str]:
    """Return the pairs as texts; raises `RequestError`. `drop_null` leaves out what a patch removes."""
    pairs = {name: _text(value) for name, value in raw.items() if value is not None or not drop_null}
    if len(pairs) > MAX_KEYS:
        text = f"{PREFIX}: payload must contain at most {MAX_KEYS} keys, provided {len(pairs)}"
        raise RequestError(400, multiple([text]))
    if faults := [fault for name, value in pairs.items() for fault in _faults(name, value)]:
        raise RequestError(400, multiple(faults))
    return pairs


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise RequestError(400, f"{PREFIX}: expected type 'string', got unconvertible type")


def _faults(name: str, value: str) -> Iterator[str]:
    size = len(name.encode())
    if not 0 < size <= MAX_KEY_BYTES:
        yield f'{PREFIX}: length of key "{name}" is {size} but must be 0 < len(key) <= {MAX_KEY_BYTES}'
    size = len(value.encode())
    if not 0 < size <= MAX_VALUE_BYTES:
        yield (
            f'{PREFIX}: length of value for key "{name}" is {size} '
            f"but must be 0 < len(value) <= {MAX_VALUE_BYTES}"
        )
    if not name.isprintable():
        yield f'{PREFIX}: key "{name}" ({name}) contains unprintable characters'
    if not value.isprintable():
        yield f'{PREFIX}: value for key "{name}" contains unprintable characters'
