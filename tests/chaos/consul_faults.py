"""Faults of Consul: servers die, hang, are cut off from each other or restart."""

from chaos.faults import Fault, Promise, Scene
from stack.running import CONSULS, STORAGE

ELECTION = Promise(budget=5.0, leader_stays=True)
MINORITY = Promise(budget=0.1, leader_stays=True)
OUTAGE = Promise(reads_fail=True, writes_unknown=True, writes_refused=True)


def _kill(scene: Scene, server: str) -> None:
    scene.mark(f"docker kill {server}")
    scene.stack.containers.kill(server)
    scene.hold(2, 5)
    scene.mark(f"start {server}")
    scene.stack.containers.start(server)


def _pause(scene: Scene, server: str) -> None:
    scene.mark(f"pause {server}")
    scene.stack.containers.pause(server)
    scene.hold(2, 5)
    scene.mark(f"unpause {server}")
    scene.stack.containers.unpause(server)


def kill_leader(scene: Scene) -> None:
    _kill(scene, scene.consul(leads=True))


def kill_follower(scene: Scene) -> None:
    _kill(scene, scene.consul(leads=False))


def kill_own(scene: Scene) -> None:
    _kill(scene, scene.own_consul)


def pause_leader(scene: Scene) -> None:
    _pause(scene, scene.consul(leads=True))


def pause_own(scene: Scene) -> None:
    _pause(scene, scene.own_consul)


def each_in_turn(scene: Scene) -> None:
    """Lose and regain every server, as an upgrade of Consul does."""
    for server in CONSULS:
        led = " (leader)" if server == scene.stack.consul_leader() else ""
        scene.mark(f"docker kill {server}{led}")
        scene.stack.containers.kill(server)
        scene.hold(1, 2)
        scene.mark(f"start {server}")
        scene.stack.containers.start(server)
        scene.stack.settle()


def restart_all(scene: Scene) -> None:
    for server in CONSULS:
        scene.mark(f"docker kill {server}")
        scene.stack.containers.kill(server)
    scene.hold(0.5, 2)
    for server in CONSULS:
        scene.mark(f"start {server}")
        scene.stack.containers.start(server)


def partition_leader(scene: Scene) -> None:
    """Cut Consul's leader off from the other servers; the nodes still reach all three."""
    leader = scene.consul(leads=True)
    scene.mark(f"{leader} loses the other servers")
    for peer in CONSULS:
        if peer != leader:
            scene.stack.containers.drop(leader, f"{STORAGE}.1{peer[-1]}")
    scene.hold(3, 6)
    scene.mark(f"{leader} sees them again")
    scene.stack.containers.heal(leader)


CONSUL_FAULTS = (
    Fault("consul-each", "each Consul server dies and returns in turn", each_in_turn, ELECTION, quick=True),
    Fault("consul-leader-kill", "Consul's leader is killed", kill_leader, ELECTION),
    Fault("consul-leader-pause", "Consul's leader hangs", pause_leader, ELECTION),
    Fault("consul-follower-kill", "a following Consul server is killed", kill_follower, MINORITY),
    Fault("consul-own-kill", "the active's own Consul server is killed", kill_own, ELECTION),
    Fault("consul-own-pause", "the active's own Consul server hangs", pause_own, ELECTION),
    Fault(
        "consul-leader-partition",
        "Consul's leader is cut off from the other servers",
        partition_leader,
        ELECTION,
    ),
    Fault("consul-restart-all", "all Consul servers are killed and started again", restart_all, OUTAGE),
)
