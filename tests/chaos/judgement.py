"""Hold what was seen during a fault against what Haven promises."""

import os
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from chaos.faults import HAPROXY, Fault, Scene
from chaos.watch import ACTIVE, Sample, overlaps, spans
from chaos.workload import (
    COLUMNS,
    FAILED_READS,
    READS,
    REFUSED,
    UNKNOWN,
    History,
    Record,
    account,
    column,
    longest_pause,
)
from stack.running import NODES

GENEROUS_SECONDS = 10.0
"""What a pause with a budget may last: a bound that only a defect breaks."""
BUSY = 4.0 * (os.cpu_count() or 1)
"""From this load on, a process waits for a processor longer than HAProxy waits for a health check: promises
about failed requests are then reported but not judged. That nobody is lied to is judged always."""


@dataclass(slots=True)
class Recording:
    """All that was seen during one fault; times are of the monotonic clock."""

    fault: Fault
    seed: int
    scene: Scene
    start: float
    began: float
    after: str
    history: History
    samples: list[Sample]
    load: float


@dataclass(slots=True)
class Result:
    """What one fault did; times are seconds since its workload began."""

    fault: str
    seed: int
    budget: float | None
    seconds: float
    began: float
    load: float
    leaders: tuple[str, str]
    marks: list[tuple[float, str]]
    roles: list[tuple[str, str, int, float, float]]
    failures: list[tuple[float, str, str, str]]
    answers: dict[str, Counter[str]]
    pauses: dict[str, tuple[float, float]]
    lies: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """Return everything that makes this a failure."""
        return [*self.lies, *self.complaints]

    def line(self) -> str:
        """Return the fault's line for a person who watches."""
        budget = "-" if self.budget is None else f"{self.budget:.2f} s"
        pauses = ", ".join(f"{kind} {until - since:.3f} s" for kind, (since, until) in self.pauses.items())
        direct = sum((self.answers[node] for node in NODES), Counter[str]())
        busy = f"; EXCUSED at load {self.load:.0f}: {'; '.join(self.excused)}" if self.excused else ""
        return (
            f"{self.fault}: longest pause of {pauses} (budget {budget}); {' -> '.join(self.leaders)};"
            f" HAProxy: {_words(self.answers[HAPROXY])}; nodes: {_words(direct)}{busy}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the result as the report reads it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def judge(seen: Recording) -> Result:
    """Sum up what was seen, and say what of it must not be."""
    records = seen.history.records
    ended = max((record.returned for record in records), default=seen.began)
    through = seen.history.at(HAPROXY)
    result = Result(
        fault=seen.fault.name,
        seed=seen.seed,
        budget=seen.fault.promise.budget,
        seconds=ended - seen.start,
        began=seen.began - seen.start,
        load=seen.load,
        leaders=(seen.scene.active, seen.after),
        marks=[(moment - seen.start, text) for moment, text in seen.scene.marks],
        roles=[(*span[:3], span[3] - seen.start, span[4] - seen.start) for span in spans(seen.samples)],
        failures=[
            (r.returned - seen.start, r.entrance, column(r), f"{r.kind} {r.answer}")
            for r in records
            if column(r) in {REFUSED, UNKNOWN, FAILED_READS}
        ],
        answers={entrance: account(seen.history.at(entrance)) for entrance in (HAPROXY, *NODES)},
        pauses={
            "reads": _pause(seen, [record for record in through if record.kind in READS], ended),
            "writes": _pause(seen, [record for record in through if record.kind not in READS], ended),
        },
        lies=_lies(seen),
    )
    broken = [*_failed(seen), *_leader(seen), *_paused(result)]
    if seen.load > BUSY:
        result.excused = broken
    else:
        result.complaints = broken
    return result


def _pause(seen: Recording, records: list[Record], ended: float) -> tuple[float, float]:
    since, until = longest_pause(records, seen.began, ended)
    return since - seen.start, until - seen.start


def _lies(seen: Recording) -> list[str]:
    """Return what must never be, whatever the fault."""
    found = [
        f"{secret}: no legal order of what clients saw; stuck at {verdict.stuck_at}"
        for secret, verdict in seen.history.violations().items()
    ]
    return found + [f"two active nodes: {one} and {other}" for one, other in overlaps(seen.samples)]


def _failed(seen: Recording) -> list[str]:
    """Return requests that this fault must not cost; those sent straight to its victims are excused."""
    promise = seen.fault.promise
    allowed = {
        FAILED_READS: promise.reads_fail,
        UNKNOWN: promise.writes_unknown,
        REFUSED: promise.writes_refused,
    }
    found = []
    for entrance in (name for name in (HAPROXY, *NODES) if name not in seen.scene.victims):
        for name in (name for name, free in allowed.items() if not free):
            bad = [record for record in seen.history.at(entrance) if column(record) == name]
            if bad:
                found.append(f"{entrance}: {len(bad)} {name}: {_some(bad, seen.began)}")
    return found


def _some(records: list[Record], began: float) -> str:
    """Return the first few failures, with seconds since the fault."""
    return "; ".join(
        f"{r.kind} {r.answer} sent at {r.invoked - began:.2f} back at {r.returned - began:.2f}"
        for r in records[:5]
    )


def _leader(seen: Recording) -> list[str]:
    """Return the change of leader that this fault must not bring."""
    active = {sample.node for sample in seen.samples if sample.role == ACTIVE and sample.begun > seen.began}
    others = sorted(active - {seen.scene.active})
    if not seen.fault.promise.leader_stays or not others:
        return []
    return [f"the leader changed from {seen.scene.active} to {', '.join(others)}"]


def _paused(result: Result) -> list[str]:
    """Return pauses that no busy machine explains, where DESIGN names a budget."""
    if result.budget is None:
        return []
    return [
        f"{kind} paused for {until - since:.1f} s"
        for kind, (since, until) in result.pauses.items()
        if until - since > GENEROUS_SECONDS
    ]


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in COLUMNS)
