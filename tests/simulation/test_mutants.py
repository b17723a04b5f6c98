"""Deliberately broken protocols: the simulation must catch each, and says in how many seeds."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from haven.ha.lease import Lease
from haven.ha.protocol import Step, step
from haven.ha.state import Event, LockRead, MoveCommitted, PassAnswered, SendMove, State
from simulation.world import Rule, Violation, play

SEEDS = 300


def with_lease_of_every_pass(state: State, event: Event, now: float) -> Step:
    """Heartbeat without the consistent read: a pass alone extends the lease."""
    state, actions = step(state, event, now)
    if isinstance(event, PassAnswered) and state.tenure and state.tenure.session == event.session:
        lease = Lease(event.sent + state.timing.lease)
        state = replace(state, tenure=replace(state.tenure, lease=lease))
    return state, actions


def with_lease_from_the_reply(state: State, event: Event, now: float) -> Step:
    """Lease counted from when the reply came, a whole TTL long."""
    state, actions = step(state, event, now)
    if isinstance(event, LockRead) and state.tenure and state.tenure.session == event.session:
        lease = Lease(now + state.timing.check_ttl)
        state = replace(state, tenure=replace(state.tenure, lease=lease))
    return state, actions


def answering_at_once(state: State, event: Event, now: float) -> Step:
    """Answers at once after any acquisition."""
    state, actions = step(state, event, now)
    if isinstance(event, MoveCommitted) and state.tenure:
        state = replace(state, tenure=replace(state.tenure, answers_from=now))
    return state, actions


def forgetting_the_owed_wait(state: State, event: Event, now: float) -> Step:
    """Takes over from a waiting holder and answers at once (ADR 2)."""
    state, actions = step(state, event, now)
    told = [
        replace(action, record=replace(action.record, owes_wait=False))
        if isinstance(action, SendMove)
        else action
        for action in actions
    ]
    return state, told


MUTANTS: list[Callable[[State, Event, float], Step]] = [
    with_lease_of_every_pass,
    with_lease_from_the_reply,
    answering_at_once,
    forgetting_the_owed_wait,
]


def caught(rule: Rule) -> int:
    """Count the seeds in which a promise was broken."""
    count = 0
    for seed in range(SEEDS):
        try:
            play(seed, rule)
        except Violation:
            count += 1
    return count


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_mutant_is_caught(mutant: Rule) -> None:
    seeds = caught(mutant)
    print(f"{mutant.__name__}: caught in {seeds} of {SEEDS} seeds")
    assert seeds > 0
