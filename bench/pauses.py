"""What a run's records say: pauses, waits, failures, and how late the probe itself was. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from bench.probes import Kind, Outcome, Record


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without any success, in seconds since the epoch: from one success to the next."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Return its length."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Summary:
    """What clients of one kind saw.

    `pause`: the longest time in which no request of a stream was answered with success, of the worst stream.
    `wait`: the longest that a request which succeeded took. `usual`: the longest pause before the fault.
    """

    requests: int
    pause: float
    wait: float
    usual: float
    refused: int
    unknown: int

    @property
    def failed(self) -> int:
        """Return how many requests did not succeed."""
        return self.refused + self.unknown

    def as_dict(self) -> dict[str, float]:
        """Return the fields for JSON."""
        return asdict(self)


def longest_gap(records: Iterable[Record], since: float, until: float) -> Gap:
    """Return the longest time without a success that ends in the window; the window's end ends it too."""
    answered = sorted(record.answered for record in records if record.outcome is Outcome.DONE)
    last = max((time for time in answered if time < since), default=since)
    worst = Gap(since, since)
    for time in [*(time for time in answered if since <= time < until), until]:
        if time - last > worst.seconds:
            worst = Gap(last, time)
        last = time
    return worst


def worst_gap(records: Sequence[Record], kind: Kind, since: float, until: float) -> Gap:
    """Return the longest pause of any stream of a kind: a pause on one kind of connection is a pause."""
    names = {record.stream for record in records if record.kind is kind}
    gaps = [
        longest_gap((record for record in records if record.stream == name), since, until) for name in names
    ]
    return max(gaps, key=lambda gap: gap.seconds, default=Gap(since, since))


def summarise(
    records: Sequence[Record], kind: Kind, fault: float, until: float, before: float = 1.0
) -> Summary:
    """Judge the requests of a kind; those sent before the fault count when they were answered after it."""
    own = [record for record in records if record.kind is kind]
    touched = [record for record in own if record.answered >= fault or record.answered == 0.0]
    waits = [record.answered - record.sent for record in touched if record.outcome is Outcome.DONE]
    return Summary(
        requests=len(touched),
        pause=worst_gap(own, kind, fault, until).seconds,
        wait=max(waits, default=0.0),
        usual=worst_gap(own, kind, fault - before, fault).seconds,
        refused=sum(record.outcome is Outcome.REFUSED for record in touched),
        unknown=sum(record.outcome is Outcome.UNKNOWN for record in touched),
    )


def lateness(records: Iterable[Record]) -> dict[str, float]:
    """Return p50, p99 and the maximum of how late requests were sent, in seconds."""
    late = [record.sent - record.due for record in records]
    return {"p50": percentile(late, 50), "p99": percentile(late, 99), "max": max(late, default=0.0)}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed (nearest rank); 0 of none."""
    if not values:
        return 0.0
    rank = max(1, -(-len(values) * percent // 100))
    return sorted(values)[int(rank) - 1]
