"""One line per record: `time=… level=… area=… message key=value`, or the same as JSON.

Code logs a short message with `key=value` pairs at its end. A traceback becomes the type of the error and
where it came from: its text may hold what a request held, so it is written only for errors known to be clean.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from haven.errors import HavenError

TOKEN = re.compile(r"\b(?:hv[sbr]\.[A-Za-z0-9_-]{8,}|s\.[A-Za-z0-9]{20,})")
"""Vault's forms of service, batch and recovery tokens: a last belt, no licence to log one."""

PAIR = re.compile(r'(?:^|\s)([a-z_][a-z0-9_]*)=("(?:[^"\\]|\\.)*"|\S*)')
FRAMES = 4
CLEAN = (HavenError, OSError)


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send every record of this process to `stream` (stderr); `form` is text or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries explain themselves at these levels; an access log would double a request's cost.
    for noisy in ("asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    """What both forms share."""

    def fields(self, record: logging.LogRecord) -> tuple[dict[str, str], str]:
        """Return the leading fields and the message, on one line and without tokens."""
        leading = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "area": _area(record.name),
        }
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += _error(record.exc_info[1])
        return leading, TOKEN.sub("[token]", message)


class TextFormatter(_Formatter):
    """The form for people and for grep."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        leading, message = self.fields(record)
        escaped = message.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
        return " ".join(f"{name}={value}" for name, value in leading.items()) + " " + escaped


class JSONFormatter(_Formatter):
    """The form for machines: pairs become members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        leading, message = self.fields(record)
        pairs = {name: value.strip('"') for name, value in PAIR.findall(message)}
        first = PAIR.search(message)
        text = message[: first.start()] if first else message
        return json.dumps({**pairs, **leading, "message": text.strip()}, ensure_ascii=False)


def _area(logger: str) -> str:
    """Return the part of a logger's name that tells the area."""
    return logger.removeprefix("haven.").split(".")[0] or "haven"


def _error(error: BaseException) -> str:
    """Describe an error on the line: its type, clean text, and the innermost frames."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, CLEAN) else type(error).__name__
    return f" error={json.dumps(text, ensure_ascii=False)} at={_frames(error.__traceback__)}"


def _frames(trace: TracebackType | None) -> str:
    """Return `file:line:function` of the innermost frames, innermost first."""
    found: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        module = trace.tb_frame.f_globals.get("__name__", "?")
        found.append(f"{module}:{trace.tb_lineno}:{code.co_name}")
        trace = trace.tb_next
    return "<".join(reversed(found[-FRAMES:])) or "-"
