"""By which road a standby may take the lock, and when it may answer afterwards.

One pure decision over what was seen. Only evidence that the old lease is *over* lets
the successor answer at once; in every other case it waits a full check TTL.
"""

from dataclasses import dataclass

from haven.ha.record import LockRecord, Road
from haven.ha.timing import Timing

TTL_EXPIRED = "TTL expired"
"""What Consul writes as the output of a check that ran out, and no operator or restart does."""


@dataclass(frozen=True, slots=True)
class SeenLock:
    """The lock as it was read; `index` 0 means that the key does not exist, `session` "" that it is free."""

    index: int
    session: str = ""
    record: LockRecord | None = None
    first_seen: float = 0.0
    """When this node first saw this holder or its loss, in protocol seconds, after the reply."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the runs and checks of holders.

    `dead_runs`: their liveness connection ended and a reconnect was refused, or found
    another run; a timeout is no such evidence. `resigned_runs`: they said that they
    will never answer again under any session they had. `critical_checks`: the output
    of each check that the catalog shows as critical.
    """

    dead_runs: frozenset[str] = frozenset()
    resigned_runs: frozenset[str] = frozenset()
    critical_checks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CreateLock:
    """Lock the key on condition that it does not exist."""


@dataclass(frozen=True, slots=True)
class ReplaceHolder:
    """Check that `old` still holds the lock, unlock it, lock it with the own session."""

    old: str


@dataclass(frozen=True, slots=True)
class TakeFree:
    """Lock the key on condition that its index is still the one that was seen."""

    index: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A conditional transaction, and how long after its reply to answer nothing (seconds)."""

    transaction: CreateLock | ReplaceHolder | TakeFree
    road: Road
    wait: float

    @property
    def owes_wait(self) -> bool:
        """Tell what the new lock record must say."""
        return self.wait > 0


def attempt(lock: SeenLock, evidence: Evidence, now: float, timing: Timing) -> Attempt | None:
    """Return how to take the lock now, or None while its holder may be alive."""
    if lock.index == 0:
        return Attempt(CreateLock(), Road.FIRST, 0.0)
    road = _proof(lock, evidence)
    if lock.session:
        if road not in {Road.DEATH, Road.RESIGN}:
            return None
        return Attempt(ReplaceHolder(lock.session), road, _inherited_wait(lock, now, timing))
    if road is None:
        return Attempt(TakeFree(lock.index), Road.OTHER, timing.check_ttl)
    return Attempt(TakeFree(lock.index), road, _inherited_wait(lock, now, timing))


def _proof(lock: SeenLock, evidence: Evidence) -> Road | None:
    """Return the road whose evidence shows that the recorded holder answers no more."""
    record = lock.record
    if record is None or (lock.session and lock.session != record.session):
        return None
    if record.run in evidence.dead_runs:
        return Road.DEATH
    if record.run in evidence.resigned_runs:
        return Road.RESIGN
    if record.released and not lock.session:
        return Road.RELEASE
    if (record.check_id, TTL_EXPIRED) in evidence.critical_checks and not lock.session:
        return Road.EXPIRY
    return None


def _inherited_wait(lock: SeenLock, now: float, timing: Timing) -> float:
    """Return what is left of a wait that the holder owed: nobody else has waited it out."""
    if lock.record is None or not lock.record.owes_wait:
        return 0.0
    return max(0.0, lock.first_seen + timing.check_ttl - now)
