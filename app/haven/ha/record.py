"""What the lock's value says about its holder."""

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum


class Road(StrEnum):
    """How a holder came by the lock (docs/DESIGN.md 3.4)."""

    FIRST = "first"
    HAND_OVER = "hand-over"
    RELEASE = "release"
    RESIGN = "resign"
    DEATH = "death"
    EXPIRY = "expiry"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LockRecord:
    """The value of `core/lock`: everything a peer must know of the holder.

    `owes_wait` says that the lease before this holder's was not provably over when the
    lock was taken, so that whoever replaces this holder early inherits the wait.
    `released` says that the holder freed the lock itself and answers no more.
    `generation` counts how often this run has resigned: a resignation speaks of all that
    it offered up to then, and of nothing that it made afterwards.
    """

    node: str
    run: str
    session: str
    check_id: str
    check_node: str
    api_address: str
    cluster_address: str
    road: Road
    owes_wait: bool = False
    released: bool = False
    generation: int = 0

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "LockRecord | None":
        """Return the record, or None where a stranger wrote something else."""
        try:
            values = json.loads(raw)
            record = cls(**{**values, "road": Road(values["road"])})
        except (ValueError, TypeError, KeyError):
            return None
        return record if all(_well_typed(record, field.name) for field in fields(cls)) else None


def _well_typed(record: LockRecord, name: str) -> bool:
    """Tell whether a field read from outside has its declared kind."""
    kinds: dict[str, type] = {"owes_wait": bool, "released": bool, "generation": int}
    return type(getattr(record, name)) is kinds.get(name, Road if name == "road" else str)
