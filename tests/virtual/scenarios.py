"""One fault each, on a cluster at rest with clients that ask all the time: how long nobody gets an answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from chaos.linearizability import check
from chaos.secret_model import Outcome
from haven.ha.takeover import TTL_EXPIRED
from virtual import faults
from virtual.clients import READS, Record
from virtual.host import Host
from virtual.world import World

FORMING = 0.6
CLIENTS = (("r0", True, 1.0), ("r1", True, 1.0), ("w0", True, 0.0), ("d0", False, 0.5))

Strike = Callable[[World, Host], None]


@dataclass(frozen=True)
class Measured:
    """What the clients saw of one fault."""

    world: World
    struck: float

    def pause(self, name: str = "") -> float:
        """Return the longest time without an answered request, of one client or of all through HAProxy."""
        chosen = [r for r in self.world.workload.records if r.client.startswith(name) and r.proxied]
        moments = sorted(r.returned for r in chosen if answered(r))
        return max(later - earlier for earlier, later in pairwise(moments))

    def failed_reads(self) -> list[Record]:
        return [r for r in self._proxied() if r.kind in READS and not answered(r)]

    def failed_writes(self) -> list[Record]:
        return [r for r in self._proxied() if r.kind not in READS and not answered(r)]

    def unknown(self) -> list[Record]:
        return [r for r in self.failed_writes() if r.outcome is Outcome.UNKNOWN]

    def _proxied(self) -> list[Record]:
        return [record for record in self.world.workload.records if record.proxied]


def answered(record: Record) -> bool:
    return record.outcome in {Outcome.DONE, Outcome.MISMATCH}


def measure(seed: int, strike: Strike, seconds: float) -> Measured:
    """Let a fault strike the active node, and watch for so many seconds; raises `Violation`."""
    world = World(seed)
    world.network.slow = 0.0
    struck: list[float] = []
    world.run(lambda: _watch(world, strike, seconds, struck))
    return Measured(world, struck[0])


async def _watch(world: World, strike: Strike, seconds: float, struck: list[float]) -> None:
    for number, host in enumerate(world.random.sample(world.hosts, 3)):
        world.loop.at(0.05 * number, host.start)
    world.keep(asyncio.ensure_future(world.entrance.run()))
    await asyncio.sleep(FORMING)
    clients = [
        asyncio.ensure_future(world.workload.client(name, proxied=proxied, rest=(0.0, 0.02), reads=reads))
        for name, proxied, reads in CLIENTS
    ]
    await asyncio.sleep(world.random.uniform(0.3, 0.6))
    active = world.active()
    assert active is not None
    struck.append(world.loop.now)
    strike(world, active)
    await asyncio.sleep(seconds)
    world.workload.stopping = True
    await asyncio.gather(*clients)
    for secret, operations in world.workload.operations.items():
        if not check(operations).linearizable:
            world.violate(f"{secret} is not linearizable")


# The faults ------------------------------------------------------------------------------------


def kill(world: World, host: Host) -> None:
    world.harm()
    host.kill()


def hang(world: World, host: Host) -> None:
    assert host.process is not None
    world.harm()
    world.note(host.name, "paused", "for long")
    world.loop.pause(host.process, 60.0)


def cut_off(world: World, host: Host) -> None:
    """Consul is out of reach of the active node, for long; peers and clients are not."""
    for agent in world.service.cluster.agents:
        world.network.block(host.name, agent.name, 60.0)
        world.network.block(agent.name, host.name, 60.0)
    world.note(host.name, "cut off from Consul", "for long")


def unplug(world: World, host: Host) -> None:
    """Everything is out of reach of the active node, for long."""
    names = [other.name for other in world.hosts] + [agent.name for agent in world.service.cluster.agents]
    for name in (*names, "proxy", "client"):
        world.network.block(host.name, name, 60.0)
        world.network.block(name, host.name, 60.0)
    world.note(host.name, "isolated", "for long")


def lose_peers(world: World, host: Host) -> None:
    """The active node reaches Consul and its clients, but no other node."""
    for other in world.hosts:
        world.network.block(host.name, other.name, 60.0)
        world.network.block(other.name, host.name, 60.0)
    world.note(host.name, "unlinked", "for long")


def lose_own_agent(world: World, host: Host, *, leads: bool = False, seconds: float = 60.0) -> None:
    """Kill the server that the active node's session was made through."""
    cluster, member = world.service.cluster, world.member(host)
    assert member is not None
    assert member._state.main is not None
    name = member._state.main.check_node
    agent = next(agent for agent in cluster.agents if agent.name == name)
    cluster.leader = agent if leads else next(other for other in cluster.agents if other is not agent)
    world.note("consul", "kill", f"{agent.name}, leading={leads}")
    cluster.lose(agent, seconds, cut=False)


def lose_own_leader(world: World, host: Host) -> None:
    lose_own_agent(world, host, leads=True)


def lose_own_leader_while_another_blocks(world: World, host: Host) -> None:
    """The same, and the agent of the spare session has something unsynced: it answers no pass for long."""
    lose_own_leader(world, host)
    member = world.member(host)
    assert member is not None
    assert member._state.spare is not None
    name = member._state.spare.check_node
    agent = next(agent for agent in world.service.cluster.agents if agent.name == name)
    agent.blocked_until = world.loop.now + 9.0
    world.note("consul", "blocked", name)


def restart_own_leader(world: World, host: Host, output: str = "") -> None:
    """The same, and the server is back before the others have elected: its check is critical then.

    The holder has the worst of luck: each of its transactions is lost until the election is over,
    and the lock falls before the next one, with this output of the check.
    """
    cluster, service = world.service.cluster, world.service
    lose_own_agent(world, host, leads=True, seconds=0.5)
    check = cluster.alive[cluster.entry.session]
    service.lost_requests = 1.0

    def fall() -> None:
        service.lost_requests = 0.0
        cluster.critical[check.id, check.agent.name] = output
        cluster.end_session(check)
        world.note("consul", "ended", f"{check.session} {output!r}")

    world.loop.at(cluster.leaderless_until - world.loop.now + 0.001, fall)


def restart_own_leader_which_blocks(world: World, host: Host) -> None:
    """The same, and it answers no passes until there is a leader: the check runs out meanwhile."""
    restart_own_leader(world, host, TTL_EXPIRED)


def lose_agent_and_die(world: World, host: Host) -> None:
    """One machine with a Consul server and the active node goes down."""
    lose_own_agent(world, host)
    kill(world, host)


def lose_one_reply(world: World, host: Host) -> None:
    """Lose the answer of the next write that is applied."""
    world.service.lost_replies = 1.0

    def noted(_: str, what: str, text: str) -> None:
        if (what, text) == ("committed", "reply lost"):
            world.service.lost_replies = 0.0

    world.moments.append(noted)


def terminate(world: World, host: Host) -> None:
    host.terminate()


step_down, seal, elect = faults.step_down, faults.seal, faults.elect
