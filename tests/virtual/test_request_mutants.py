"""Each broken request path is caught; the counts say in how many seeds."""

import logging
from collections.abc import Iterator

import pytest

from virtual.mutants import MUTANTS, Mutant
from virtual.play import play
from virtual.world import Violation

FIRST = 10_000
MOST = 200
ENOUGH = 2


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_caught(mutant: Mutant) -> None:
    caught = played = 0
    with mutant.in_force():
        while played < MOST and caught < ENOUGH:
            try:
                play(FIRST + played, mutant.aim)
            except Violation:
                caught += 1
            played += 1
    print(f"{mutant.name}: caught in {caught} of {played} seeds")
    assert caught
