"""What can go wrong, each as one call on a world; mixes say how often which does, and moments when."""

from collections.abc import Callable, Mapping

from haven.errors import NotActive, RequestError
from haven.ha.forwarding import RawRequest
from virtual.entrance import NAME as PROXY
from virtual.host import Host
from virtual.world import World

Fault = Callable[[World, Host], None]
PAUSES = (0.05, 0.4, 1.3, 1.7, 4.0)


def crash(world: World, host: Host) -> None:
    """Kill the process; it comes back after a while, sooner or later than its address falls silent."""
    if not host.running:
        return
    world.harm()
    host.kill()
    world.loop.at(world.random.choice([0.03, 0.5, 3.0]) * world.random.uniform(0.5, 1), _restart, host)


def _restart(host: Host) -> None:
    if not host.running:
        host.start()


def terminate(world: World, host: Host) -> None:
    """SIGTERM, and a start once it has gone."""
    process = host.process
    world.trouble()
    host.terminate()

    def again() -> None:
        if process is host.process and host.running:
            world.loop.at(0.5, again)
        else:
            _restart(host)

    world.loop.at(1.0, again)


def pause(world: World, host: Host) -> None:
    """Stop the process for as long as it may take: around the lease and the TTL most of all."""
    if not host.running or host.process is None:
        return
    seconds = world.random.choice(PAUSES) * world.random.uniform(0.7, 1.0)
    world.harm()
    world.note(host.name, "paused", f"{seconds:.2f}")
    world.loop.pause(host.process, seconds)
    world.loop.at(seconds, world.note, host.name, "runs again", "")


def cut(world: World, host: Host) -> None:
    """Cut a node off from every Consul agent, not from its peers."""
    seconds = _seconds(world, 4)
    world.harm()
    world.note(host.name, "cut off from Consul", f"{seconds:.2f}")
    for agent in world.service.cluster.agents:
        _block(world, host.name, agent.name, seconds)


def deafen(world: World, host: Host) -> None:
    """Break one direction only between a node and Consul: it is heard and hears nothing, or the reverse."""
    seconds, heard = _seconds(world, 3), world.random.random() < 0.7
    world.harm()
    world.note(host.name, "deaf to Consul" if heard else "mute to Consul", f"{seconds:.2f}")
    for agent in world.service.cluster.agents:
        pair = (agent.name, host.name) if heard else (host.name, agent.name)
        world.network.block(*pair, seconds)


def unlink(world: World, host: Host) -> None:
    """Cut a node off from one or all of its peers, in one or both directions."""
    seconds, peers = _seconds(world, 4), [other for other in world.hosts if other is not host]
    if world.random.random() < 0.4:
        peers = [world.random.choice(peers)]
    both = world.random.random() < 0.7
    world.harm()
    world.note(host.name, "unlinked", f"from {[peer.name for peer in peers]} {seconds:.2f} both={both}")
    for peer in peers:
        world.network.block(host.name, peer.name, seconds)
        if both:
            world.network.block(peer.name, host.name, seconds)


def unlisted(world: World, host: Host) -> None:
    """Cut a node off from its clients, HAProxy or the others."""
    seconds, source = _seconds(world, 3), world.random.choice([PROXY, "client"])
    world.harm()
    world.note(host.name, "cut off", f"from {source} {seconds:.2f}")
    _block(world, host.name, source, seconds)


def isolate(world: World, host: Host) -> None:
    """Cut a node off from everything."""
    seconds = _seconds(world, 4)
    world.harm()
    world.note(host.name, "isolated", f"{seconds:.2f}")
    others = [other.name for other in world.hosts if other is not host]
    agents = [agent.name for agent in world.service.cluster.agents]
    for name in (*others, *agents, PROXY, "client"):
        _block(world, host.name, name, seconds)


def reset_links(world: World, host: Host) -> None:
    """Reset the connections between a node and its peers; both go on."""
    world.harm()
    world.note(host.name, "links reset", "")
    for other in world.hosts:
        world.network.reset(host.name, other.name)
        world.network.reset(other.name, host.name)


def elect(world: World, host: Host) -> None:
    """Let Consul lose its leader while every agent goes on."""
    if not _may_disturb_consul(world):
        return
    world.note("consul", "election", "")
    world.service.cluster.elect()


def lose_agent(world: World, host: Host) -> None:
    """Lose the server that the node's main session was made through, or another one."""
    if not _may_disturb_consul(world):
        return
    cluster, member = world.service.cluster, world.member(host)
    agent = world.random.choice(cluster.agents)
    if member and member._state.main and world.random.random() < 0.7:
        agent = next(own for own in cluster.agents if own.name == member._state.main.check_node)
    seconds, partition = world.random.uniform(0.3, 6), world.random.random() < 0.5
    world.note("consul", "cut off" if partition else "kill", f"{agent.name} {seconds:.2f}")
    cluster.lose(agent, seconds, cut=partition)


def lose_all_agents(world: World, host: Host) -> None:
    """Stop all of Consul; its servers come back one after another."""
    cluster = world.service.cluster
    world.harm()
    seconds = world.random.uniform(0.5, 3)
    world.note("consul", "stop", f"{seconds:.2f}")
    for number, agent in enumerate(cluster.agents):
        cluster.lose(agent, seconds + 0.2 * number, cut=False)


def lose_reply(world: World, host: Host) -> None:
    """Lose the answers of most transactions for a moment."""
    if not _may_disturb_consul(world):
        return
    world.note("consul", "loses replies", "")
    world.service.lost_replies = 0.8
    world.loop.at(world.random.uniform(0.005, 0.3), _lose, world)


def lose_request(world: World, host: Host) -> None:
    """Lose most transactions for a moment."""
    if not _may_disturb_consul(world):
        return
    world.note("consul", "loses requests", "")
    world.service.lost_requests = 0.8
    world.loop.at(world.random.uniform(0.005, 0.3), _lose, world)


def delay_request(world: World, host: Host) -> None:
    """Let most transactions arrive after their sender gave up, for a moment."""
    _delay(world, world.random.choice([0.05, 0.3, 1.5]) * world.random.random())


def delay_requests(world: World, host: Host) -> None:
    """Let most transactions do so for as long as the lease lasts: the refence too."""
    _delay(world, world.random.uniform(0.6, 1.5))


def _delay(world: World, seconds: float) -> None:
    if not _may_disturb_consul(world):
        return
    world.note("consul", "takes requests late", f"{seconds:.2f}")
    world.service.late_requests = 0.8
    world.loop.at(seconds, _lose, world)


def slow_network(world: World, host: Host) -> None:
    """Let many messages take tens of milliseconds, and overtake others."""
    world.note("network", "slow", "")
    world.network.slow = 0.3
    world.loop.at(world.random.uniform(0.3, 1.5), setattr, world.network, "slow", 0.01)


def _lose(world: World) -> None:
    service = world.service
    service.lost_requests = service.late_requests = service.lost_replies = 0.0


def slow_sync(world: World, host: Host) -> None:
    """Let what agents know reach the catalog late."""
    world.note("consul", "slow sync", "")
    world.service.cluster.slow_sync_until = world.loop.now + 3


def destroy(world: World, host: Host) -> None:
    """Let an operator destroy the holder's session, or fail its check with a note."""
    output = world.random.choice([None, "", "maintenance"])
    world.harm()
    world.note("operator", "ends", f"{world.service.cluster.entry.session} output={output!r}")
    world.service.cluster.fail_by_hand(output)


def usurp(world: World, host: Host) -> None:
    """End the session of a holder that cannot see it, so that its lease runs on."""
    active = world.active()
    if active is not None:
        cut(world, active)
    destroy(world, host)


def step_down(world: World, host: Host) -> None:
    """Tell the node to step down."""
    world.trouble()
    world.note(host.name, "told", "to step down")
    host.request("operator", RawRequest("PUT", "/v1/sys/step-down", {"x-vault-token": world.token}, b""))


def seal(world: World, host: Host) -> None:
    """Seal the node; an operator starts it anew later."""
    if not host.running or host.process is None or host.node is None:
        return
    process, node = host.process, host.node
    if node.status().seal.sealed:
        return
    host.leaving = True
    world.trouble()
    world.note(host.name, "told", "to seal")

    async def sealed() -> None:
        try:
            await node.seal(world.token)
        except (NotActive, RequestError) as error:
            world.note(host.name, "not sealed", str(error))
        host.leaving = node.status().seal.sealed

    world.loop.soon(process, lambda: world.keep(world.loop.create_task(sealed())))

    def again() -> None:
        if process is not host.process or not host.running:
            return
        if not node.status().seal.sealed:  # it hands over first, which takes as long as Consul lets it
            world.loop.at(1.0, again)
            return
        host.kill()
        _restart(host)

    world.loop.at(world.random.uniform(2.5, 4.0), again)


def _may_disturb_consul(world: World) -> bool:
    """Tell whether Consul may fail in another way: gently, only one after another."""
    cluster, now = world.service.cluster, world.loop.now
    well = now >= cluster.leaderless_until and all(map(cluster.healthy, cluster.agents))
    if world.gentle and not (well and now >= world.calm_at):
        return False
    world.trouble()
    return True


def _block(world: World, one: str, other: str, seconds: float) -> None:
    world.network.block(one, other, seconds)
    world.network.block(other, one, seconds)


def _seconds(world: World, longest: float) -> float:
    return world.random.choice([0.1, 0.4, 1.0]) * world.random.uniform(0.5, 1.0) * longest


Mix = Mapping[Fault, float]

EVERYTHING: Mix = {
    crash: 3,
    terminate: 1,
    pause: 3,
    cut: 2,
    deafen: 1,
    unlink: 2,
    unlisted: 1,
    isolate: 1,
    reset_links: 1,
    elect: 1,
    lose_agent: 2,
    lose_all_agents: 0.5,
    lose_reply: 2,
    lose_request: 1,
    delay_request: 1,
    slow_network: 1,
    slow_sync: 1,
    destroy: 1,
    usurp: 1,
    step_down: 2,
    seal: 1,
}

GENTLE: Mix = {
    elect: 1,
    lose_agent: 1,
    lose_reply: 3,
    lose_request: 2,
    delay_request: 1,
    slow_network: 1,
    reset_links: 1,
    slow_sync: 1,
}
"""What may cost a pause, and never a change of leader or an unknown write."""

MOMENTS = (
    "read",
    "commit",
    "committed",
    "move",
    "moved",
    "start",
    "SessionMade",
    "MoveCommitted",
    "MoveUnknown",
    "Prepared",
    "Leave",
    "DoubtRaised",
    "paused",
    "dead",
)
"""What a node, or Consul for it, has just done when a fault strikes."""
