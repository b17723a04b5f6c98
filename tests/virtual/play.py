"""One run from its seed: faults at risky moments, then healing, then everything must be well again."""

import asyncio
import os
from dataclasses import dataclass

from chaos.linearizability import check
from chaos.secret_model import Outcome
from virtual.clients import READS, SECRETS, Record
from virtual.faults import EVERYTHING, GENTLE, MOMENTS, Fault, Mix
from virtual.host import Host
from virtual.loop import START
from virtual.world import World

SEEDS = int(os.environ.get("HAVEN_SIMULATION_SEEDS", "2000"))
FORMING = 0.4
"""Seconds in which the cluster forms before the first fault."""
FAULTS = 2.2
"""For how long (seconds) new faults begin."""
SETTLING = 13.0
"""Seconds after that in which an active node must be there and every client be served: what is left
of the longest fault (6 s), an election that it causes (4.4 s), and an expiry."""
LASTING = 8.0
"""For how long (seconds) harm may go on to cost answers: the longest fault, and what it leads to."""
PARKING = 8.0
"""A read through HAProxy may only fail where nobody might answer for so many seconds of it."""
CLIENTS = (("p0", True, 0.4), ("p1", True, 0.6), ("d0", False, 0.4))


@dataclass(frozen=True)
class Aim:
    """Which faults strike, how many at most, at which moments (at any time where empty), and more lists."""

    mix: Mix
    most: int = 4
    moments: tuple[str, ...] = ()
    lists: float = 0.13


def play(seed: int, aim: Aim | None = None) -> World:
    """Run one seed; raises `Violation`. One in four has only faults that must not change the leader."""
    world = World(seed)
    world.gentle = seed % 4 == 3 if aim is None else False
    chosen = aim or Aim(GENTLE if world.gentle else EVERYTHING)
    world.run(lambda: _whole(world, chosen))
    return world


async def _whole(world: World, aim: Aim) -> None:
    world.workload.lists = aim.lists
    for number, host in enumerate(world.random.sample(world.hosts, 3)):
        world.loop.at(world.random.uniform(0, 0.05) * number, host.start)
    world.keep(asyncio.ensure_future(world.entrance.run()))
    await asyncio.sleep(FORMING / 2)
    clients = [
        asyncio.ensure_future(world.workload.client(name, proxied=proxied, rest=(0.0, 0.3), reads=reads))
        for name, proxied, reads in CLIENTS
    ]
    await asyncio.sleep(FORMING / 2)
    plan(world, aim)
    await asyncio.sleep(FAULTS)
    world.moments.clear()
    for host in world.hosts:
        if host.process is not None:
            host.process.armed = None
    await healed(world)
    world.workload.stopping = True
    await asyncio.gather(*clients)
    await served(world)
    judge(world)


def plan(world: World, aim: Aim) -> None:
    """Have a few faults strike: at a time, at a moment, or right between two steps of a node."""
    chance, mix, kinds = world.random, aim.mix, list(aim.mix)
    for _ in range(chance.randint(1, aim.most)):
        fault = chance.choices(kinds, [mix[kind] for kind in kinds])[0]
        if not aim.moments and chance.random() < 0.5:
            world.loop.at(chance.uniform(0, FAULTS), strike, world, fault, None)
        else:
            at_moment(world, fault, chance.choice(aim.moments or MOMENTS), chance.randint(1, 6))


def at_moment(world: World, fault: Fault, moment: str, count: int) -> None:
    """Let a fault strike when a moment has come so many times, or soon after."""
    left, end = [count], world.loop.now + FAULTS

    def noted(host: str, what: str, _: str) -> None:
        if what != moment or world.loop.now > end or not left[0]:
            return
        left[0] -= 1
        if not left[0]:
            struck = next((one for one in world.hosts if one.name == host), None)
            after = world.random.choice([0.0, 0.001, 0.005, 0.05]) * world.random.random()
            world.loop.at(after, strike, world, fault, struck)

    world.moments.append(noted)


def strike(world: World, fault: Fault, host: Host | None) -> None:
    """Let a fault strike this node, or the active one more often than another; or so many steps later."""
    if host is None or world.random.random() < 0.2:
        active = world.active()
        host = active if active and world.random.random() < 0.7 else world.random.choice(world.hosts)
    chosen, process = host, host.process
    if process is not None and host.running and world.random.random() < 0.4:
        process.armed = process.runs + world.random.randint(1, 30), lambda: fault(world, chosen)
    else:
        fault(world, chosen)


# The end ---------------------------------------------------------------------------------------


async def healed(world: World) -> None:
    """Wait until a node may answer and the rest is over; a bound later that is a broken promise."""
    deadline = world.loop.now + SETTLING
    while world.loop.now < deadline:
        if world.active() and _over(world):
            return
        await asyncio.sleep(0.1)
    world.violate("no active node after healing")


def _over(world: World) -> bool:
    now, cluster = world.loop.now, world.service.cluster
    agents = all(cluster.healthy(agent) for agent in cluster.agents)
    nodes = all(_unsealed(host) for host in world.hosts)
    return agents and nodes and now >= max(world.network.blocked.values(), default=0.0)


def _unsealed(host: Host) -> bool:
    if host.process is None or host.node is None or not host.running or host.leaving:
        return False
    return host.loop.now >= host.process.paused_until and not host.node.status().seal.sealed


async def served(world: World) -> None:
    """Have every way in, HAProxy and each node, answer a read and a write."""
    known: dict[str, int] = {}
    for host in (None, *world.hosts):
        name = host.name if host else "proxy"
        for secret in SECRETS:
            if not await world.workload.read(f"end-{name}", host, secret, known):
                world.violate(
                    f"a read through {name} failed after healing: {world.workload.records[-1].answer}"
                )
        outcome = await world.workload.write(f"end-{name}", host, SECRETS[0], known, cas=False)
        if outcome is not Outcome.DONE:
            world.violate(f"a write through {name} was {outcome} after healing")


def judge(world: World) -> None:
    """Judge what the clients were told."""
    for secret, operations in world.workload.operations.items():
        verdict = check(operations)
        if not verdict.linearizable:
            world.violate(f"{secret} is not linearizable at {verdict.stuck_at}")
    if world.gentle and len(set(world.holders)) > 1:
        world.violate(f"the leader changed: {world.holders}")
    for record in world.workload.records:
        if record.outcome is Outcome.UNKNOWN and record.kind not in READS:
            if not world.excused(record.invoked - LASTING, record.returned):
                world.violate(f"unknown without a reason: {_told(record)}")
        elif (
            record.outcome is Outcome.UNKNOWN
            and record.proxied
            and world.dark.seconds(record.invoked, record.returned, world.loop.now) < PARKING
            and not world.closed.at(record.returned)
        ):
            world.violate(f"failed read: {_told(record)}")


def _told(record: Record) -> str:
    times = f"from {record.invoked - START:.3f} to {record.returned - START:.3f}"
    return f"{record.client} {record.kind} {times} got {record.answer}"
