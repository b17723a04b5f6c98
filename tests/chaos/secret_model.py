"""What one KV v2 secret is, sequentially: the specification that a history is judged by."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a client asked of one secret."""

    WRITE = "write"
    CAS = "cas"
    READ = "read"
    DELETE = "delete"
    LISTED = "listed"


class Outcome(StrEnum):
    """What the client was told."""

    DONE = "done"
    MISMATCH = "mismatch"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Secret:
    """The state of one secret; version 0 was never written, value None is deleted."""

    version: int = 0
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One request and its answer; times are seconds of one clock.

    `version` and `value` are what was answered (or, of a write, sent); `expected` is the
    version that a CAS write demanded; `present` whether a list named the secret.
    """

    kind: Kind
    outcome: Outcome
    invoked: float
    returned: float
    value: str | None = None
    version: int | None = None
    expected: int = 0
    present: bool = False
    client: str = ""

    @property
    def optional(self) -> bool:
        """Tell whether it may never have taken effect, or take effect at any later time."""
        return self.outcome is Outcome.UNKNOWN

    @property
    def observes(self) -> bool:
        """Tell whether it never changes the secret, whatever its state."""
        return self.kind in {Kind.READ, Kind.LISTED} or self.outcome is Outcome.MISMATCH


def apply(state: Secret, operation: Operation) -> Secret | None:
    """Return the state after the operation, or None where its answer contradicts the state."""
    match operation.kind:
        case Kind.READ:
            seen = (operation.version or 0, operation.value)
            return state if seen == (state.version, state.value) else None
        case Kind.LISTED:
            return state if operation.present == (state.version > 0) else None
        case Kind.DELETE:
            return Secret(state.version, None)
        case Kind.CAS if operation.outcome is Outcome.MISMATCH:
            return state if state.version != operation.expected else None
        case Kind.CAS if state.version != operation.expected:
            return None
        case _:
            return _written(state, operation)


def _written(state: Secret, operation: Operation) -> Secret | None:
    version = state.version + 1
    if operation.outcome is Outcome.DONE and operation.version != version:
        return None
    return Secret(version, operation.value)
