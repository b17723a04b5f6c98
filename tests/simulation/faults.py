"""What can go wrong, each as one call on a world; mixes say how often which does."""

from collections.abc import Callable, Mapping

from haven.ha.messages import Beat, DoubtRaised, Isolated, Leave
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import TTL_EXPIRED
from simulation.consul import Agent
from simulation.node import Node
from simulation.world import World

Fault = Callable[[World, Node], None]


def crash(world: World, node: Node) -> None:
    world.crash(node, world.random.uniform(0.05, 3))


def pause(world: World, node: Node) -> None:
    """Stop the process for as long as it may take: around the lease and the TTL most of all."""
    longest = world.random.choice([0.3, 1.4, 1.7, 4.0])
    world.pause(node, world.random.uniform(0.5, 1.0) * longest)


def cut(world: World, node: Node) -> None:
    """Cut a node off from Consul, not from its peers."""
    cut_for(world, node, world.random.uniform(0.05, 4))


def cut_for(world: World, node: Node, seconds: float) -> None:
    world.say(f"FAULT cut {node.name} {seconds:.2f}")
    node.cut_until = max(node.cut_until, world.now + seconds)


def unlink(world: World, node: Node) -> None:
    """Cut a node off from its peers, not from Consul; after 1.5 s its link says so."""
    unlink_for(world, node, world.random.uniform(0.5, 4))


def unlink_for(world: World, node: Node, seconds: float) -> None:
    world.say(f"FAULT unlink {node.name} {seconds:.2f}")
    node.unlinked_until = max(node.unlinked_until, world.now + seconds)
    run = node.run
    if seconds > 1.5:
        world.at(1.5, lambda: world.feed(node, Isolated(True), run))
        world.at(seconds, lambda: world.feed(node, Isolated(False), run))


def isolate(world: World, node: Node) -> None:
    """Cut a node off from everything."""
    cut(world, node)
    node.unlinked_until = node.cut_until


def lose_agent(world: World, node: Node) -> None:
    """Kill the server that the node's main session was made through, or another one."""
    agent = world.random.choice(world.consul.agents)
    if node.state and node.state.main and world.random.random() < 0.7:
        agent = _main_agent(world, node)
    seconds, partition = world.random.uniform(0.5, 8), world.random.random() < 0.5
    world.say(f"FAULT {'cut off' if partition else 'kill'} consul {agent.name} {seconds:.2f}")
    world.consul.lose(agent, seconds, cut=partition)


def elect(world: World, node: Node) -> None:
    """Let Consul lose its leader while every agent goes on."""
    world.say("FAULT election")
    world.consul.elect()


def slow_sync(world: World, node: Node) -> None:
    """Let what agents know reach the catalog late."""
    world.say("FAULT slow sync")
    world.consul.slow_sync_until = world.now + 3


def destroy(world: World, node: Node) -> None:
    """Let an operator destroy the holder's session, or fail its check with a note."""
    output = world.random.choice([None, "", "maintenance"])
    world.say(f"FAULT operator ends {world.consul.entry.session} output={output!r}")
    world.consul.fail_by_hand(output)


def usurp(world: World, node: Node) -> None:
    """End the session of a holder that cannot see it, so that its lease runs on."""
    for holder in world.serving():
        holder.cut_until = max(holder.cut_until, world.now + world.random.uniform(0.5, 2))
        world.say(f"FAULT cut {holder.name} until {holder.cut_until - 100:.2f}")
    destroy(world, node)


def usurp_twice(world: World, node: Node) -> None:
    """Aim at a wait that is owed: the next holder dies while the lease before it still runs."""
    usurp(world, node)

    def kill() -> None:
        for heir in world.nodes:
            if heir.state and heir.state.tenure and heir.state.tenure.session == world.consul.entry.session:
                world.crash(heir, 1.0)

    world.at(world.random.uniform(0.35, 0.8), kill)


def step_down(world: World, node: Node) -> None:
    """Hand over to a standby, or release where there is none."""
    world.say(f"FAULT step-down {node.name}")
    record = None
    if world.random.random() < 0.8:
        record = candidate(world, node)
    world.feed(node, Leave(record), node.run)


def candidate(world: World, node: Node) -> LockRecord | None:
    """Return what another node would have put into the lock; it may be out of date when it is used."""
    for other in world.random.sample(world.nodes, len(world.nodes)):
        state = other.state
        if other is not node and state and state.main and not state.tenure:
            return state.record(state.main, Road.HAND_OVER, False)
    return None


def step_down_unheard(world: World, node: Node) -> None:
    """Hand over just as the way back from Consul breaks: the node never learns of it."""
    step_down(world, node)
    world.at(0.002, lambda: cut(world, node))


def refence_unheard(world: World, node: Node) -> None:
    """Aim at the old lease: the spare session gets no passes, then the lock moves to it unheard."""
    if node.state is None or node.state.tenure is None or node.state.spare is None:
        return
    world.say(f"FAULT refence unheard {node.name}")
    node.silent_agent = (node.state.spare.check_node, world.now + 3)
    run = node.run

    def doubt() -> None:
        if node.state and node.state.tenure:
            world.feed(node, DoubtRaised(node.state.tenure.session), run)
        node.cut_until = max(node.cut_until, world.now + 2)

    world.at(world.random.uniform(0.7, 0.95), doubt)


def step_down_in_doubt(world: World, node: Node) -> None:
    """Step down while a refence is on its way that may be applied after the step-down."""
    refence_unheard(world, node)
    run = node.run
    seconds = world.random.uniform(0.8, 1.4)
    world.at(seconds, lambda: step_down(world, node) if node.run == run else None)


def falter(world: World, node: Node) -> None:
    """Stop a node while the answers to its heartbeat are on their way, and cut it off behind them."""
    seconds = world.random.uniform(0.5, 1.0)
    world.feed(node, Beat(), node.run)
    world.pause(node, seconds)
    world.at(0.015, lambda: cut_for(world, node, 3))


def oversleep(world: World, node: Node) -> None:
    """Stop a node until its check has just expired, but the catalog learns of it later; then cut it off."""
    slow_sync(world, node)
    seconds = world.random.uniform(1.4, 1.7)
    world.pause(node, seconds)
    world.at(seconds + world.random.uniform(0.01, 0.1), lambda: cut_for(world, node, 1.5))


def relapse(world: World, node: Node) -> None:
    """Let a node's checks expire, give it the lock again later, and then usurp it."""
    world.pause(node, 3)

    def hand_back() -> None:
        for holder in world.serving():
            if holder is not node and node.state and node.state.main:
                world.feed(
                    holder, Leave(node.state.record(node.state.main, Road.HAND_OVER, False)), holder.run
                )

    world.at(4.0, hand_back)
    world.at(4.6, lambda: usurp(world, node))


def lossy(world: World, node: Node) -> None:
    """Lose many messages to and from Consul for a while."""
    world.say("FAULT loss")
    world.loss = 0.1
    world.at(2.0, lambda: setattr(world, "loss", 0.01))


# One fault alone, of a fixed length -------------------------------------------------------------


def kill(world: World, node: Node) -> None:
    world.crash(node, 5)


def hang(world: World, node: Node) -> None:
    world.pause(node, 6)


def cut_from_consul(world: World, node: Node) -> None:
    cut_for(world, node, 6)


def cut_from_peers(world: World, node: Node) -> None:
    unlink_for(world, node, 6)


def cut_from_all(world: World, node: Node) -> None:
    cut_for(world, node, 6)
    node.unlinked_until = node.cut_until


def hand_over(world: World, node: Node) -> None:
    world.feed(node, Leave(candidate(world, node)), node.run)


def release(world: World, node: Node) -> None:
    world.feed(node, Leave(None), node.run)


def destroy_session(world: World, node: Node) -> None:
    world.consul.fail_by_hand(None)


def kill_main_agent(world: World, node: Node) -> None:
    world.consul.lose(_main_agent(world, node), 10, cut=False)


def cut_off_main_agent(world: World, node: Node) -> None:
    world.consul.lose(_main_agent(world, node), 10, cut=True)


def restart_main_agent_that_leads(world: World, node: Node) -> None:
    """Bring it back within the election that its end causes: its checks are critical, or run out.

    The lock falls when the election is hardly over, before the holder can have moved it.
    """
    consul = world.consul
    agent = consul.leader = _main_agent(world, node)
    consul.lose(agent, 0.5, cut=False)
    output = world.random.choice(["", TTL_EXPIRED])
    world.at(consul.leaderless_until - world.now + 0.001, lambda: consul.fail_by_hand(output))


def kill_consul_leader(world: World, node: Node) -> None:
    world.consul.lose(world.consul.leader, 10, cut=False)


def _main_agent(world: World, node: Node) -> Agent:
    main = node.state.main if node.state else None
    return next(agent for agent in world.consul.agents if main is None or agent.name == main.check_node)


Mix = Mapping[Fault, float]

EVERYTHING: Mix = {
    crash: 2,
    pause: 3,
    cut: 2,
    unlink: 1,
    isolate: 1,
    lose_agent: 2,
    elect: 1,
    slow_sync: 1,
    destroy: 1,
    usurp: 1,
    usurp_twice: 1,
    step_down: 2,
    step_down_unheard: 1,
    refence_unheard: 1,
    falter: 1,
    oversleep: 1,
    relapse: 1,
    lossy: 1,
}
