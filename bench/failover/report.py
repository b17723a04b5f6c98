"""Tables from results: pauses, failures and ratios, and where the time goes. Pure functions."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.failover.store import STEPS, Result, Setting
from bench.faults import FAULTS, Fault
from bench.pauses import percentile

NAMES = {"haven": "Haven", "openbao": "OpenBao"}


@dataclass(frozen=True)
class Group:
    """The trials of one fault on one kind of cluster."""

    kind: str
    fault: Fault
    results: Sequence[Result]  # those that came to their end
    broken: int

    def pauses(self, of: str = "reads") -> list[float]:
        """Return the pauses of reads or writes, in seconds."""
        return [getattr(one, of)["pause"] for one in self.results]

    def waits(self) -> list[float]:
        """Return the longest waits of any request that succeeded."""
        return [max(one.reads["wait"], one.writes["wait"]) for one in self.results]

    def total(self, of: str, name: str) -> int:
        """Add up a count of reads or writes."""
        return int(sum(getattr(one, of)[name] for one in self.results))

    def steps(self) -> dict[str, float | None]:
        """Return the medians of when each step happened, over the trials that saw it."""
        found: dict[str, float | None] = {}
        for step in STEPS:
            times = [time for one in self.results if (time := one.steps.get(step)) is not None]
            found[step] = median(times) if times else None
        return found

    def verdict(self) -> str:
        """Say whether DESIGN's promise was kept, and where not."""
        misses = []
        slowest = max(percentile(self.pauses("reads"), 99), percentile(self.pauses("writes"), 99))
        if self.fault.budget is not None and slowest > self.fault.budget:
            misses.append("pause")
        if self.total("reads", "refused") + self.total("reads", "unknown"):
            misses.append("reads failed")
        if self.total("writes", "refused"):
            misses.append("writes refused")
        if self.total("writes", "unknown") and not self.fault.loses_writes:
            misses.append("writes unknown")
        if any(one.lost or one.false_refusals for one in self.results):
            misses.append("UNTRUE ANSWERS")
        if self.fault.inflicted_on_consul and any(one.moved for one in self.results):
            misses.append("leader changed")
        if self.broken:
            misses.append("not whole again")
        return ", ".join(misses) or "met"


def groups(results: Iterable[Result], setting: Setting) -> list[Group]:
    """Sort trials by fault and kind; those of another setting are left out."""
    own = [one for one in results if one.setting == setting]
    found = []
    for fault in FAULTS:
        for kind in NAMES:
            these = [one for one in own if (one.kind, one.fault) == (kind, fault.name)]
            if these:
                good = [one for one in these if not one.error]
                found.append(Group(kind, fault, good, len(these) - len(good)))
    return found


def markdown(found: Sequence[Group], setting: Setting, when: str) -> str:
    """Return the whole report."""
    parts = [
        f"# Failover, {setting}",
        f"{when}, {platform.machine()}, {platform.system()} {platform.release()}; times in milliseconds.",
        _pauses(found),
        "Pause: the longest time without a success on the worst stream of probes. Wait: the longest that one"
        " request took that succeeded. Refused: surely not executed. Unknown: perhaps executed. Untrue:"
        " acknowledged writes that are gone, and refused ones that were executed. Probe late: by how much the"
        " probe itself was late at worst; a pause can be longer than the truth by as much.",
        "## How many times longer OpenBao pauses",
        _ratios(found),
        "## Where the time goes",
        "Medians, from the command on; the steps from the nodes' logs, `carried out` from Docker's events.",
        _steps(found),
        "## The probes themselves",
        _lateness(found),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def milliseconds(seconds: float | None) -> str:
    """Return a time for a table."""
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


def _three(values: Sequence[float]) -> list[str]:
    return [milliseconds(percentile(values, percent)) for percent in (50, 99, 100)]


def _pauses(found: Sequence[Group]) -> str:
    head = ["fault", "cluster", "runs", "reads p50", "p99", "max", "writes p50", "p99", "max", "wait max"]
    head += ["reads failed", "writes refused", "writes unknown", "untrue", "probe late", "budget", "promise"]
    rows = []
    for group in found:
        budget = milliseconds(group.fault.budget) if group.kind == "haven" else ""
        rows.append(
            [
                group.fault.name,
                NAMES[group.kind],
                str(len(group.results)) + (f" (+{group.broken} broken)" if group.broken else ""),
                *_three(group.pauses("reads")),
                *_three(group.pauses("writes")),
                milliseconds(max(group.waits(), default=0.0)),
                str(group.total("reads", "refused") + group.total("reads", "unknown")),
                str(group.total("writes", "refused")),
                str(group.total("writes", "unknown")),
                str(sum(one.lost + one.false_refusals for one in group.results)),
                milliseconds(max((one.late["max"] for one in group.results), default=0.0)),
                budget,
                group.verdict() if group.kind == "haven" else "",
            ]
        )
    return _table(head, rows)


def _ratios(found: Sequence[Group]) -> str:
    rows = []
    for fault in FAULTS:
        pair = {group.kind: group for group in found if group.fault is fault and group.results}
        if len(pair) < len(NAMES):
            continue
        row = [fault.name]
        for of in ("reads", "writes"):
            for percent in (50, 99):
                ours, theirs = (percentile(pair[kind].pauses(of), percent) for kind in NAMES)
                row.append(f"{theirs / ours:.1f}" if ours else "-")
        rows.append(row)
    if not rows:
        return "Only one of the two was measured."
    return _table(["fault", "reads p50", "reads p99", "writes p50", "writes p99"], rows)


def _steps(found: Sequence[Group]) -> str:
    rows = [
        [group.fault.name, NAMES[group.kind], *(milliseconds(time) for time in group.steps().values())]
        for group in found
        if group.results
    ]
    return _table(["fault", "cluster", *STEPS], rows)


def _lateness(found: Sequence[Group]) -> str:
    late = [one.late for group in found for one in group.results]
    usual = [one.reads["usual"] for group in found for one in group.results]
    p50, p99, most, cpu, stolen = (
        [one[name] for one in late] or [0.0] for name in ("p50", "p99", "max", "cpu", "stolen")
    )
    return (
        f"Requests were sent late by {milliseconds(median(p50))} ms (median), {milliseconds(max(p99))} ms"
        f" (p99 of the worst run), {milliseconds(max(most))} ms (worst request). Without a fault the longest"
        f" pause of reads in a second was {milliseconds(median(usual or [0.0]))} ms (median) and"
        f" {milliseconds(max(usual, default=0.0))} ms (worst run): pauses of that size are the machine's."
        f" The probes took {100 * max(cpu):.0f} % of one core at most. The host gave"
        f" {100 * median(stolen):.0f} % (median) and {100 * max(stolen):.0f} % (worst run) of this machine's"
        " time to other guests."
    )
