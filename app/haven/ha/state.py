"""What one unsealed node knows: its sessions, the lock, its tenure, what is under way."""

import math
from dataclasses import dataclass, field

from haven.ha.lease import Lease, PassChain
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import Evidence, SeenLock
from haven.ha.timing import Timing

ISOLATED = "isolated"
"""The reason of a wish to give the lock away that ends when the link hears a follower again."""
UNPREPARED = "unprepared"
"""The reason of a holder that could not load what it needs."""
OFFERED = 64
"""How many offered sessions are remembered. What the protocol itself puts in the lock names its run, so this
only matters where an operator overwrote the value; and a session that is 64 offers old has had no pass for
64 registrations, far longer than Consul keeps it."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    """A session of this node, bound to its own check, made through one Consul agent."""

    id: str
    check_id: str
    check_node: str
    chain: PassChain


@dataclass(frozen=True, slots=True)
class Tenure:
    """A term as holder: the session that fences its writes and the lease that lets it answer.

    `reign` is the first of the terms that followed each other by refences only: while it
    stays, nobody else can have held the lock. `proved` is when the last answered call was
    sent that showed the lock under this session. `moving_to` is the session that a refence
    was sent for: from then on the lease is capped and never extended (ADR 3).
    """

    session: str
    term: int
    reign: int
    road: Road
    lease: Lease
    answers_from: float
    proved: float
    ready: bool = False
    moving_to: str = ""


@dataclass(frozen=True, slots=True)
class Take:
    """A standby's move: `road` and `wait` (seconds after the reply) begin a new reign."""

    road: Road
    wait: float


@dataclass(frozen=True, slots=True)
class Refence:
    """The holder's move to its spare session: the reign goes on."""


@dataclass(frozen=True, slots=True)
class GiveAway:
    """The move of a node whose term is over."""


@dataclass(frozen=True, slots=True)
class Move:
    """A lock transaction in flight; its lease counts from the target's last pass before it was sent."""

    number: int
    purpose: Take | Refence | GiveAway
    target: OwnSession
    record: LockRecord
    index: int
    sent: float


@dataclass(frozen=True, slots=True)
class Yielding:
    """A holder's wish to give the lock away, to this standby if there is one, and why."""

    successor: LockRecord | None
    reason: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """A lock that this node is giving away from its session, until a read shows that it is gone."""

    old: OwnSession
    record: LockRecord
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A session that Consul would not lock, though its condition held at this index: it is dead."""

    session: str
    index: int


@dataclass(frozen=True, slots=True)
class Silence:
    """The calls that failed since Consul last answered anything, and when the first of them did."""

    since: float = math.inf
    channels: frozenset[str] = frozenset()

    def with_failure(self, channel: str, now: float) -> "Silence":
        """Return the silence after another call went unanswered."""
        return Silence(min(self.since, now), self.channels | {channel})


@dataclass(frozen=True, slots=True)
class State:
    """All that one unsealed node knows of itself and of the lock.

    `run` is new for each unsealing: peers take the end of a run for the end of all its
    sessions. `generation` grows with each resignation. `seen` is when the lock was last
    learnt of; `asked` and `checked` are when the catalog's critical checks were last asked
    for, and last asked for with an answer. `heard` are the runs that speak over a link to this
    node, `unread` is when a consistent read last went unanswered; since its index `refuted`, the
    lock is known to have changed. `abandoned` sessions wait for a moment in which Consul has a
    leader to be ended. No lock transaction is sent before `retry_at`, none that takes the lock
    before `compete_at`, and sessions of one agent are not parted before `part_at`.
    """

    node: str
    run: str
    api_address: str
    cluster_address: str
    timing: Timing
    generation: int = 0
    main: OwnSession | None = None
    spare: OwnSession | None = None
    registrations: int = 0
    registering: int = 0
    abandoned: tuple[OwnSession, ...] = ()
    lock: SeenLock | None = None
    seen: float = -math.inf
    evidence: Evidence = field(default_factory=Evidence)
    asked: float = -math.inf
    checked: float = -math.inf
    heard: frozenset[str] = frozenset()
    unread: float = -math.inf
    tenure: Tenure | None = None
    doubt: bool = False
    move: Move | None = None
    moves: int = 0
    failures: int = 0
    retry_at: float = -math.inf
    refusal: Refusal | None = None
    refuted: int = -1
    offered: tuple[str, ...] = ()
    yielding: Yielding | None = None
    leaving: Leaving | None = None
    compete_at: float = -math.inf
    part_at: float = -math.inf
    silence: Silence = field(default_factory=Silence)
    isolated: bool = False

    def sessions(self) -> tuple[OwnSession, ...]:
        """Return the sessions that this node keeps alive."""
        return tuple(session for session in (self.main, self.spare) if session)

    def owns(self, lock: SeenLock) -> bool:
        """Tell whether the lock is held by a session of this run, current or given up."""
        record = lock.record
        named = record is not None and record.session == lock.session and record.run == self.run
        return lock.session != "" and (lock.session in self.offered or named)

    def fell(self, lock: SeenLock) -> bool:
        """Tell whether the lock is free because this run's session ended, and nobody has held it since.

        Whoever takes the lock replaces its value, and an ending session leaves it as it is.
        """
        record = lock.record
        return lock.session == "" and record is not None and record.run == self.run and not record.released

    def may_read(self, now: float) -> bool:
        """Tell whether this node may answer a read now (DESIGN.md 3.3, rule 1)."""
        tenure = self.tenure
        return tenure is not None and tenure.ready and now >= tenure.answers_from and tenure.lease.holds(now)

    def may_write(self, now: float) -> bool:
        """Tell whether this node may hand a write to storage now, under its tenure's session."""
        return self.may_read(now) and not self.doubt

    def record(self, session: OwnSession, road: Road, owes_wait: bool) -> LockRecord:
        """Return the lock's value for this session of this node."""
        return LockRecord(
            node=self.node,
            run=self.run,
            session=session.id,
            check_id=session.check_id,
            check_node=session.check_node,
            api_address=self.api_address,
            cluster_address=self.cluster_address,
            road=road,
            owes_wait=owes_wait,
            generation=self.generation,
        )
