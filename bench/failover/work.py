"""What a benchmark still has to do, and how long that will take."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.failover.store import Setting, Store
from bench.faults import Fault

USUAL_SECONDS = {"haven": 9.0, "openbao": 18.0}
"""How long a trial takes where none has been measured yet."""


@dataclass(frozen=True)
class Work:
    """Each fault `runs` times on each kind of cluster, less what the store has."""

    kinds: Sequence[str]
    faults: Sequence[Fault]
    setting: Setting
    runs: int
    store: Store

    def missing(self, kind: str, fault: Fault) -> int:
        """Return how many trials of a fault are still to be done."""
        if kind not in fault.kinds:
            return 0
        had = sum(
            (one.kind, one.fault, one.setting) == (kind, fault.name, self.setting) and not one.error
            for one in self.store.all()
        )
        return max(0, self.runs - had)

    def left(self, kind: str) -> list[Fault]:
        """Return the faults of which trials are missing."""
        return [fault for fault in self.faults if self.missing(kind, fault)]

    def done(self, kind: str) -> tuple[int, int]:
        """Return how many trials on a kind of cluster have been done, and of how many."""
        whole = self.runs * sum(kind in fault.kinds for fault in self.faults)
        return whole - sum(self.missing(kind, fault) for fault in self.faults), whole

    def seconds_left(self) -> float:
        """Return how long all that is missing will take, judged by the trials so far."""
        return sum(
            self.missing(kind, fault) * self._seconds(kind, fault.name)
            for kind in self.kinds
            for fault in self.faults
        )

    def _seconds(self, kind: str, fault: str) -> float:
        own = [one for one in self.store.all() if one.kind == kind and one.took]
        same = [one.took for one in own if one.fault == fault]
        return fmean(same or [one.took for one in own] or [USUAL_SECONDS[kind]])
