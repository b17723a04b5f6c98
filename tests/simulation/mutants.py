"""Deliberately broken protocols, each with the faults that should show it (DESIGN.md 3.7)."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from haven.ha import moves, protocol, sessions, takeover
from haven.ha.lease import Lease, PassChain
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    Event,
    MakeSession,
    MoveCommitted,
    MoveUnknown,
    ReadLock,
    SendMove,
)
from haven.ha.record import Road
from haven.ha.state import State, Tenure
from haven.ha.takeover import Evidence, SeenLock
from haven.ha.timing import Timing
from simulation import faults
from simulation.faults import Fault, Mix
from simulation.play import endure, play
from simulation.variant import RIGHT, Variant
from simulation.world import World

Patches = Mapping[tuple[Any, str], Callable[..., Any]]


@dataclass(frozen=True)
class Mutant:
    """What is broken, and what to aim at it: faults in a mix, or a `single` one that may cost a pause."""

    name: str
    mix: Mix
    variant: Variant = RIGHT
    patches: Patches = field(default_factory=dict)
    single: Fault | None = None

    def play(self, seed: int) -> World:
        """Run one seed of the broken protocol."""
        with self._in_force():
            if self.single:
                return endure(seed, self.single, self.variant)
            return play(seed, self.variant, self.mix, faults=8.0)

    def _in_force(self) -> AbstractContextManager[object]:
        """Break the protocol for as long as the context lasts."""
        stack = ExitStack()
        for (owner, name), broken in self.patches.items():
            stack.enter_context(patch.object(owner, name, broken))
        return stack


# The lease ---------------------------------------------------------------------------------------


def pass_counted_from_the_reply(self: PassChain, sent: float, replied: float, timing: Timing) -> PassChain:
    return _passed(self, replied, replied, timing)


def lease_without_the_read(self: Lease, chain: PassChain, sent: float, now: float, timing: Timing) -> Lease:
    return _confirmed(self, chain, math.inf, now, timing)


def without_the_read(state: State, event: Event, now: float) -> protocol.Step:
    state, actions = protocol.step(state, event, now)
    if state.tenure:
        actions = [action for action in actions if not isinstance(action, ReadLock)]
    return state, actions


_confirmed, _passed = Lease.confirmed, PassChain.passed


def lease_after_it_lapsed(self: Lease, chain: PassChain, sent: float, now: float, timing: Timing) -> Lease:
    return Lease(max(self.until, min(chain.last, sent) + timing.lease))


def chain_mended(self: PassChain, sent: float, replied: float, timing: Timing) -> PassChain:
    return replace(self, last=max(self.last, sent))


def chain_always_sound(self: PassChain, now: float, timing: Timing) -> bool:
    return True


def extending_after_a_refence_was_sent(state: State, event: Event, now: float) -> protocol.Step:
    """Neither caps the old lease nor stops extending it (ADR 3)."""
    before = state.tenure
    state, actions = protocol.step(state, event, now)
    if before and state.tenure and state.tenure.moving_to and state.tenure.term == before.term:
        state = replace(state, tenure=replace(state.tenure, moving_to="", lease=before.lease))
    return state, actions


# Taking over -------------------------------------------------------------------------------------


def answering_at_once(state: State, event: Event, now: float) -> protocol.Step:
    state, actions = protocol.step(state, event, now)
    if isinstance(event, MoveCommitted) and state.tenure:
        state = replace(state, tenure=replace(state.tenure, answers_from=now))
    return state, actions


def forgetting_the_owed_wait(state: State, event: Event, now: float) -> protocol.Step:
    """Takes over from a waiting holder and answers at once (ADR 2)."""
    state, actions = protocol.step(state, event, now)

    def told(action: Action) -> Action:
        if isinstance(action, SendMove):
            return replace(action, record=replace(action.record, owes_wait=False))
        return action

    return state, [told(action) for action in actions]


def trusting_any_critical_check(lock: SeenLock, evidence: Evidence, run: str) -> Road | None:
    record = lock.record
    if record and not lock.session and record.check_id in dict(evidence.critical_checks):
        return Road.EXPIRY
    return _proof(lock, evidence, run)


def taking_at_once_what_expired(
    lock: SeenLock, road: Road, heard: bool, unread: float, timing: Timing
) -> float:
    return _reserved_until(lock, road, False, unread, timing)


_proof, _reserved_until = takeover._proof, takeover.reserved_until


# Doubt -------------------------------------------------------------------------------------------


def registering_only_in_doubt(state: State, event: Event, now: float) -> protocol.Step:
    """Keeps no spare session: in doubt it registers one, leader or not."""
    state, actions = protocol.step(state, event, now)
    if state.tenure and state.doubt and not state.spare and not state.registering:
        number = state.registrations + 1
        state = replace(state, registrations=number, registering=number)
        actions = [*actions, MakeSession(number, state.main.check_node if state.main else None)]
    return state, actions


def without_spare(state: State, holder: str | None, now: float) -> tuple[State, list[Action]]:
    if state.main or state.tenure:
        return state, []
    return _maintain(state, holder, now)


_maintain = sessions.maintain


def keeping_the_old_session(state: State, event: Event, now: float) -> protocol.Step:
    """Keeps the session of the term before as the spare one."""
    after, actions = protocol.step(state, event, now)
    old, new = state.tenure, after.tenure
    if old and new and old.reign == new.reign and old.term < new.term and after.spare is None:
        kept = tuple(own for own in after.abandoned if own.id != old.session)
        after = replace(after, spare=state.main, abandoned=kept)
    return after, actions


def going_on_after_a_hand_over(state: State, event: Event, now: float) -> protocol.Step:
    """Takes its term back when the outcome of a hand-over is unknown."""
    leaving, lock = state.leaving, state.lock
    if isinstance(event, MoveUnknown) and leaving and lock:
        lease = Lease(leaving.old.chain.last + state.timing.lease)
        term, road = lock.index, leaving.record.road
        tenure = Tenure(leaving.old.id, term, term, road, lease, now, now, ready=True)
        return replace(state, move=None, leaving=None, tenure=tenure, main=leaving.old), []
    return protocol.step(state, event, now)


def keeping_sessions_over_a_resignation(state: State, event: Event, now: float) -> protocol.Step:
    """Competes again under the generation that it resigned."""
    after, actions = protocol.step(state, event, now)
    if any(isinstance(action, AnnounceResigned) for action in actions):
        after = replace(after, generation=state.generation)
    return after, actions


# All of them -------------------------------------------------------------------------------------

HANGS: Mix = {faults.pause: 3, faults.slow_sync: 1, faults.cut: 1}
LOSSES: Mix = {faults.lossy: 3, faults.elect: 1, faults.cut: 1}
USURPERS: Mix = {faults.usurp: 3, faults.pause: 1}

MUTANTS = [
    Mutant(
        "lease counted from the reply",
        {faults.falter: 1},
        patches={
            (PassChain, "passed"): pass_counted_from_the_reply,
            (Lease, "confirmed"): lease_without_the_read,
        },
    ),
    Mutant(
        "heartbeat without the consistent read",
        {faults.lose_agent: 2, faults.usurp: 1},
        Variant(rule=without_the_read),
        {(Lease, "confirmed"): lease_without_the_read},
    ),
    Mutant("no fence", {**HANGS, **LOSSES}, Variant(fenced=False)),
    Mutant(
        "lapsed lease extended by a late pass",
        {faults.oversleep: 1},
        patches={
            (Lease, "confirmed"): lease_after_it_lapsed,
            (PassChain, "passed"): chain_mended,
            (PassChain, "sound"): chain_always_sound,
        },
    ),
    Mutant("answers at once after any acquisition", USURPERS, Variant(rule=answering_at_once)),
    Mutant("acknowledges writes before the old lease is over", USURPERS, Variant(early_writes=True)),
    Mutant(
        "trusts any critical check", USURPERS, patches={(takeover, "_proof"): trusting_any_critical_check}
    ),
    Mutant("acquires unconditionally", {faults.crash: 1}, Variant(conditional=False)),
    Mutant("takes a liveness timeout for death", {faults.pause: 1}, Variant(timeout_is_death=True)),
    Mutant("goes on under the old session after an unknown outcome", LOSSES, Variant(settles=False)),
    Mutant("reuses a check id", {faults.relapse: 1}, Variant(reuses_checks=True)),
    Mutant("calls an unknown write failed", LOSSES, Variant(calls_unknown_failed=True)),
    Mutant(
        "goes on after a hand-over of unknown outcome",
        {faults.step_down_unheard: 2, faults.lossy: 1, faults.step_down: 1},
        Variant(rule=going_on_after_a_hand_over),
    ),
    Mutant(
        "no spare and registers without a leader",
        {},
        Variant(rule=registering_only_in_doubt),
        {(sessions, "maintain"): without_spare},
        single=faults.elect,
    ),
    Mutant(
        "leaves nothing to a holder that speaks",
        {},
        patches={(moves, "reserved_until"): taking_at_once_what_expired},
        single=faults.restart_main_agent_that_leads,
    ),
    Mutant("keeps the cache over a change of term", {faults.step_down: 1}, Variant(keeps_cache=True)),
    Mutant("clock stops while suspended", {faults.pause: 1}, Variant(clock_stops=True)),
    Mutant("forgets the owed wait", {faults.usurp_twice: 1}, Variant(rule=forgetting_the_owed_wait)),
    Mutant(
        "extends the old lease after a refence was sent",
        {faults.refence_unheard: 1},
        Variant(rule=extending_after_a_refence_was_sent),
    ),
    Mutant(
        "competes again under what it resigned",
        {faults.cut: 3, faults.crash: 1},
        Variant(rule=keeping_sessions_over_a_resignation),
    ),
    Mutant(
        "keeps the old session as the spare one",
        LOSSES,
        Variant(rule=keeping_the_old_session),
    ),
]
