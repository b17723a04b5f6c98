"""Whole nodes keep their promises whatever happens, in every seed."""

import logging
from collections.abc import Iterator

import pytest

from virtual.play import SEEDS, play

BLOCKS = 20


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_seed_breaks_a_promise(block: int) -> None:
    seeds = range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS)
    asked = sum(len(play(seed).workload.records) for seed in seeds)
    assert asked >= 20 * len(seeds), "hardly anything was asked"


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_seed_plays_the_same_each_time(seed: int) -> None:
    assert play(seed).trace == play(seed).trace
