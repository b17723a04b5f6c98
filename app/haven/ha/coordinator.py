"""What the driver needs of a coordination service; Consul and the in-memory one are such."""

from dataclasses import dataclass
from typing import Protocol

from haven.ha.record import LockRecord
from haven.ha.takeover import CreateLock, ReplaceHolder, TakeFree

Condition = CreateLock | ReplaceHolder | TakeFree


@dataclass(frozen=True, slots=True)
class LockReading:
    """The lock as read; `index` 0 means that the key does not exist, `session` "" that it is free."""

    index: int
    session: str
    record: LockRecord | None


@dataclass(frozen=True, slots=True)
class MadeSession:
    """A session, its check, the agent (by its Consul node name) that they were made through."""

    session: str
    check_id: str
    check_node: str


class Coordinator(Protocol):
    """Sessions bound to TTL checks, and one lock. Every call has a deadline of its own.

    Reads, passes and registrations raise `Unavailable`; moves raise `OutcomeUnknown`, or `NotApplied`:
    `Fenced` or `ConditionFailed` where the service judged them (`Fenced` names the holder where it did).
    """

    async def read_lock(self) -> LockReading:
        """Read the lock with `consistent`."""
        ...

    async def watch_lock(self, index: int) -> tuple[LockReading, int]:
        """Wait until the lock may differ from what it was at this wait index; 0 answers at once.

        Return the reading (default mode: a hint, never authority) and the next wait index.
        """
        ...

    async def critical_checks(self) -> tuple[tuple[str, str], ...]:
        """Return (check id, output) of every critical check of Haven's services in the catalog."""
        ...

    async def make_session(self, check_id: str, apart_from: str | None) -> MadeSession:
        """Register service, TTL check (passing) and session through an agent other than `apart_from`'s.

        Falls back to the same agent where no other answers.
        """
        ...

    async def pass_check(self, session: MadeSession) -> None:
        """Pass the check through the agent that it was made through; no note."""
        ...

    async def end_session(self, session: MadeSession) -> None:
        """Destroy the session and deregister its service; only call it while Consul has a leader."""
        ...

    async def move(self, condition: Condition, record: LockRecord) -> int:
        """Commit the lock transaction that puts `record` and its session in place; return the term."""
        ...

    async def leave(self, old: str, record: LockRecord) -> int:
        """Unlock under `old`, leave `record`; lock its session too unless it says `released`."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
