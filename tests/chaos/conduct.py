"""Play one fault on the running stack while clients work, and judge what they were told."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from chaos.faults import Fault, Promise, Scene
from chaos.watch import ACTIVE, Sample, Watch, overlaps, spans
from chaos.workload import (
    COLUMNS,
    FAILED_READS,
    READS,
    REFUSED,
    UNKNOWN,
    History,
    Record,
    Workload,
    account,
    column,
    longest_pause,
)
from stack.running import NODES, Stack

HAPROXY = "haproxy"
WARM_SECONDS = 1.0
GENEROUS_SECONDS = 10.0
"""What a pause with a budget may last: a bound that only a defect breaks, however busy the machine is."""


@dataclass(slots=True)
class Result:
    """What one fault did; times are seconds since the workload began."""

    fault: str
    seed: int
    promise: Promise
    seconds: float
    began: float
    leaders: tuple[str, str]
    marks: list[tuple[float, str]]
    roles: list[tuple[str, str, int, float, float]]
    failures: list[tuple[float, str, str, str]]
    answers: dict[str, Counter[str]]
    pauses: dict[str, float]
    complaints: list[str] = field(default_factory=list)

    def counts(self, entrance: str) -> str:
        """Return an entrance's account in words."""
        return ", ".join(f"{self.answers[entrance][name]} {name}" for name in COLUMNS)

    def line(self) -> str:
        """Return the fault's line for a person who watches."""
        budget = "-" if self.promise.budget is None else f"{self.promise.budget:.2f} s"
        direct = sum((self.answers[node] for node in NODES), Counter[str]())
        straight = ", ".join(f"{direct[name]} {name}" for name in COLUMNS)
        return (
            f"{self.fault}: pause of reads {self.pauses['reads']:.3f} s, of writes"
            f" {self.pauses['writes']:.3f} s (budget {budget}); {self.leaders[0]} -> {self.leaders[1]};"
            f" through HAProxy {self.counts(HAPROXY)}; at the nodes {straight}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return what the report needs."""
        return {
            "fault": self.fault,
            "seed": self.seed,
            "budget": self.promise.budget,
            "seconds": self.seconds,
            "began": self.began,
            "leaders": self.leaders,
            "marks": self.marks,
            "roles": self.roles,
            "failures": self.failures,
            "answers": {entrance: dict(counts) for entrance, counts in self.answers.items()},
            "pauses": self.pauses,
            "complaints": self.complaints,
        }


async def conduct(stack: Stack, fault: Fault, seed: int, *, clients: int = 10) -> Result:
    """Warm up, let the fault happen and heal, wait until all is well again without a hand, and judge."""
    active = await asyncio.to_thread(stack.settle)
    scene = Scene(stack, random.Random(f"{fault.name}/{seed}"), active)
    entrances = {HAPROXY: stack.url} | {node: stack.node_url(node) for node in NODES}
    watch = Watch({node: stack.metrics_url(node) for node in NODES})
    workload = Workload(entrances, stack.token, seed, clients=clients)
    start = time.monotonic()
    async with watch, workload:
        await asyncio.sleep(WARM_SECONDS)
        began = time.monotonic()
        await asyncio.to_thread(fault.act, scene)
        after = await asyncio.to_thread(stack.settle)
        scene.mark("all is well")
        await asyncio.sleep(WARM_SECONDS)
    return judge(fault, seed, scene, (start, began), after, workload.history, watch.samples)


def judge(
    fault: Fault,
    seed: int,
    scene: Scene,
    times: tuple[float, float],
    after: str,
    history: History,
    samples: list[Sample],
) -> Result:
    """Hold what was recorded against the promise; `times` are the workload's start and the fault's."""
    start, began = times
    ended = max((record.returned for record in history.records), default=began)
    through = history.at(HAPROXY)
    reads = [record for record in through if record.kind in READS]
    writes = [record for record in through if record.kind not in READS]
    result = Result(
        fault=fault.name,
        seed=seed,
        promise=fault.promise,
        seconds=ended - start,
        began=began - start,
        leaders=(scene.active, after),
        marks=[(moment - start, text) for moment, text in scene.marks],
        roles=[
            (node, role, term, since - start, until - start)
            for node, role, term, since, until in spans(samples)
        ],
        failures=[
            (record.returned - start, record.entrance, column(record), f"{record.kind} {record.answer}")
            for record in history.records
            if column(record) in {REFUSED, UNKNOWN, FAILED_READS}
        ],
        answers={entrance: account(history.at(entrance)) for entrance in (HAPROXY, *NODES)},
        pauses={
            "reads": longest_pause(reads, began, ended),
            "writes": longest_pause(writes, began, ended),
        },
    )
    result.complaints = [
        *_lies(history, samples),
        *_broken_promises(fault.promise, scene, history, samples, began),
        *_long_pauses(result),
    ]
    return result


def _lies(history: History, samples: list[Sample]) -> list[str]:
    """Return what must never be, whatever the fault."""
    found = [
        f"{secret}: no legal order of what clients saw; stuck at {verdict.stuck_at}"
        for secret, verdict in history.violations().items()
    ]
    return found + [f"two active nodes: {one} and {other}" for one, other in overlaps(samples)]


def _broken_promises(
    promise: Promise, scene: Scene, history: History, samples: list[Sample], began: float
) -> list[str]:
    """Return what this fault must not cost; requests sent straight to its victims are excused."""
    excused = {
        FAILED_READS: promise.reads_fail,
        UNKNOWN: promise.writes_unknown,
        REFUSED: promise.writes_refused,
    }
    found = []
    for entrance in (HAPROXY, *(node for node in NODES if node not in scene.victims)):
        for name, allowed in excused.items():
            bad = [record for record in history.at(entrance) if column(record) == name]
            if bad and not allowed:
                found.append(f"{entrance}: {len(bad)} {name}: {_some(bad, began)}")
    others = {s.node for s in samples if s.role == ACTIVE and s.begun > began} - {scene.active}
    if promise.leader_stays and others:
        found.append(f"the leader changed from {scene.active} to {', '.join(sorted(others))}")
    return found


def _some(records: list[Record], began: float) -> str:
    """Return the first few failures, with seconds since the fault."""
    shown = (
        f"{r.kind} {r.answer} sent at {r.invoked - began:.2f} back at {r.returned - began:.2f}"
        for r in records[:5]
    )
    return "; ".join(shown)


def _long_pauses(result: Result) -> list[str]:
    if result.promise.budget is None:
        return []
    return [
        f"{kind} paused for {seconds:.1f} s"
        for kind, seconds in result.pauses.items()
        if seconds > GENEROUS_SECONDS
    ]
