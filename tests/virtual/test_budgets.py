"""The budgets of DESIGN.md section 1, in virtual time, and who may fail."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from virtual import scenarios
from virtual.clients import Record
from virtual.host import Host
from virtual.scenarios import Strike, answered, measure
from virtual.world import World

SEEDS = range(2)
ELECTION = 4.4
"""Seconds that Consul's own election takes at most."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("strike", "budget"),
    [
        (scenarios.step_down, 0.05),
        (scenarios.terminate, 0.05),
        (scenarios.seal, 0.05),
    ],
)
def test_an_orderly_change_fails_no_request(strike: Strike, budget: float, seed: int) -> None:
    seen = measure(seed, strike, 1.5)
    assert seen.failed_reads() == []
    assert seen.failed_writes() == []
    assert seen.pause() <= budget
    assert len(seen.world.holders) == 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("strike", "budget", "writes"),
    [
        (scenarios.kill, 0.1, 1),
        (scenarios.hang, 2.0, 2),  # another may be forwarded to it before its peers notice
        (scenarios.cut_off, 2.0, 1),
        (scenarios.unplug, 2.0, 2),
        (scenarios.lose_agent_and_die, 0.3, 1),
    ],
)
def test_a_failure_fails_no_read(strike: Strike, budget: float, writes: int, seed: int) -> None:
    seen = measure(seed, strike, 1.0 + budget)
    assert seen.failed_reads() == []
    assert seen.failed_writes() == seen.unknown()
    assert len(seen.unknown()) <= writes  # the one client's that were in flight
    assert seen.pause() <= budget
    assert len(set(seen.world.holders)) == 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("strike", "pause"),
    [
        (scenarios.lose_peers, 0.1),
        (scenarios.lose_own_agent, 0.3),
        (scenarios.lose_one_reply, 0.3),
        (scenarios.elect, ELECTION + 0.3),
        (scenarios.lose_own_leader, ELECTION + 0.3),
    ],
)
def test_what_is_none_of_its_business_changes_no_leader(strike: Strike, pause: float, seed: int) -> None:
    seen = measure(seed, strike, 0.5 + pause)
    assert len(seen.world.holders) == 1
    assert seen.failed_reads() == []
    assert seen.failed_writes() == []
    assert seen.pause("r") <= pause


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("strike", [scenarios.restart_own_leader, scenarios.restart_own_leader_which_blocks])
def test_a_consul_leader_that_restarts_changes_no_leader(strike: Strike, seed: int) -> None:
    """Who is first when the lock falls is chance: without ADR 8 a standby is, in every second seed."""
    seen = measure(seed, strike, ELECTION + 1.0)
    assert len(seen.world.holders) == 1
    assert seen.failed_reads() == []
    assert seen.failed_writes() == []
    assert seen.pause("r") <= ELECTION + 0.6


@pytest.mark.parametrize("seed", range(6))
def test_one_consul_agent_that_works_is_enough_after_an_election(seed: int) -> None:
    """One is down and one blocks for 9 s: without ADR 9 nobody answered until that one did."""
    seen = measure(seed, scenarios.lose_own_leader_while_another_blocks, ELECTION + 2.0)
    assert seen.failed_reads() == []
    assert seen.pause("r") <= ELECTION + 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_what_waits_at_a_holder_cut_off_from_consul_goes_on_to_the_next_one(seed: int) -> None:
    """The next holder tells it over the link: it cannot read so in Consul."""
    parked: list[Record] = []

    def strike(world: World, host: Host) -> None:
        scenarios.cut_off(world, host)

        async def ask() -> None:
            await asyncio.sleep(1.0)
            await world.workload.read("parked", host, "s0", {})
            parked.append(world.workload.records[-1])

        world.keep(world.loop.create_task(ask()))

    seen = measure(seed, strike, 3.0)
    taken_over = max(end for _, end in seen.world.dark.past)
    assert len(set(seen.world.holders)) == 2
    assert answered(parked[0])
    assert parked[0].returned <= max(taken_over, parked[0].invoked) + 0.3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strike", [scenarios.kill, scenarios.step_down])
def test_a_successor_reads_at_once_what_those_who_wait_will_ask_for(strike: Strike, seed: int) -> None:
    """The holder had told it: the first requests are answered from its cache."""
    reads: list[tuple[str, str]] = []

    def strike_and_watch(world: World, host: Host) -> None:
        reads.clear()
        first = host.name
        world.moments.append(
            lambda name, what, text: reads.append((name, text)) if what == "read" and name != first else None
        )
        strike(world, host)

    seen = measure(seed, strike_and_watch, 1.0)
    successor = seen.world.holders[-1]
    asked = [text for name, text in reads if name == successor]
    at_once = {key for text in asked if ", " in text for key in text.split(", ")}
    later = [text for text in asked if ", " not in text]
    assert "core/keyring" in at_once
    assert any("/metadata/" in key for key in at_once)
    tokens = [key for key in at_once if key.startswith("sys/token/id/")]
    assert tokens
    assert not set(tokens) & set(later)
