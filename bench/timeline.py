"""When each step of a change happened, from the nodes' logs: one line per decision, with its time."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Steps = Mapping[str, Sequence[str]]

HAVEN_STEPS: Steps = {
    "noticed": (
        "link ended",
        "peer dead",
        "silent=True",
        "peer resigned",
        "giving the lock away",
        "in doubt",
        "resigned:",
    ),
    "sent": ("lock transaction sent", "giving the lock away"),
    "taken": ("lock taken", "refenced term="),
    "active": ("activated", "refenced term="),
}
"""What the lines of each step contain."""

OPENBAO_STEPS: Steps = {
    "noticed": (
        "heartbeat timeout reached",
        "starting leadership transfer",
        "stepping down",
        "marked as sealed",
        "entering follower state",
    ),
    "sent": ("entering candidate state",),
    "taken": ("acquired lock",),
    "active": ("post-unseal setup complete",),
}

STEPS = {"haven": HAVEN_STEPS, "openbao": OPENBAO_STEPS}

PAIR_TIME = re.compile(r"^time=(\S+) ")
BARE_TIME = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)) ")


@dataclass(frozen=True, slots=True)
class Line:
    """A node's log line; its time in seconds since the epoch."""

    time: float
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps in the order of the waterfall; None for one that did not happen or was not logged."""

    asked: float
    done: float | None  # Docker had carried the fault out
    noticed: Line | None
    sent: Line | None
    taken: Line | None
    active: Line | None
    answered: float | None  # the first read that was answered from then on

    def offsets(self) -> dict[str, float | None]:
        """Return each step's seconds after the fault was asked for."""
        lines = {"noticed": self.noticed, "sent": self.sent, "taken": self.taken, "active": self.active}
        times: dict[str, float | None] = {name: line.time if line else None for name, line in lines.items()}
        times = {"carried out": self.done, **times, "answered": self.answered}
        return {name: None if time is None else time - self.asked for name, time in times.items()}


def read_line(node: str, text: str) -> Line | None:
    """Read a line of either of Haven's forms or of OpenBao's; None for anything else."""
    if text.startswith("{"):
        fields = json.loads(text)
        pairs = " ".join(
            f"{name}={value}" for name, value in fields.items() if name not in {"time", "message"}
        )
        return Line(datetime.fromisoformat(fields["time"]).timestamp(), node, f"{fields['message']} {pairs}")
    match = PAIR_TIME.match(text) or BARE_TIME.match(text)
    if match is None:
        return None
    return Line(datetime.fromisoformat(match[1]).timestamp(), node, text[match.end() :])


def trace(
    lines: Iterable[Line],
    steps: Steps,
    asked: float,
    done: float | None,
    answers: Sequence[float],
    until: float,
) -> Timeline:
    """Find the steps of the first change of holder after a fault.

    The transaction is the last one before the lock was taken. `answers`: when reads succeeded.
    """
    # A log's time is cut to milliseconds: what was logged in the millisecond of the fault still counts.
    after = sorted(
        (line for line in lines if asked - 0.001 <= line.time <= until), key=lambda line: line.time
    )
    taken = _first(after, steps["taken"])
    before = [line for line in after if taken is None or line.time <= taken.time]
    ready = [line for line in after if taken and line.time >= taken.time and line.node == taken.node]
    active = _first(ready, steps["active"])
    return Timeline(
        asked,
        done,
        _first(before, steps["noticed"]),
        _first(reversed(before), steps["sent"]),
        taken,
        active,
        min((time for time in answers if active and time >= active.time), default=None),
    )


def _first(lines: Iterable[Line], marks: Sequence[str]) -> Line | None:
    return next((line for line in lines if any(mark in line.text for mark in marks)), None)
