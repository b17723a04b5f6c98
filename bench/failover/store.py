"""Results on disk: one line of JSON per trial, so that a run can be interrupted and taken up again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.trial import Trial

STEPS = ("carried out", "noticed", "sent", "taken", "active", "answered")


@dataclass(frozen=True, slots=True)
class Setting:
    """What trials must have in common to be compared."""

    load: str
    secrets: int

    def __str__(self) -> str:
        parts = [f"load {self.load}" if self.load else "probes only"]
        parts += [f"{self.secrets} secrets"] if self.secrets else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Result:
    """One trial's numbers; times in seconds. `error` says why there are none."""

    kind: str
    fault: str
    load: str
    secrets: int
    reads: dict[str, float]
    writes: dict[str, float]
    steps: dict[str, float | None]
    details: dict[str, int]
    late: dict[str, float]
    lost: int
    false_refusals: int
    moved: bool
    beside: dict[str, int]
    error: str = ""
    took: float = 0.0  # the whole trial, with all waiting

    @property
    def setting(self) -> Setting:
        """Return what it was measured with."""
        return Setting(self.load, self.secrets)


def result(kind: str, trial: Trial, setting: Setting) -> Result:
    """Take the numbers of a trial."""
    details: dict[str, int] = {}
    for record in trial.records:
        if record.outcome != "done" and record.answered >= trial.timeline.asked:
            text = f"{record.kind} {record.outcome}: {record.detail}"
            details[text] = details.get(text, 0) + 1
    return Result(
        kind,
        trial.fault.name,
        setting.load,
        setting.secrets,
        trial.reads.as_dict(),
        trial.writes.as_dict(),
        trial.timeline.offsets(),
        details,
        trial.late,
        trial.verdict.lost,
        trial.verdict.false_refusals,
        trial.leader_before != trial.leader_after,
        trial.load,
    )


def failure(kind: str, fault: str, setting: Setting, error: str) -> Result:
    """Say that a trial did not come to its end."""
    return Result(
        kind, fault, setting.load, setting.secrets, {}, {}, {}, {}, {}, 0, 0, False, {}, error or "unknown"
    )


class Store:
    """The file of a run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "trials.jsonl"

    def add(self, one: Result) -> None:
        """Write a trial's numbers at the end."""
        fields = {name: getattr(one, name) for name in one.__slots__}
        with self._path.open("a") as file:
            file.write(json.dumps(fields) + "\n")

    def all(self) -> Sequence[Result]:
        """Return every trial; a last line that was cut off is passed over."""
        if not self._path.exists():
            return []
        found: list[Result] = []
        lines = self._path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                fields: dict[str, Any] = json.loads(line)
            except ValueError:
                if number == len(lines):
                    break
                raise
            found.append(Result(**fields))
        return found
