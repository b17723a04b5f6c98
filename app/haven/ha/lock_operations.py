"""What a change of holder is in Consul's terms: the operations of one transaction, and their rules.

Both coordinators share it: the Consul one encodes the operations, the in-memory one applies them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from haven.ha.record import LockRecord
from haven.ha.takeover import CreateLock, ReplaceHolder, TakeFree


class Verb(StrEnum):
    """The verbs of Consul's `/v1/txn` that a lock transaction uses, spelt as Consul does."""

    CHECK_SESSION = "check-session"
    CHECK_INDEX = "check-index"
    CHECK_NOT_EXISTS = "check-not-exists"
    UNLOCK = "unlock"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class LockOperation:
    """One operation on the lock's key; fields that its verb does not use are empty."""

    verb: Verb
    session: str = ""
    index: int = 0
    record: LockRecord | None = None


@dataclass(frozen=True, slots=True)
class LockEntry:
    """The lock's key as the service holds it; `index` 0 means that it does not exist."""

    index: int = 0
    session: str = ""
    record: LockRecord | None = None


def taking(condition: CreateLock | ReplaceHolder | TakeFree, record: LockRecord) -> tuple[LockOperation, ...]:
    """Return the operations that put the record's session in place, on that condition."""
    lock = LockOperation(Verb.LOCK, record.session, record=record)
    match condition:
        case CreateLock():
            return LockOperation(Verb.CHECK_NOT_EXISTS), lock
        case ReplaceHolder(old):
            return *_unlocking(old, record), lock
        case TakeFree(index):
            return LockOperation(Verb.CHECK_INDEX, index=index), lock


def leaving(old: str, record: LockRecord) -> tuple[LockOperation, ...]:
    """Return the operations that free the lock, or give it to the record's session."""
    if record.released:
        return _unlocking(old, record)
    return *_unlocking(old, record), LockOperation(Verb.LOCK, record.session, record=record)


def _unlocking(old: str, record: LockRecord) -> tuple[LockOperation, LockOperation]:
    return LockOperation(Verb.CHECK_SESSION, old), LockOperation(Verb.UNLOCK, old, record=record)


def apply(
    entry: LockEntry, operations: Sequence[LockOperation], lives: Callable[[str], bool], index: int
) -> LockEntry | None:
    """Return the key after a transaction committed at `index`, or None where Consul refuses it whole."""
    for operation in operations:
        if not _permitted(entry, operation, lives):
            return None
        if operation.verb is Verb.UNLOCK:
            entry = LockEntry(index, "", operation.record)
        elif operation.verb is Verb.LOCK:
            entry = replace(entry, index=index, session=operation.session, record=operation.record)
    return entry


def _permitted(entry: LockEntry, operation: LockOperation, lives: Callable[[str], bool]) -> bool:
    match operation.verb:
        case Verb.CHECK_SESSION | Verb.UNLOCK:
            return entry.index > 0 and entry.session == operation.session
        case Verb.CHECK_INDEX:
            return entry.index == operation.index
        case Verb.CHECK_NOT_EXISTS:
            return entry.index == 0
        case Verb.LOCK:
            return lives(operation.session) and entry.session in {"", operation.session}
