"""What became of a node's lock transactions, and what a reading of the lock means for its term."""

from dataclasses import replace

from haven.ha.lease import Lease
from haven.ha.messages import Action, LockRead, Prepare, ReadLock, Retire, SettleWrites
from haven.ha.moves import came_to, pass_on, without_tenure
from haven.ha.sessions import abandon, drop_unsound, extend
from haven.ha.state import OFFERED, GiveAway, OwnSession, Refence, Refusal, State, Take, Tenure
from haven.ha.takeover import SeenLock, inherited_wait

Step = tuple[State, list[Action]]


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
            return _given_away(state, now), [ReadLock()]
        case Refence():
            return _refenced(state, term, Lease.granted(move.target.chain, state.timing), move.sent, now)
        case Take(road, wait):
            lease = Lease.granted(move.target.chain, state.timing)
            tenure = Tenure(move.target.id, term, term, road, lease, now + wait, move.sent)
            return _begin(state, tenure, now)


def _given_away(state: State, now: float) -> State:
    """Leave the lock to others for a while: it may have taken an election of Consul to give it away."""
    return replace(state, leaving=None, compete_at=now + state.timing.retreat)


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
        return replace(state, move=None, refuted=move.index), [ReadLock()]
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
        state = _given_away(state, now)
    if tenure is None or lock is None:
        return _came(state, event, now)
    if event.session == tenure.session:
        tenure = replace(tenure, proved=max(tenure.proved, event.sent))
        return extend(replace(state, tenure=tenure), now), []
    if event.session == tenure.moving_to and state.spare and state.spare.id == tenure.moving_to:
        # An earlier try committed, or the one in flight did; no further one can any more.
        lease = Lease(min(state.spare.chain.last, event.sent) + state.timing.lease)
        return _refenced(replace(state, move=None, failures=0), event.index, lease, event.sent, now)
    if state.move and not _overtaken(state, tenure):
        return state, []  # its outcome will tell
    kept = state.owns(lock) or state.fell(lock)
    return (replace(state, move=None, doubt=True), []) if kept else _retire(state)


def _overtaken(state: State, tenure: Tenure) -> bool:
    """Tell whether the lock fell from the tenure's session after the refence in flight was sent.

    The value shows that it was not applied; its condition can never be met again (ADR 8). A free lock
    is picked up at once then, not when the deadline is over.
    """
    lock, move = state.lock, state.move
    if lock is None or lock.record is None or move is None:
        return False
    return state.fell(lock) and lock.record.session == tenure.session and lock.index > move.index


def _came(state: State, event: LockRead, now: float) -> Step:
    """Accept a lock that came to an own session, but not back from a refence after it was given away."""
    own = came_to(state)
    if own is None:
        return state, []
    if now < state.compete_at and own.id in state.offered:
        return pass_on(state, own, now)
    return _accept(state, own, event, now)


def _accept(state: State, own: OwnSession, event: LockRead, now: float) -> Step:
    """Begin the term that came to a session; the lock's value tells whether an older lease may still run."""
    lock = state.lock
    if lock is None or lock.record is None:
        return state, []
    lease = Lease(min(own.chain.last, event.sent) + state.timing.lease)
    answers_from = now + inherited_wait(lock, now, state.timing)
    tenure = Tenure(own.id, event.index, event.index, lock.record.road, lease, answers_from, event.sent)
    return _begin(replace(state, offered=(*state.offered, own.id)[-OFFERED:]), tenure, now)


def _retire(state: State) -> Step:
    """Become a standby: the lock is free, or another node's."""
    return without_tenure(state), [Retire()]
