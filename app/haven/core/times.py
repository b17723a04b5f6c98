"""Times and durations as Vault prints and reads them."""

import re
from datetime import UTC, datetime

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d)")
WHOLE = re.compile(rf"[+-]?(?:{PART.pattern})+")


def rfc3339(seconds: float) -> str:
    """Print seconds since the epoch as Go's RFC3339Nano in UTC: the fraction without closing zeros."""
    moment = datetime.fromtimestamp(seconds, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def go_duration(seconds: int) -> str:
    """Print whole seconds as Go's `Duration.String` does: `1h0m5s`, `0s`."""
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    minutes, second = divmod(rest, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minute}m{second}s"
    return f"{sign}{minute}m{second}s" if minute else f"{sign}{second}s"


def parse_duration(value: object) -> int:
    """Read a number of seconds or a text such as `90`, `1h30m` or `2d`; raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a duration")
    if isinstance(value, (int, float)):
        return int(value)
    text = value.strip()
    if text == "":
        return 0
    try:
        return int(text)
    except ValueError:
        if not WHOLE.fullmatch(text):
            raise ValueError("not a duration") from None
    total = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    return int(-total if text.startswith("-") else total)
