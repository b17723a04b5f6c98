"""What happens to a node, and what the protocol wants done: all events and actions."""

from dataclasses import dataclass

from haven.ha.record import LockRecord
from haven.ha.state import OwnSession
from haven.ha.takeover import CreateLock, ReplaceHolder, TakeFree


@dataclass(frozen=True, slots=True)
class Beat:
    """It is time for a heartbeat."""


@dataclass(frozen=True, slots=True)
class SessionMade:
    """A session was registered, its check passing, by a call sent when its chain starts."""

    number: int
    session: OwnSession


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A session was not registered, or nobody knows."""

    number: int


@dataclass(frozen=True, slots=True)
class PassAnswered:
    """A pass was answered now."""

    session: str
    sent: float


@dataclass(frozen=True, slots=True)
class PassFailed:
    """A pass was refused, or not answered in time."""

    session: str


@dataclass(frozen=True, slots=True)
class LockRead:
    """A `consistent` read of the lock was answered now."""

    sent: float
    index: int
    session: str
    record: LockRecord | None


@dataclass(frozen=True, slots=True)
class LockHint:
    """The watch saw this lock: it was committed, and may already be history."""

    index: int
    session: str
    record: LockRecord | None


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """A `consistent` read was not answered in time: no leader, or no connection."""


@dataclass(frozen=True, slots=True)
class ChecksRead:
    """The catalog's critical checks with their outputs, asked for at this time, were answered now."""

    sent: float
    critical: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MoveCommitted:
    """A lock transaction committed with this term."""

    number: int
    term: int


@dataclass(frozen=True, slots=True)
class MoveRefused:
    """A lock transaction was surely not applied; `fenced`: another session holds the lock."""

    number: int
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class MoveUnknown:
    """A lock transaction may or may not have been applied."""

    number: int


@dataclass(frozen=True, slots=True)
class DeathSeen:
    """A run's liveness connection ended and a reconnect was refused, or found another run."""

    run: str


@dataclass(frozen=True, slots=True)
class ResignationSeen:
    """A run said that it never answers again under what it offered up to this generation."""

    run: str
    generation: int


@dataclass(frozen=True, slots=True)
class LinksHeard:
    """These runs, and no others, speak over the links by which this node follows, or followed, them."""

    runs: frozenset[str]


@dataclass(frozen=True, slots=True)
class DoubtRaised:
    """A write sent under this session is of unknown outcome, or was fenced."""

    session: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Give the lock up: nothing is admitted any more and what ran is drained.

    `successor` is the record of a connected, unsealed standby's main session, or None.
    """

    successor: LockRecord | None
    reason: str = "step-down"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The node has loaded what it needs to serve in this reign."""

    reign: int


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    """The node could not load what it needs: another may be able to."""

    reign: int


@dataclass(frozen=True, slots=True)
class Isolated:
    """All followers of this holder are silent, and nothing comes in (ADR 4); or no longer so."""

    isolated: bool


Event = (
    Beat
    | SessionMade
    | SessionFailed
    | PassAnswered
    | PassFailed
    | LockRead
    | LockHint
    | ReadFailed
    | ChecksRead
    | MoveCommitted
    | MoveRefused
    | MoveUnknown
    | DeathSeen
    | ResignationSeen
    | LinksHeard
    | DoubtRaised
    | Leave
    | Prepared
    | PrepareFailed
    | Isolated
)


@dataclass(frozen=True, slots=True)
class SendPass:
    """Pass the check of this session."""

    session: OwnSession


@dataclass(frozen=True, slots=True)
class ReadLock:
    """Read the lock with `consistent`."""


@dataclass(frozen=True, slots=True)
class ReadChecks:
    """Read the critical checks from the catalog."""


@dataclass(frozen=True, slots=True)
class MakeSession:
    """Register the check of this number, never used before, and a session; Consul has a leader.

    Through an agent other than `apart_from`'s.
    """

    number: int
    apart_from: str | None


@dataclass(frozen=True, slots=True)
class EndSession:
    """Destroy a session that is not used any more; Consul has a leader."""

    session: OwnSession


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
class AnnounceResigned:
    """Tell every peer that nothing offered up to this generation answers again."""

    generation: int


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load what a holder needs; answer nothing yet."""

    reign: int


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """Begin to read what a holder needs: the lock seems to be this node's since `term`.

    Proof is on its way. If it comes, `Prepare` names the same term, and nobody else has written since.
    """

    term: int


@dataclass(frozen=True, slots=True)
class SettleWrites:
    """Read the keys of unknown writes: nothing sent under an older session can be applied any more."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Drop caches and park what waits: this node is a standby now."""


Action = (
    SendPass
    | ReadLock
    | ReadChecks
    | MakeSession
    | EndSession
    | SendMove
    | SendLeave
    | AnnounceResigned
    | Prepare
    | ReadAhead
    | SettleWrites
    | Retire
)
