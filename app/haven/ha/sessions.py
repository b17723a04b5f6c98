"""A node's own sessions: kept alive in pairs, given up for good, made only while Consul has a leader."""

from dataclasses import replace

from haven.ha.messages import Action, EndSession, MakeSession
from haven.ha.state import OwnSession, State

PARTING = 10.0
"""How often (seconds) a node with both sessions at one Consul agent tries to make one through another."""


def drop_unsound(state: State, now: float) -> State:
    """Notice what time alone has broken: sessions whose check may have expired, a lapsed lease.

    Under the holder that is doubt. A standby goes on with its spare session as the main one.
    """
    for session in state.sessions():
        if not session.chain.sound(now, state.timing):
            state = abandon(state, session.id)
    tenure = state.tenure
    if tenure is None:
        return state
    lost = state.main is None or state.main.id != tenure.session
    return replace(state, doubt=state.doubt or lost or not tenure.lease.holds(now))


def abandon(state: State, session: str) -> State:
    """Give a session up for good: it gets no more passes and is never offered again."""
    given_up = tuple(own for own in state.sessions() if own.id == session)
    main = state.main if state.main and state.main.id != session else None
    spare = state.spare if state.spare and state.spare.id != session else None
    if main is None and state.tenure is None:
        main, spare = spare, None
    return replace(state, main=main, spare=spare, abandoned=(*state.abandoned, *given_up))


def made(state: State, number: int, session: OwnSession, now: float) -> State:
    """Take a fresh session in; one that came too late to be of use is given up."""
    if number == state.registering:
        state = replace(state, registering=0)
    if not session.chain.sound(now, state.timing):
        return replace(state, abandoned=(*state.abandoned, session))
    if state.main is None and state.tenure is None:
        return replace(state, main=session)
    if state.spare is None:
        return replace(state, spare=session)
    if _at_one_agent(state) and session.check_node != state.spare.check_node and not _moving(state):
        return replace(state, spare=session, abandoned=(*state.abandoned, state.spare))
    return replace(state, abandoned=(*state.abandoned, session))


def _at_one_agent(state: State) -> bool:
    """Tell whether the loss of one agent would end both sessions: the other agents could make none once."""
    return bool(state.main and state.spare and state.main.check_node == state.spare.check_node)


def _moving(state: State) -> bool:
    """Tell whether a transaction may be on its way that puts the lock under the spare session."""
    return state.move is not None or (state.tenure is not None and state.tenure.moving_to != "")


def failed(state: State, number: int) -> State:
    """Forget a registration that did not work; the next one has another number."""
    return replace(state, registering=0) if number == state.registering else state


def passed(state: State, session: str, sent: float, now: float) -> State:
    """Prolong the chain of this session, and the lease that rests on it."""

    def advanced(own: OwnSession | None) -> OwnSession | None:
        if own is None or own.id != session:
            return own
        return replace(own, chain=own.chain.passed(sent, now, state.timing))

    return extend(replace(state, main=advanced(state.main), spare=advanced(state.spare)), now)


def extend(state: State, now: float) -> State:
    """Extend the lease as far as the last pass and the last proof of the lock both allow.

    Not once a refence was sent, though: if that is applied unseen, the lock and what ends it
    rest on the other session (ADR 3).
    """
    tenure, main = state.tenure, state.main
    if tenure is None or main is None or main.id != tenure.session or tenure.moving_to:
        return state
    lease = tenure.lease.confirmed(main.chain, tenure.proved, now, state.timing)
    return replace(state, tenure=replace(tenure, lease=lease))


def maintain(state: State, holder: str | None, now: float) -> tuple[State, list[Action]]:
    """Register what is missing and end what was given up: only call it when Consul just answered as a leader.

    `holder` is the session that it said holds the lock, None if it said nothing of that: a
    session that still holds it, or that a transaction under way may lock, is not ended,
    because that would free the lock without a word.
    """
    actions: list[Action] = []
    if holder is not None:
        needed = {holder, state.move.target.id if state.move else ""}
        ended = tuple(own for own in state.abandoned if own.id not in needed)
        kept = tuple(own for own in state.abandoned if own.id in needed)
        state = replace(state, abandoned=kept)
        actions.extend(EndSession(own) for own in ended)
    main, spare = state.main, state.spare
    complete = spare if state.tenure else main and spare
    if state.registering or (complete and not (_at_one_agent(state) and now >= state.part_at)):
        return state, actions
    number = state.registrations + 1
    kept_alive = main or spare
    state = replace(state, registrations=number, registering=number, part_at=now + PARTING)
    return state, [*actions, MakeSession(number, kept_alive.check_node if kept_alive else None)]
