"""The HA protocol: a pure, total function from a state and an event to a state and actions.

No I/O, no clock, no logging; `now` is an argument. DESIGN.md section 3 is its text:
authority is the lock, proved by a lease for answering and by a fence for writing. In
doubt the holder moves the lock to its spare session, and what was in flight is dead.
"""

from dataclasses import replace

from haven.ha.lease import Lease
from haven.ha.record import LockRecord, Road
from haven.ha.state import (
    Action,
    Beat,
    DoubtRaised,
    Event,
    EvidenceSeen,
    Leave,
    LockRead,
    MakeSession,
    Move,
    MoveCommitted,
    MoveRefused,
    MoveUnknown,
    OwnSession,
    PassAnswered,
    Prepare,
    Prepared,
    Purpose,
    ReadLock,
    Retire,
    SendLeave,
    SendMove,
    SendPass,
    SessionMade,
    SettleWrites,
    State,
    Tenure,
)
from haven.ha.takeover import CreateLock, ReplaceHolder, SeenLock, TakeFree, attempt

Step = tuple[State, list[Action]]


def step(state: State, event: Event, now: float) -> Step:
    """Return the state after an event at this moment, and what to do."""
    match event:
        case Beat():
            return _beat(state, now)
        case SessionMade(session):
            return _session_made(state, session, now)
        case PassAnswered(session, sent):
            return _pass_answered(state, session, sent, now)
        case LockRead():
            return _lock_read(state, event, now)
        case MoveCommitted(number, term):
            return _move_committed(state, number, term, now)
        case MoveRefused(number) | MoveUnknown(number):
            return _move_failed(state, number)
        case EvidenceSeen(evidence):
            return _compete(replace(state, evidence=evidence), now)
        case DoubtRaised():
            return _refence(replace(state, doubt=state.tenure is not None), now)
        case Leave(successor):
            return _leave(state, successor, now)
        case Prepared(term):
            return _prepared(state, term), []


def _beat(state: State, now: float) -> Step:
    """Pass every check, look at the lock, and notice what time alone has broken."""
    state = _drop_unsound_sessions(state, now)
    passes: list[Action] = [SendPass(session.id) for session in (state.main, state.spare) if session]
    state, actions = _refence(state, now)
    return state, [*passes, ReadLock(), *actions]


def _drop_unsound_sessions(state: State, now: float) -> State:
    """Forget sessions whose check may have expired; under the holder's one, that is doubt."""
    main = state.main if state.main and state.main.chain.sound(now, state.timing) else None
    spare = state.spare if state.spare and state.spare.chain.sound(now, state.timing) else None
    lost_own = state.tenure is not None and (main is None or main.id != state.tenure.session)
    return replace(state, main=main, spare=spare, doubt=state.doubt or lost_own)


def _session_made(state: State, session: OwnSession, now: float) -> Step:
    if state.main is None and state.tenure is None:
        return _compete(replace(state, main=session), now)
    return _refence(replace(state, spare=session), now)


def _pass_answered(state: State, session: str, sent: float, now: float) -> Step:
    def advanced(own: OwnSession | None) -> OwnSession | None:
        if own is None or own.id != session:
            return own
        return replace(own, chain=own.chain.passed(sent, now, state.timing))

    state = replace(state, main=advanced(state.main), spare=advanced(state.spare))
    return _refence(_drop_unsound_sessions(state, now), now)


def _lock_read(state: State, event: LockRead, now: float) -> Step:
    """Compare the lock with what this node believes. Consul has a leader: it may register."""
    tenure = state.tenure
    if tenure and event.index < tenure.term:
        return state, []  # sent before the lock was moved: it says nothing of this term
    known = state.lock is not None and (state.lock.index, state.lock.session) == (event.index, event.session)
    first_seen = state.lock.first_seen if known and state.lock else now
    state = replace(state, lock=SeenLock(event.index, event.session, event.record, first_seen))
    registrations = _wanted_sessions(state)
    if tenure and event.session == tenure.session:
        if state.main and state.main.id == tenure.session and not state.doubt:
            lease = tenure.lease.confirmed(state.main.chain, event.sent, now, state.timing)
            state = replace(state, tenure=replace(tenure, lease=lease), doubt=not lease.holds(now))
        state, actions = _refence(state, now)
    elif tenure is None and _handed_over(state):
        state, actions = _accept(state, event, now)
    elif state.lock and state.owns(state.lock):
        state, actions = _refence(replace(state, doubt=True), now)
    elif tenure and state.move is None:
        state, actions = _retire(state, now)
    else:
        state, actions = _compete(state, now)
    return state, [*registrations, *actions]


def _wanted_sessions(state: State) -> list[Action]:
    if state.main is None and state.tenure is None:
        return [MakeSession(state.spare.check_node if state.spare else None)]
    if state.spare is None:
        return [MakeSession(state.main.check_node if state.main else None)]
    return []


def _retire(state: State, now: float) -> Step:
    """Become a standby: the lock is free, or another node's.

    The session of the lost term is never offered again: a write still in flight under
    it would pass the fence once more.
    """
    state, actions = _compete(_without_tenure(state), now)
    return state, [Retire(), *actions]


def _without_tenure(state: State) -> State:
    lost = state.tenure.session if state.tenure else ""
    left = [session for session in (state.main, state.spare) if session and session.id != lost]
    main, spare = [*left, None, None][:2]
    return replace(state, tenure=None, doubt=False, main=main, spare=spare)


def _leave(state: State, successor: LockRecord | None, now: float) -> Step:
    """End the term before the transaction is sent: whatever its outcome, it is over."""
    tenure, main = state.tenure, state.main
    if tenure is None or main is None or main.id != tenure.session or state.move:
        return state, []
    owes_wait = tenure.answers_from > now
    own = _record(state, main, tenure.road, owes_wait)
    record = replace(successor, road=Road.HAND_OVER, owes_wait=owes_wait) if successor else None
    number = state.moves + 1
    move = Move(number, Purpose.LEAVE, main, tenure.road, 0.0)
    state = replace(_without_tenure(state), move=move, moves=number)
    return state, [Retire(), SendLeave(number, main.id, record or replace(own, released=True))]


def _handed_over(state: State) -> bool:
    """Tell whether the lock was given to this node's main session by the holder before it."""
    lock, main = state.lock, state.main
    given = lock is not None and lock.record is not None and lock.record.road is Road.HAND_OVER
    return given and lock is not None and main is not None and lock.session == main.id and not state.move


def _accept(state: State, event: LockRead, now: float) -> Step:
    """Begin a term that was handed over: who gave it answers no more, unless it owed a wait itself."""
    main, lock = state.main, state.lock
    if main is None or lock is None or event.record is None or not main.chain.sound(now, state.timing):
        return state, []
    chain = replace(main.chain, last=min(main.chain.last, event.sent))
    owed = lock.first_seen + state.timing.check_ttl if event.record.owes_wait else now
    tenure = Tenure(main.id, event.index, Road.HAND_OVER, Lease.granted(chain, state.timing), owed)
    state = replace(state, tenure=tenure, doubt=False, offered=state.offered | {main.id})
    return state, [Prepare(tenure.term)]


def _compete(state: State, now: float) -> Step:
    """Try for the lock, as a standby with a sound session, where a road is open."""
    main, lock = state.main, state.lock
    if state.tenure or state.move or main is None or lock is None or state.owns(lock):
        return state, []
    if not main.chain.sound(now, state.timing):
        return state, []
    chosen = attempt(lock, state.evidence, now, state.timing)
    if chosen is None:
        return state, []
    return _send(state, Purpose.TAKE, main, chosen.transaction, chosen.road, chosen.wait)


def _refence(state: State, now: float) -> Step:
    """Move the lock from an own doubtful session to the spare one, if that is sound."""
    target, lock = state.spare, state.lock
    if not state.doubt or state.move or target is None or lock is None:
        return state, []
    if not target.chain.sound(now, state.timing) or not state.owns(lock):
        return state, []
    if state.tenure:
        road, wait = state.tenure.road, max(0.0, state.tenure.answers_from - now)
    else:
        road, wait = Road.OTHER, state.timing.check_ttl
    return _send(state, Purpose.REFENCE, target, ReplaceHolder(lock.session), road, wait)


def _send(
    state: State,
    purpose: Purpose,
    target: OwnSession,
    condition: CreateLock | ReplaceHolder | TakeFree,
    road: Road,
    wait: float,
) -> Step:
    number = state.moves + 1
    record = _record(state, target, road, owes_wait=wait > 0)
    move = Move(number, purpose, target, road, wait)
    state = replace(state, move=move, moves=number, offered=state.offered | {target.id})
    return state, [SendMove(number, condition, record)]


def _record(state: State, session: OwnSession, road: Road, owes_wait: bool) -> LockRecord:
    return LockRecord(
        node=state.node,
        run=state.run,
        session=session.id,
        check_id=session.check_id,
        check_node=session.check_node,
        api_address=state.api_address,
        cluster_address=state.cluster_address,
        road=road,
        owes_wait=owes_wait,
    )


def _move_committed(state: State, number: int, term: int, now: float) -> Step:
    move = state.move
    if move is None or move.number != number:
        return state, []
    if move.purpose is Purpose.LEAVE:
        return replace(state, move=None), [ReadLock()]
    earlier = state.tenure
    tenure = Tenure(
        session=move.target.id,
        term=term,
        road=move.road,
        lease=Lease.granted(move.target.chain, state.timing),
        answers_from=now + move.wait,
        ready=bool(earlier and earlier.ready),
    )
    if move.purpose is Purpose.REFENCE:
        state = replace(state, main=state.spare, spare=None)
    state = replace(state, tenure=tenure, doubt=False, move=None)
    follow_up: Action = SettleWrites() if tenure.ready else Prepare(term)
    return _drop_unsound_sessions(state, now), [follow_up, ReadLock()]


def _move_failed(state: State, number: int) -> Step:
    """Look what became of the lock: refused and unknown alike are settled by reading it."""
    if state.move is None or state.move.number != number:
        return state, []
    return replace(state, move=None), [ReadLock()]


def _prepared(state: State, term: int) -> State:
    if state.tenure is None or state.tenure.term != term:
        return state
    return replace(state, tenure=replace(state.tenure, ready=True))
