import pytest

from simulation.world import Violation, play

SEEDS = 500


@pytest.mark.parametrize("block", range(10))
def test_no_seed_breaks_a_promise(block: int) -> None:
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        try:
            world = play(seed)
        except Violation as broken:
            pytest.fail(f"seed {seed}: {broken}")
        assert world.reads > 100, f"seed {seed}: hardly anything was served"
