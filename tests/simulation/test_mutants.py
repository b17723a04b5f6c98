"""The simulation must catch every deliberately broken protocol, and tells in how many seeds it did."""

import pytest

from simulation.mutants import MUTANTS, Mutant
from simulation.node import Violation

SEEDS = 30


def caught(mutant: Mutant) -> list[int]:
    """Return the seeds in which a promise was broken."""
    seeds = []
    for seed in range(SEEDS):
        try:
            mutant.play(seed)
        except Violation:
            seeds.append(seed)
    return seeds


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_caught(mutant: Mutant, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = caught(mutant)
    with capsys.disabled():
        print(f"\n  {mutant.name}: caught in {len(seeds)} of {SEEDS} seeds", end=" ")
    assert seeds
