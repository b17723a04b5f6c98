"""Every promise of DESIGN.md 3, over seeds of every fault together, and over each fault alone."""

import pytest

from haven.ha import outcomes
from haven.ha.moves import pass_on
from haven.ha.state import OwnSession, State
from simulation import faults
from simulation.faults import Fault
from simulation.node import Violation
from simulation.play import SEEDS, endure, play, suffer

BLOCKS = 10
TRIALS = 12
IN_DOUBT: faults.Mix = {
    faults.step_down_in_doubt: 4,
    faults.step_down: 3,
    faults.lossy: 2,
    faults.elect: 2,
    faults.refence_unheard: 2,
    faults.lose_agent: 1,
    faults.destroy: 1,
}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_seed_breaks_a_promise(block: int) -> None:
    for seed in range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS):
        try:
            play(seed)
        except Violation as broken:
            pytest.fail(f"{broken}; the trace: python -m simulation.replay {seed}")


def test_a_lock_that_comes_back_after_a_step_down_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an aimed mix gets there: of 571 such seeds 15 did."""
    passed_on: list[str] = []

    def counted(state: State, own: OwnSession, now: float) -> outcomes.Step:
        passed_on.append(own.id)
        return pass_on(state, own, now)

    monkeypatch.setattr(outcomes, "pass_on", counted)
    for seed in range(120):
        play(seed, mix=IN_DOUBT)
    assert passed_on


def test_seed_replays_exactly() -> None:
    assert play(7).trace == play(7).trace


@pytest.mark.parametrize(
    "fault",
    [
        faults.elect,
        faults.lossy,
        faults.kill_main_agent,
        faults.cut_off_main_agent,
        faults.kill_consul_leader,
        faults.restart_main_agent_that_leads,
    ],
    ids=lambda fault: fault.__name__,
)
def test_leader_stays(fault: Fault) -> None:
    """An election, lost replies or the loss of the own Consul server cost a pause, not a change of leader."""
    for seed in range(TRIALS):
        endure(seed, fault)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.kill, 0.3),
        (faults.hand_over, 0.5),
        (faults.release, 0.5),
        (faults.cut_from_consul, 1.0),
        (faults.cut_from_peers, 0.3),
        (faults.hang, 4.0),
        (faults.cut_from_all, 4.0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_another_takes_over(fault: Fault, seconds: float) -> None:
    """Another node answers in time: the catalog may learn of an expiry 2 s late, a hint may be lost."""
    for seed in range(TRIALS):
        world = suffer(seed, fault)
        assert len(world.holders) > 1, f"seed {seed}: nobody took over"
        assert world.holders[1] != world.holders[0], f"seed {seed}: {world.holders}"
        assert world.longest_dark < seconds, f"seed {seed}"


def test_holder_whose_session_an_operator_ends_takes_the_lock_back_at_once() -> None:
    for seed in range(TRIALS):
        world = suffer(seed, faults.destroy_session)
        assert world.longest_dark < 0.5, f"seed {seed}"
