"""The protocol's vocabulary: a node's state, what happens to it, what it wants done."""

from dataclasses import dataclass, field
from enum import StrEnum

from haven.ha.lease import Lease, PassChain
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import CreateLock, Evidence, ReplaceHolder, SeenLock, TakeFree
from haven.ha.timing import Timing


@dataclass(frozen=True, slots=True)
class OwnSession:
    """A session of this node, bound to its own check, made through one Consul agent."""

    id: str
    check_id: str
    check_node: str
    chain: PassChain


@dataclass(frozen=True, slots=True)
class Tenure:
    """A term as holder: the session that fences its writes and the lease that lets it answer."""

    session: str
    term: int
    road: Road
    lease: Lease
    answers_from: float
    ready: bool = False


class Purpose(StrEnum):
    """Why a lock transaction was sent."""

    TAKE = "take"
    REFENCE = "refence"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Move:
    """A lock transaction in flight; its lease can only count from the pass before it was sent."""

    number: int
    purpose: Purpose
    target: OwnSession
    road: Road
    wait: float


@dataclass(frozen=True, slots=True)
class State:
    """All that one unsealed node knows; `offered` are all sessions it ever put to the lock."""

    node: str
    run: str
    api_address: str
    cluster_address: str
    timing: Timing
    main: OwnSession | None = None
    spare: OwnSession | None = None
    lock: SeenLock | None = None
    evidence: Evidence = field(default_factory=Evidence)
    tenure: Tenure | None = None
    doubt: bool = False
    move: Move | None = None
    moves: int = 0
    offered: frozenset[str] = frozenset()

    def owns(self, lock: SeenLock) -> bool:
        """Tell whether the lock is held by a session of this process, current or given up."""
        record = lock.record
        named = record is not None and record.session == lock.session and record.run == self.run
        return lock.session != "" and (lock.session in self.offered or named)

    def may_read(self, now: float) -> bool:
        """Tell whether this node may answer a read now (DESIGN.md 3.3, rule 1)."""
        tenure = self.tenure
        return tenure is not None and tenure.ready and now >= tenure.answers_from and tenure.lease.holds(now)

    def may_write(self, now: float) -> bool:
        """Tell whether this node may hand a write to storage now, under its tenure's session."""
        return self.may_read(now) and not self.doubt


@dataclass(frozen=True, slots=True)
class Beat:
    """It is time for a heartbeat."""


@dataclass(frozen=True, slots=True)
class SessionMade:
    """A session was registered, its check passing, by a call sent when its chain starts."""

    session: OwnSession


@dataclass(frozen=True, slots=True)
class PassAnswered:
    """A pass was answered now."""

    session: str
    sent: float


@dataclass(frozen=True, slots=True)
class LockRead:
    """A `consistent` read of the lock was answered now."""

    sent: float
    index: int
    session: str
    record: LockRecord | None


@dataclass(frozen=True, slots=True)
class MoveCommitted:
    """A lock transaction committed with this term."""

    number: int
    term: int


@dataclass(frozen=True, slots=True)
class MoveRefused:
    """A lock transaction was surely not applied."""

    number: int


@dataclass(frozen=True, slots=True)
class MoveUnknown:
    """A lock transaction may or may not have been applied."""

    number: int


@dataclass(frozen=True, slots=True)
class EvidenceSeen:
    """All that is known of other runs and of critical checks has changed."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class DoubtRaised:
    """A write's outcome is unknown, was fenced, or the agent does not answer."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Give the lock up: nothing is admitted any more and what ran is drained.

    `successor` is the record of a connected, unsealed standby's main session, or None.
    """

    successor: LockRecord | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The node has loaded what it needs to serve in this term."""

    term: int


Event = (
    Beat
    | SessionMade
    | PassAnswered
    | LockRead
    | MoveCommitted
    | MoveRefused
    | MoveUnknown
    | EvidenceSeen
    | DoubtRaised
    | Leave
    | Prepared
)


@dataclass(frozen=True, slots=True)
class SendPass:
    """Pass the check of this session."""

    session: str


@dataclass(frozen=True, slots=True)
class ReadLock:
    """Read the lock with `consistent`."""


@dataclass(frozen=True, slots=True)
class MakeSession:
    """Register a check and a session through an agent other than `apart_from`'s; Consul has a leader."""

    apart_from: str | None


@dataclass(frozen=True, slots=True)
class SendMove:
    """Send a conditional lock transaction that puts this record and session in place."""

    number: int
    condition: CreateLock | ReplaceHolder | TakeFree
    record: LockRecord


@dataclass(frozen=True, slots=True)
class SendLeave:
    """Unlock under `old`, leaving this record; lock its session too unless it says `released`."""

    number: int
    old: str
    record: LockRecord


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load what a holder needs; answer nothing yet."""

    term: int


@dataclass(frozen=True, slots=True)
class SettleWrites:
    """Read the keys of unknown writes: nothing sent under an older session can be applied any more."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Drop caches and park what waits: this node is a standby now."""


Action = SendPass | ReadLock | MakeSession | SendMove | SendLeave | Prepare | SettleWrites | Retire
