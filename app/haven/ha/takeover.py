"""By which road a standby may take the lock, and when it may answer afterwards.

One pure decision over what was seen. Only evidence that the old lease is *over* lets
the successor answer at once; in every other case it waits a full check TTL.
"""

import math
from dataclasses import dataclass, replace

from haven.ha.record import LockRecord, Road
from haven.ha.timing import Timing

TTL_EXPIRED = "TTL expired"
"""What Consul writes as the output of a check that ran out, and no operator or restart does."""

REMEMBERED = 64
"""How many dead and resigned runs are remembered. Evidence only ever permits a faster road:
to forget some costs a successor time, never safety, so the oldest go first."""


@dataclass(frozen=True, slots=True)
class SeenLock:
    """The lock as it was read; `index` 0 means that the key does not exist, `session` "" that it is free."""

    index: int
    session: str = ""
    record: LockRecord | None = None
    first_seen: float = 0.0
    """When this node first saw this holder or its loss, in protocol seconds, after the reply."""
    deleted: bool = False
    """Whether the key existed before: an operator deleted it, and its holder may still answer."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the runs and checks of holders.

    `dead`: runs whose liveness connection ended and where a reconnect was refused, or found
    another run; a timeout is no such evidence. `resigned`: runs with the last generation of
    theirs that said it will never answer again. `critical_checks`: the output of each check
    that the catalog shows as critical.
    """

    dead: tuple[str, ...] = ()
    resigned: tuple[tuple[str, int], ...] = ()
    critical_checks: tuple[tuple[str, str], ...] = ()

    def with_death(self, run: str) -> "Evidence":
        """Return the evidence after a run has ended."""
        others = tuple(known for known in self.dead if known != run)
        return replace(self, dead=(*others, run)[-REMEMBERED:])

    def with_resignation(self, run: str, generation: int) -> "Evidence":
        """Return the evidence after a run resigned all that it offered up to this generation."""
        latest = max([generation, *(known for name, known in self.resigned if name == run)])
        others = tuple(known for known in self.resigned if known[0] != run)
        return replace(self, resigned=(*others, (run, latest))[-REMEMBERED:])

    def resigned_from(self, record: LockRecord) -> bool:
        """Tell whether the recorded holder said that it answers no more."""
        return any(run == record.run and record.generation <= latest for run, latest in self.resigned)


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


def attempt(lock: SeenLock, evidence: Evidence, run: str, now: float, timing: Timing) -> Attempt | None:
    """Return how the node whose run this is may take the lock now, or None while its holder may be alive."""
    if lock.index == 0 and lock.deleted:
        return Attempt(CreateLock(), Road.OTHER, timing.check_ttl)
    if lock.index == 0:
        return Attempt(CreateLock(), Road.FIRST, 0.0)
    road = _proof(lock, evidence, run)
    if lock.session:
        if road not in {Road.DEATH, Road.RESIGN}:
            return None
        return Attempt(ReplaceHolder(lock.session), road, inherited_wait(lock, now, timing))
    if road is None:
        return Attempt(TakeFree(lock.index), Road.OTHER, timing.check_ttl)
    return Attempt(TakeFree(lock.index), road, inherited_wait(lock, now, timing))


def _proof(lock: SeenLock, evidence: Evidence, run: str) -> Road | None:
    """Return the road whose evidence shows that the recorded holder answers no more."""
    record = lock.record
    if record is None or (lock.session and lock.session != record.session):
        return None
    if record.run in evidence.dead:
        return Road.DEATH
    if evidence.resigned_from(record):
        return Road.RESIGN
    if lock.session:
        return None
    if record.released or record.run == run:  # a free lock that was last this node's own: it is no holder now
        return Road.RELEASE
    return Road.EXPIRY if (record.check_id, TTL_EXPIRED) in evidence.critical_checks else None


def reserved_until(lock: SeenLock, road: Road, heard: bool, unread: float, timing: Timing) -> float:
    """Return until when a competitor leaves a free lock to its last holder, who need not wait to answer.

    Without proof it is one beat, and a call deadline more while that holder speaks over its link
    (`heard`): a transaction of its own may have to run out first. An expired check proves that the
    lease is over, not that the process is gone: if the holder speaks, and Consul left a read of this
    node unanswered (`unread`: the last time) while passes were missed, Consul had trouble (ADR 8).
    """
    longer = timing.beat + timing.call_deadline
    if road is Road.OTHER:
        return lock.first_seen + (longer if heard else timing.beat)
    if road is Road.EXPIRY and heard and unread > lock.first_seen - timing.check_ttl:
        return lock.first_seen + longer
    return -math.inf


def inherited_wait(lock: SeenLock, now: float, timing: Timing) -> float:
    """Return what is left of a wait that the holder owed: nobody else has waited it out."""
    if lock.record is None or not lock.record.owes_wait:
        return 0.0
    return max(0.0, lock.first_seen + timing.check_ttl - now)
