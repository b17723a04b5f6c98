"""The lock transactions of a node: when it sends which."""

from dataclasses import replace

from haven.ha.lease import Lease
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    ReadChecks,
    Retire,
    SendLeave,
    SendMove,
)
from haven.ha.record import LockRecord, Road
from haven.ha.sessions import abandon
from haven.ha.state import (
    OFFERED,
    GiveAway,
    Leaving,
    Move,
    OwnSession,
    Refence,
    Silence,
    State,
    Take,
)
from haven.ha.takeover import CreateLock, ReplaceHolder, TakeFree, attempt, inherited_wait, reserved_until

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
    if came_to(state):
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
    state = replace(without_tenure(state), main=None, spare=None, abandoned=given_up, move=None)
    state = replace(state, generation=generation + 1, silence=Silence())
    return state, [Retire(), AnnounceResigned(generation)]


def without_tenure(state: State) -> State:
    """End the term. Its session is never offered again: a write in flight under it would pass the fence."""
    lost = state.tenure.session if state.tenure else ""
    return abandon(replace(state, tenure=None, doubt=False, yielding=None), lost)


def _give_away(state: State, now: float) -> Step:
    """End the term before the transaction is sent: whatever its outcome, it is over."""
    tenure, yielding = state.tenure, state.yielding
    if tenure is None or yielding is None:
        return state, []
    state = replace(without_tenure(state), compete_at=now + state.timing.retreat)
    old = next((own for own in state.abandoned if own.id == tenure.session), None)
    if old is None:
        return state, [Retire()]  # the lease is over and the session has ended
    owes_wait = tenure.answers_from > now
    record = replace(state.record(old, tenure.road, owes_wait), released=True)
    if yielding.successor:
        record = replace(yielding.successor, road=Road.HAND_OVER, owes_wait=owes_wait, released=False)
    state = replace(state, leaving=Leaving(old, record, yielding.reason))
    state, actions = _give_away_again(state, now)
    return state, [Retire(), *actions]


def pass_on(state: State, own: OwnSession, now: float) -> Step:
    """Free a lock that an earlier transaction brought after this node had given it away.

    The session is never offered again: the transaction that frees the lock may be applied late.
    """
    lock = state.lock
    if lock is None or lock.record is None:
        return state, []
    owes_wait = inherited_wait(lock, now, state.timing) > 0
    record = replace(state.record(own, lock.record.road, owes_wait), released=True)
    state = replace(abandon(state, own.id), leaving=Leaving(own, record, "retreat"))
    return _give_away_again(state, now)


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
    """Take the lock over from a session that this run gave up, and under which no term runs.

    A transaction of unknown outcome came through. The value tells by which road; one that
    another has written tells nothing.
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

    Without proof, look into the catalog first; then leave the last holder a moment in which to
    take its own lock back.
    """
    main, lock = state.main, state.lock
    if main is None or lock is None or lock.index == state.refuted:
        return state, []  # a read that tells how it is now is on its way
    chosen = attempt(lock, state.evidence, state.run, now, state.timing)
    if chosen is None:
        return state, []
    if chosen.road is Road.OTHER and state.checked < lock.first_seen:
        if now < state.asked + state.timing.beat:
            return state, []
        return replace(state, asked=now), [ReadChecks()]
    heard = lock.record is not None and lock.record.run in state.heard
    if now < reserved_until(lock, chosen.road, heard, state.unread, state.timing):
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


def came_to(state: State) -> OwnSession | None:
    """Return the session of this node that holds the lock although no term runs under it, if one does.

    The lock was handed over, or an own transaction of unknown outcome came through late. Nothing was ever
    written under a session that is still kept, so a term may begin under it.
    """
    lock = state.lock
    if lock is None or lock.record is None or lock.record.session != lock.session:
        return None
    if state.move or state.leaving:
        return None
    return next((own for own in state.sessions() if own.id == lock.session), None)
