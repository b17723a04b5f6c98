"""The HA protocol: a pure, total function from a state and an event to a state and actions.

No I/O, no clock, no logging; `now` is an argument. DESIGN.md section 3 is its text:
authority is the lock, proved by a lease for answering and by a fence for writing. In
doubt the holder moves the lock to its spare session, and what was in flight is dead.
"""

from dataclasses import replace

from haven.ha import moves, outcomes, sessions
from haven.ha.messages import (
    Action,
    Beat,
    ChecksRead,
    DeathSeen,
    DoubtRaised,
    Event,
    Isolated,
    Leave,
    LinksHeard,
    LockHint,
    LockRead,
    MoveCommitted,
    MoveRefused,
    MoveUnknown,
    PassAnswered,
    PassFailed,
    Prepared,
    PrepareFailed,
    ReadAhead,
    ReadFailed,
    ReadLock,
    ResignationSeen,
    SendPass,
    SessionFailed,
    SessionMade,
)
from haven.ha.state import ISOLATED, UNPREPARED, Silence, State, Yielding
from haven.ha.takeover import SeenLock

LULL = 0.5
"""How long (seconds) after a change of the lock a standby keeps from ending and making sessions."""
READ = "read"
"""The channel of consistent reads, beside one for each session's passes."""

Step = tuple[State, list[Action]]


def step(state: State, event: Event, now: float) -> Step:
    """Return the state after an event at this moment, and what to do."""
    state, actions = _take_in(sessions.drop_unsound(state, now), event, now)
    state, further = moves.advance(sessions.drop_unsound(state, now), now)
    return state, [*actions, *further]


def _take_in(state: State, event: Event, now: float) -> Step:
    """Dispatch an event by what it comes from."""
    match event:
        case Beat():
            return state, [*(SendPass(session) for session in state.sessions()), ReadLock()]
        case LockRead():
            return _lock_read(_heard(state), event, now)
        case LockHint():
            return _lock_hinted(state, event, now)
        case MoveCommitted(number, term):
            return outcomes.committed(_heard(state), number, term, now)
        case MoveRefused(number, fenced):
            return outcomes.refused(_heard(state) if fenced else state, number, fenced, now)
        case MoveUnknown(number):
            return outcomes.unknown(state, number, now)
        case SessionMade(number, session):
            return sessions.maintain(sessions.made(_heard(state), number, session, now), None, now)
        case _:
            return _take_note(state, event, now), []


def _take_note(state: State, event: Event, now: float) -> State:
    """Take in an event that calls for nothing by itself."""
    match event:
        case PassAnswered(session, sent):
            return sessions.passed(_heard(state), session, sent, now)
        case PassFailed(session):
            return _unanswered(state, session, now)
        case ReadFailed():
            return _unanswered(replace(state, unread=now), READ, now)
        case SessionFailed(number):
            return sessions.failed(state, number)
        case ChecksRead(sent, critical):
            evidence = replace(state.evidence, critical_checks=critical)
            return replace(_heard(state), evidence=evidence, checked=max(state.checked, sent))
        case DeathSeen(run):
            return replace(state, evidence=state.evidence.with_death(run))
        case ResignationSeen(run, generation):
            return replace(state, evidence=state.evidence.with_resignation(run, generation))
        case LinksHeard(runs):
            return replace(state, heard=runs)
        case Isolated(isolated):
            return _isolated(state, isolated)
        case _:
            return _take_order(state, event)


def _take_order(state: State, event: Event) -> State:
    """Take in what the node itself, or its link, says of its term; of another term it says nothing."""
    tenure = state.tenure
    if tenure is None:
        return state
    match event:
        case DoubtRaised(session) if session == tenure.session:
            return replace(state, doubt=True)
        case Prepared(reign) if reign == tenure.reign:
            return replace(state, tenure=replace(tenure, ready=True))
        case PrepareFailed(reign) if reign == tenure.reign:
            return replace(state, yielding=Yielding(None, UNPREPARED))
        case Leave(successor, reason):
            return replace(state, yielding=Yielding(successor, reason))
        case _:
            return state


def _isolated(state: State, isolated: bool) -> State:
    """Yield once when a holder becomes isolated (ADR 4); a lock that nobody takes it takes back for good."""
    began = isolated and not state.isolated
    state = replace(state, isolated=isolated)
    if began and state.tenure and state.yielding is None:
        return replace(state, yielding=Yielding(None, ISOLATED))
    if not isolated and state.yielding and state.yielding.reason == ISOLATED:
        return replace(state, yielding=None)
    return state


def _heard(state: State) -> State:
    """Note that Consul answers."""
    return replace(state, silence=Silence()) if state.silence.channels else state


def _unanswered(state: State, channel: str, now: float) -> State:
    """Note a call that failed. Under the holder it is doubt, unless the spare one's agent is silent."""
    tenure = state.tenure
    silence = state.silence.with_failure(channel, now)
    concerns = tenure is not None and channel in {READ, tenure.session}
    return replace(state, silence=silence, doubt=state.doubt or concerns)


def _lock_read(state: State, event: LockRead, now: float) -> Step:
    """Compare the lock with what this node believes. Consul has a leader: it may register."""
    lock = state.lock
    if lock and event.index < lock.index and event.sent < state.seen:
        # It was sent before the lock was moved, and says nothing of what is now.
        return sessions.maintain(state, None, now)
    state = _see(state, event, now)
    state = outcomes.without_dead_target(state, event.index)
    state, registrations = (state, []) if _lull(state, now) else sessions.maintain(state, event.session, now)
    state, actions = outcomes.compare(state, event, now)
    return state, [*registrations, *actions]


def _lull(state: State, now: float) -> bool:
    """Tell whether this standby leaves Consul to a new holder: with one session left, the rest can wait.

    To end a session and to make one are five commits of Consul, just when everybody waits for its next.
    """
    if state.tenure or state.main is None or state.lock is None:
        return False
    return now < state.lock.first_seen + LULL


def _lock_hinted(state: State, event: LockHint, now: float) -> Step:
    """Take a newer lock as seen while this node only watches; a holder looks for itself."""
    if state.lock and event.index <= state.lock.index:
        return state, []
    if state.tenure or state.move or state.leaving:
        return state, [ReadLock()]
    state = _see(state, event, now)
    return state, [ReadLock(), ReadAhead(event.index)] if state.lock and state.owns(state.lock) else []


def _see(state: State, event: LockRead | LockHint, now: float) -> State:
    """Remember the lock, and since when this holder, or its loss, has been known."""
    known = state.lock
    same = known is not None and (known.index, known.session) == (event.index, event.session)
    first_seen = known.first_seen if known and same else now
    deleted = event.index == 0 and known is not None and (known.index > 0 or known.deleted)
    lock = SeenLock(event.index, event.session, event.record, first_seen, deleted)
    return replace(state, lock=lock, seen=now)
