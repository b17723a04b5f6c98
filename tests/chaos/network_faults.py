"""Faults of the network around the active node: unplugged, one-way, lossy, slow."""

from chaos.faults import Fault, Promise, Scene
from chaos.slow_path import SlowPath
from stack.containers import EVERYBODY
from stack.running import CLUSTER, CONSULS, NODES, STORAGE

CUT = Promise(budget=2.0, writes_unknown=True)
STAYS = Promise(leader_stays=True)
PEERLESS = Promise(leader_stays=True, writes_unknown=True)  # those that standbys were forwarding just then
ROUGH = Promise(reads_fail=True, writes_unknown=True, writes_refused=True)


def _unplug(scene: Scene, node: str, *networks: str) -> None:
    containers = scene.stack.containers
    for network in networks:
        scene.mark(f"unplug {node} from {network}")
        containers.disconnect(node, network)
    scene.hold(3, 6)
    for network in networks:
        scene.mark(f"plug {node} into {network}")
        prefix = STORAGE if network == "storage" else CLUSTER
        containers.connect(node, network, f"{prefix}.2{node[-1]}")


def unplug_storage(scene: Scene) -> None:
    _unplug(scene, scene.active, "storage")


def unplug_cluster(scene: Scene) -> None:
    _unplug(scene, scene.hit(scene.active), "cluster")


def unplug_everything(scene: Scene) -> None:
    _unplug(scene, scene.hit(scene.active), "storage", "cluster")


def unplug_standby(scene: Scene) -> None:
    _unplug(scene, scene.hit(scene.chance.choice(scene.standbys)), "storage", "cluster")


def _drop(scene: Scene, *ways: str, network: str = f"{STORAGE}.0/24") -> None:
    scene.mark(f"drop {' and '.join(ways)} of {scene.active}")
    scene.stack.containers.drop(scene.active, network, ways=ways)
    scene.hold(3, 6)
    scene.mark(f"heal {scene.active}")
    scene.stack.containers.heal(scene.active)


def drop_both(scene: Scene) -> None:
    _drop(scene, "in", "out")


def drop_in(scene: Scene) -> None:
    _drop(scene, "in")


def drop_out(scene: Scene) -> None:
    _drop(scene, "out")


def drop_everything(scene: Scene) -> None:
    scene.hit(scene.active)
    _drop(scene, "in", "out", network=EVERYBODY)


def drop_own_consul(scene: Scene) -> None:
    _drop(scene, "in", "out", network=f"{STORAGE}.1{scene.own_consul[-1]}")


def drop_peers(scene: Scene) -> None:
    """Cut the active off from the standbys alone: a silence that proves nothing."""
    scene.mark(f"drop between {scene.active} and the standbys")
    for peer in scene.standbys:
        scene.stack.containers.drop(scene.active, f"{CLUSTER}.2{peer[-1]}")
    scene.hold(3, 5)
    scene.mark(f"heal {scene.active}")
    scene.stack.containers.heal(scene.active)


def loss(scene: Scene) -> None:
    share = scene.chance.uniform(0.05, 0.3)
    scene.mark(f"{scene.active} loses {share:.0%} of all packets")
    scene.stack.containers.drop(scene.active, share=share)
    scene.hold(5, 9)
    scene.mark(f"heal {scene.active}")
    scene.stack.containers.heal(scene.active)


def _delay(scene: Scene, consuls: tuple[str, ...], seconds: float) -> None:
    with SlowPath(scene.stack, scene.active, consuls, seconds):
        scene.mark(f"{seconds * 1000:.0f} ms between {scene.active} and {', '.join(consuls)}")
        scene.hold(5, 8)
    scene.mark(f"heal {scene.active}")


def delay(scene: Scene) -> None:
    _delay(scene, CONSULS, scene.chance.uniform(0.02, 0.08))


def delay_own_consul(scene: Scene) -> None:
    _delay(scene, (scene.own_consul,), 0.7)


def delay_beyond_deadline(scene: Scene) -> None:
    _delay(scene, CONSULS, 0.7)


def flapping(scene: Scene) -> None:
    """Cut a random node off from Consul for moments, again and again."""
    for _ in range(8):
        node = scene.chance.choice(NODES)
        scene.mark(f"drop {node}")
        scene.stack.containers.drop(node, f"{STORAGE}.0/24")
        scene.hold(0.2, 1.5)
        scene.mark(f"heal {node}")
        scene.stack.containers.heal(node)
        scene.hold(0.1, 1.0)


NETWORK_FAULTS = (
    Fault("unplug-storage", "the active is unplugged from Consul", unplug_storage, CUT, quick=True),
    Fault("unplug-cluster", "the active is unplugged from peers and HAProxy", unplug_cluster, CUT),
    Fault("unplug-everything", "the active is unplugged from everything", unplug_everything, CUT, quick=True),
    Fault("unplug-standby", "a standby is unplugged from everything", unplug_standby, STAYS),
    Fault("drop-both", "packets between the active and Consul vanish", drop_both, CUT),
    Fault("drop-in", "packets from Consul to the active vanish", drop_in, CUT),
    Fault("drop-out", "packets from the active to Consul vanish", drop_out, CUT),
    Fault("drop-everything", "all packets of the active vanish", drop_everything, CUT),
    Fault("drop-own-consul", "the active loses its own Consul server", drop_own_consul, STAYS),
    Fault("drop-peers", "active and standbys lose each other", drop_peers, PEERLESS),
    Fault("loss", "the active loses packets at random", loss, ROUGH),
    Fault("delay", "each answer of Consul to the active is slow", delay, STAYS),
    Fault("delay-own-consul", "the active's own Consul server is too slow", delay_own_consul, STAYS),
    Fault("delay-beyond-deadline", "Consul is too slow for the active", delay_beyond_deadline, CUT),
    Fault("flapping", "nodes lose Consul for moments, again and again", flapping, ROUGH),
)
