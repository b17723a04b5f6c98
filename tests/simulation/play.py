"""One run from its seed: faults for a while, then healing, then an active node within a bound."""

import os

from simulation.clients import KEYS, Clients
from simulation.faults import EVERYTHING, Fault, Mix
from simulation.node import Violation
from simulation.variant import RIGHT, Variant
from simulation.world import START, World

SEEDS = int(os.environ.get("HAVEN_SIMULATION_SEEDS", "500"))
FAULTS = 10.0
"""For how long (seconds) new faults begin."""
AFTERMATH = 4.0
"""Seconds for which what a fault set off may go on to happen: crashed nodes come back."""
BOUND = 12.0
"""Seconds after the last fault is over in which a node must answer again: an agent that had something
unsynced while there was no leader blocks whoever passes through it for 10 s, late transactions come up to
4 s later; then a session is made, and a check TTL waited."""
PAUSE = 5.5
"""How long (seconds) nobody may answer over a fault that must not change the leader: the longest election,
and a try every 0.4 s."""
PACE = (0.05, 0.3, 1.0, 3.0)
"""Times between faults, some of them together, some of them with a calm between."""


def play(
    seed: int,
    variant: Variant = RIGHT,
    mix: Mix = EVERYTHING,
    *,
    faults: float = FAULTS,
) -> World:
    """Run one seed; raises `Violation`, with the trace as a note."""
    world = World(seed, variant)
    clients = Clients(world)
    try:
        _run(world, clients, mix, faults)
        if not clients.acked or not clients.reads:
            raise Violation("no client was served")
    except Violation as broken:
        broken.add_note("\n".join(world.trace))
        raise
    return world


def suffer(seed: int, fault: Fault, variant: Variant = RIGHT) -> World:
    """Run one seed in which one fault hits the active node and nothing else happens; raises `Violation`.

    `holders` begins with the node that was hit, `longest_dark` counts from the fault on.
    """
    world = World(seed, variant, loss=0.0)
    clients = Clients(world)

    def hit() -> None:
        (active,) = world.serving()
        world.longest_dark, world.holders = 0.0, [active.name]
        fault(world, active)

    try:
        _begin(world, clients)
        world.at(world.random.uniform(3.0, 4.0), hit)
        world.run_until(START + 25.0)
        world.check()
        world.longest_dark = max(world.longest_dark, world.now - world.last_served)
    except Violation as broken:
        broken.add_note("\n".join(world.trace))
        raise
    return world


def endure(seed: int, fault: Fault, variant: Variant = RIGHT) -> World:
    """Run one seed in which the fault must cost a pause at most; raises `Violation` if the leader changes."""
    world = suffer(seed, fault, variant)
    if set(world.holders) != {world.holders[0]} or world.longest_dark > PAUSE:
        text = f"holders {world.holders}, dark for {world.longest_dark:.1f} s"
        broken = Violation(text)
        broken.add_note("\n".join(world.trace))
        raise broken
    return world


def _begin(world: World, clients: Clients) -> None:
    """Start the nodes and their clients."""
    chance = world.random

    def client() -> None:
        for node in world.nodes if world.variant.early_writes else world.serving():
            key = chance.randrange(KEYS)
            if chance.random() < 0.4:
                clients.write(node, key)
            else:
                clients.read(node, key)
        world.at(chance.uniform(0.005, 0.04), client)

    for number, node in enumerate(world.nodes):
        world.at(0.05 * number, lambda node=node: world.start(node))
    world.at(0.5, client)


def _run(world: World, clients: Clients, mix: Mix, faults: float) -> None:
    chance, kinds = world.random, list(mix)
    weights = [mix[kind] for kind in kinds]

    def fault() -> None:
        active = world.serving()
        node = chance.choice(active) if active and chance.random() < 0.7 else chance.choice(world.nodes)
        chance.choices(kinds, weights)[0](world, node)
        if world.now < START + faults:
            world.at(chance.choice(PACE) * chance.uniform(0.5, 1.5), fault)

    _begin(world, clients)
    world.at(1.0, fault)
    world.run_until(START + faults + max(PACE) * 1.5 + AFTERMATH)
    healed = world.healed_at()
    world.run_until(healed)
    while world.last_served < world.now - 0.5 or world.now < healed + 0.5:
        if world.now > healed + BOUND:
            raise Violation(
                f"healed at {healed - START:.3f}, nobody answers since {world.last_served - START:.3f}"
            )
        world.run_until(world.now + 0.5)
    world.recovery = world.now - healed
