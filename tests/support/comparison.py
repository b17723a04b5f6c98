"""Send the same requests to two servers and tell, field by field, where their answers differ."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from support.lone_servers import Reply, call

VOLATILE = (
    ("uuid", re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")),
    ("time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")),
    ("token", re.compile(r"\b(hvs|s)\.[A-Za-z0-9_-]{20,}")),
    ("accessor", re.compile(r"\b[A-Za-z0-9]{24}\b")),
    ("mount accessor", re.compile(r"\b[a-z_]+_[0-9a-f]{8}\b")),
)
EPOCH = 1_500_000_000
HEADERS = ("content-type", "cache-control", "retry-after", "allow", "location")


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `{name}` in path, body, token and headers is what an earlier step `keeps`.

    `keeps` says where in the answer: a path of keys joined by `/`. `token` "" sends none.
    """

    name: str
    method: str
    path: str
    body: Any = None
    token: str = "{root}"
    headers: Mapping[str, str] = field(default_factory=dict)
    keeps: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


class Side:
    """One server, with what its answers gave for later requests."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._kept: dict[str, str] = {}

    def play(self, step: Step) -> Reply:
        """Send the step's request."""
        reply = call(
            step.method,
            f"{self._address}/v1/{self._filled(step.path)}",
            self._filled(step.body),
            token=self._filled(step.token),
            headers=self._filled(dict(step.headers)),
            raw=step.raw,
        )
        for name, place in step.keeps.items():
            self._kept[name] = str(_at(reply.body, place.split("/")))
        return reply

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda match: self._kept.get(match[1], match[0]), value)
        if isinstance(value, dict):
            return {name: self._filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._filled(inner) for inner in value]
        return value


def _at(body: Any, place: Sequence[str]) -> Any:
    for key in place:
        try:
            body = body[int(key)] if isinstance(body, list) else body[key]
        except (KeyError, IndexError, TypeError):
            return f"nothing at {'/'.join(place)}"
    return body


@dataclass(frozen=True, slots=True)
class Known:
    """Differences that are meant: in which steps, at which places (`*` takes anything), and why.

    `always` False says that they need not occur in every run.
    """

    reason: str
    places: str
    steps: str = "*"
    always: bool = True

    def covers(self, step: Step, difference: "Difference") -> bool:
        """Tell whether this is one of them; several patterns are separated by `|`."""
        return _matches(step.name, self.steps) and _matches(difference.place, self.places)


def _matches(text: str, patterns: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns.split("|"))


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers differ, and what each had there."""

    place: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.place}: ours {self.ours!r}, theirs {self.theirs!r}"


ABSENT = "(absent)"


def differences(ours: Reply, theirs: Reply) -> list[Difference]:
    """Compare two answers: status, some headers, every field of the body; volatile texts by their kind."""
    found = [] if ours.status == theirs.status else [Difference("status", ours.status, theirs.status)]
    for name in HEADERS:
        if (one := ours.headers.get(name)) != (other := theirs.headers.get(name)):
            found.append(Difference(f"header {name}", one, other))
    return [*found, *_compared("body", normal(ours.body), normal(theirs.body))]


def _compared(place: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            yield from _compared(f"{place}/{key}", ours.get(key, ABSENT), theirs.get(key, ABSENT))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _compared(f"{place}/{number}", one, other)
    elif type(ours) is not type(theirs) or ours != theirs:
        yield Difference(place, ours, theirs)


def normal(value: Any) -> Any:
    """Replace what differs between any two servers by its kind."""
    if isinstance(value, dict):
        return {normal(name): normal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    if type(value) is int and EPOCH < value < 2 * EPOCH:
        return "<seconds since the epoch>"
    if isinstance(value, str):
        for kind, pattern in VOLATILE:
            value = pattern.sub(f"<{kind}>", value)
    return value
