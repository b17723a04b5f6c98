"""The lock transactions of a node: when it sends which, and what their outcomes mean."""

from dataclasses import replace

from haven.ha.lease import Lease
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    LockRead,
    Prepare,
    ReadChecks,
    ReadLock,
    Retire,
    SendLeave,
    SendMove,
    SettleWrites,
)
from haven.ha.record import LockRecord, Road
from haven.ha.sessions import abandon, drop_unsound, extend
from haven.ha.state import (
    OFFERED,
    GiveAway,
    Leaving,
    Move,
    OwnSession,
    Refence,
    Refusal,
    Silence,
    State,
    Take,
    Tenure,
)
from haven.ha.takeover import CreateLock, ReplaceHolder, SeenLock, TakeFree, attempt, inherited_wait

Step = tuple[State, list[Action]]


def advance(state: State, now: float) -> Step:
    """Do what the state calls for: resign, give the lock away, refence, or compete for it."""
    if state.tenure and _cut_off(state, now):
        return _resign(state)
    if state.move or state.lock is None or now < state.retry_at:
        return state, []
    if state.tenure:
        if state.yielding:
            return _give_away(state, now)
        return _refence(state, now) if state.doubt else (state, [])
    if state.leaving:
        return _give_away_again(state, now)
    if now < state.compete_at:
        return state, []
    if _handed_over(state):
        return state, []  # a consistent read of it is on its way
    return _refence_from_surprise(state, now) if state.owns(state.lock) else _compete(state, now)


def _cut_off(state: State, now: float) -> bool:
    """Tell whether no Consul agent answers any kind of call, for a beat since the first failure.

    The beat keeps a process that was paused from resigning over calls that ran out meanwhile.
    """
    wanted = {"read", *(session.id for session in state.sessions())}
    return wanted <= state.silence.channels and now >= state.silence.since + state.timing.beat


def _resign(state: State) -> Step:
    """Never answer again under anything that was ever offered, and tell the peers so."""
    generation = state.generation
    given_up = (*state.abandoned, *state.sessions())
    state = replace(_without_tenure(state), main=None, spare=None, abandoned=given_up, move=None)
    state = replace(state, generation=generation + 1, silence=Silence())
    return state, [Retire(), AnnounceResigned(generation)]


def _without_tenure(state: State) -> State:
    """End the term. Its session is never offered again: a write in flight under it would pass the fence."""
    lost = state.tenure.session if state.tenure else ""
    return abandon(replace(state, tenure=None, doubt=False, yielding=None), lost)


def _retire(state: State) -> Step:
    """Become a standby: the lock is free, or another node's."""
    return _without_tenure(state), [Retire()]


def _give_away(state: State, now: float) -> Step:
    """End the term before the transaction is sent: whatever its outcome, it is over."""
    tenure, main, yielding = state.tenure, state.main, state.yielding
    if tenure is None or yielding is None:
        return state, []
    state = replace(_without_tenure(state), compete_at=now + state.timing.retreat)
    if main is None or main.id != tenure.session:
        return state, [Retire()]  # the lease is over and the session is lost: it will expire
    owes_wait = tenure.answers_from > now
    record = replace(state.record(main, tenure.road, owes_wait), released=True)
    if yielding.successor:
        record = replace(yielding.successor, road=Road.HAND_OVER, owes_wait=owes_wait, released=False)
    state = replace(state, leaving=Leaving(main, record, yielding.reason))
    state, actions = _give_away_again(state, now)
    return state, [Retire(), *actions]


def _give_away_again(state: State, now: float) -> Step:
    """Send the transaction that gives the lock away, until a read shows that it is gone."""
    leaving = state.leaving
    if leaving is None or state.lock is None:
        return state, []
    number = state.moves + 1
    move = Move(number, GiveAway(), leaving.old, leaving.record, state.lock.index, now)
    return replace(state, move=move, moves=number), [SendLeave(number, leaving.old.id, leaving.record)]


def _refence(state: State, now: float) -> Step:
    """Move the lock from the doubtful session to the spare one, and cap the old lease (ADR 3).

    A lock that fell from the doubtful session is picked up likewise: nothing sent under that
    session can be applied any more, and nobody has held the lock since (ADR 7).
    """
    tenure, target, lock = state.tenure, state.spare, state.lock
    if tenure is None or target is None or lock is None or not (state.owns(lock) or state.fell(lock)):
        return state, []
    until = min(tenure.lease.until, target.chain.last + state.timing.lease)
    state = replace(state, tenure=replace(tenure, lease=Lease(until), moving_to=target.id))
    record = state.record(target, tenure.road, tenure.answers_from > now)
    condition = ReplaceHolder(lock.session) if lock.session else TakeFree(lock.index)
    return _send(state, Refence(), target, condition, record, now)


def _refence_from_surprise(state: State, now: float) -> Step:
    """Take the lock over from a session of this run under which no term runs.

    An acquisition of unknown outcome came through, or a hand-over to a session given up. The
    value tells by which road; one that another has written tells nothing.
    """
    lock = state.lock
    target = next((own for own in reversed(state.sessions()) if lock and own.id != lock.session), None)
    if lock is None or target is None:
        return state, []
    known = lock.record is not None and lock.record.session == lock.session
    road = lock.record.road if known and lock.record else Road.OTHER
    wait = inherited_wait(lock, now, state.timing) if known else state.timing.check_ttl
    record = state.record(target, road, wait > 0)
    return _send(state, Take(road, wait), target, ReplaceHolder(lock.session), record, now)


def _compete(state: State, now: float) -> Step:
    """Try for the lock where a road is open.

    Without proof, look into the catalog first; then leave a beat to the last holder, which
    may be alive and, unlike others, need not wait before it answers.
    """
    main, lock = state.main, state.lock
    if main is None or lock is None:
        return state, []
    chosen = attempt(lock, state.evidence, state.run, now, state.timing)
    if chosen is None:
        return state, []
    if chosen.road is Road.OTHER and state.checked < lock.first_seen:
        if now < state.asked + state.timing.beat:
            return state, []
        return replace(state, asked=now), [ReadChecks()]
    if chosen.road is Road.OTHER and now < lock.first_seen + state.timing.beat:
        return state, []
    record = state.record(main, chosen.road, chosen.owes_wait)
    return _send(state, Take(chosen.road, chosen.wait), main, chosen.transaction, record, now)


def _send(
    state: State,
    purpose: Take | Refence,
    target: OwnSession,
    condition: CreateLock | ReplaceHolder | TakeFree,
    record: LockRecord,
    now: float,
) -> Step:
    number = state.moves + 1
    index = state.lock.index if state.lock else 0
    offered = tuple(known for known in state.offered if known != target.id)
    state = replace(
        state,
        move=Move(number, purpose, target, record, index, now),
        moves=number,
        offered=(*offered, target.id)[-OFFERED:],
    )
    return state, [SendMove(number, condition, record)]


def committed(state: State, number: int, term: int, now: float) -> Step:
    """Begin the term that a transaction brought, or end what it gave away."""
    move = state.move
    if move is None or move.number != number:
        return state, []
    state = replace(state, move=None, failures=0, refusal=None)
    if state.lock is None or term > state.lock.index:
        holder = "" if move.record.released else move.record.session
        state = replace(state, lock=SeenLock(term, holder, move.record, now), seen=now)
    match move.purpose:
        case GiveAway():
            return replace(state, leaving=None), [ReadLock()]
        case Refence():
            return _refenced(state, term, Lease.granted(move.target.chain, state.timing), move.sent, now)
        case Take(road, wait):
            lease = Lease.granted(move.target.chain, state.timing)
            tenure = Tenure(move.target.id, term, term, road, lease, now + wait, move.sent)
            return _begin(state, tenure, now)


def _begin(state: State, tenure: Tenure, now: float) -> Step:
    """Begin a reign, under one of the two sessions; the other is its spare one."""
    own = next((session for session in state.sessions() if session.id == tenure.session), None)
    other = next((session for session in state.sessions() if session.id != tenure.session), None)
    state = replace(state, tenure=tenure, main=own, spare=other, doubt=False, yielding=None)
    return drop_unsound(extend(state, now), now), [Prepare(tenure.reign), ReadLock()]


def _refenced(state: State, term: int, lease: Lease, proved: float, now: float) -> Step:
    """Go on in a new term of the same reign, under the session that was the spare one."""
    tenure = state.tenure
    if tenure is None:
        return state, [ReadLock()]
    target, old = tenure.moving_to, tenure.session
    tenure = replace(tenure, session=target, term=term, lease=lease, proved=proved, moving_to="")
    spare = state.spare if state.spare and state.spare.id == target else None
    state = abandon(state, old)
    state = replace(state, tenure=tenure, main=spare, spare=None, doubt=False, refusal=None)
    return drop_unsound(extend(state, now), now), [SettleWrites(), ReadLock()]


def refused(state: State, number: int, fenced: bool, now: float) -> Step:
    """Look what became of the lock. `fenced`: another holds it; otherwise nobody says why.

    A hand-over may have named a dead session: what is left is to release. Where the lock stays as
    it is, the own session may be dead, though its check is passed: the third try is its last.
    """
    move = state.move
    if move is None or move.number != number:
        return state, []
    if state.leaving:
        own = replace(state.record(state.leaving.old, move.record.road, move.record.owes_wait), released=True)
        state = replace(state, leaving=replace(state.leaving, record=own))
    if fenced:
        return replace(state, move=None), [ReadLock()]
    state, actions = unknown(state, number, now)
    refusal = Refusal(move.target.id, move.index) if state.failures > 2 else None
    return replace(state, refusal=refusal), actions


def unknown(state: State, number: int, now: float) -> Step:
    """Look what became of the lock; from the third failure in a row on, a pause lies between two tries.

    A short one: a transaction that waits at its agent when Consul elects a leader is the first to be
    applied, before anybody else can see the lock.
    """
    if state.move is None or state.move.number != number:
        return state, []
    failures = state.failures + 1
    retry_at = now + state.timing.retry if failures > 2 else now
    return replace(state, move=None, failures=failures, retry_at=retry_at), [ReadLock()]


def without_dead_target(state: State, index: int) -> State:
    """Give up the session that Consul refused to lock although the lock is as it was."""
    refusal = state.refusal
    if refusal is None:
        return state
    state = replace(state, refusal=None)
    return abandon(state, refusal.session) if index == refusal.index else state


def compare(state: State, event: LockRead, now: float) -> Step:
    """Compare a consistent reading of the lock, just remembered, with the tenure."""
    tenure, lock = state.tenure, state.lock
    if state.leaving and event.session != state.leaving.old.id:
        state = replace(state, leaving=None)
    if tenure is None or lock is None:
        return _accept(state, event, now) if _handed_over(state) else (state, [])
    if event.session == tenure.session:
        tenure = replace(tenure, proved=max(tenure.proved, event.sent))
        return extend(replace(state, tenure=tenure), now), []
    if event.session == tenure.moving_to and state.spare and state.spare.id == tenure.moving_to:
        # An earlier try committed, or the one in flight did; no further one can any more.
        lease = Lease(min(state.spare.chain.last, event.sent) + state.timing.lease)
        return _refenced(replace(state, move=None, failures=0), event.index, lease, event.sent, now)
    if state.move:
        return state, []  # its outcome will tell
    kept = state.owns(lock) or state.fell(lock)
    return (replace(state, doubt=True), []) if kept else _retire(state)


def _handed_over(state: State) -> bool:
    """Tell whether the lock was given to this node's main session by the holder before it."""
    lock, main = state.lock, state.main
    if lock is None or lock.record is None or main is None or state.move or state.leaving:
        return False
    return lock.record.road is Road.HAND_OVER and lock.session == main.id == lock.record.session


def _accept(state: State, event: LockRead, now: float) -> Step:
    """Begin a term that was handed over: who gave it answers no more, unless it owed a wait itself."""
    main, lock = state.main, state.lock
    if main is None or lock is None:
        return state, []
    lease = Lease(min(main.chain.last, event.sent) + state.timing.lease)
    answers_from = now + inherited_wait(lock, now, state.timing)
    tenure = Tenure(main.id, event.index, event.index, Road.HAND_OVER, lease, answers_from, event.sent)
    return _begin(replace(state, offered=(*state.offered, main.id)[-OFFERED:]), tenure, now)
