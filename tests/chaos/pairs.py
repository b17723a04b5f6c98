"""Two faults at once: one of a node and one of Consul, each healed in its own time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from chaos.consul_faults import CONSUL_FAULTS
from chaos.faults import Fault, Promise, Scene
from chaos.network_faults import NETWORK_FAULTS
from chaos.node_faults import NODE_FAULTS

PAIRS = (
    ("kill", "consul-leader-kill"),
    ("kill", "consul-leader-pause"),
    ("hang", "consul-follower-kill"),
    ("drop-both", "consul-leader-kill"),
    ("step-down", "consul-leader-kill"),
    ("crash", "consul-follower-kill"),
    ("unplug-everything", "consul-leader-pause"),
)


def _both(first: Fault, second: Fault) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        with ThreadPoolExecutor(max_workers=1) as pool:
            beside = pool.submit(second.act, scene)
            scene.hold(0, 0.5)
            first.act(scene)
            beside.result()

    return act


def _pair(first: Fault, second: Fault) -> Fault:
    name, meaning = f"{first.name}+{second.name}", f"{first.meaning}; {second.meaning}"
    return Fault(name, meaning, _both(first, second), Promise(writes_unknown=True))


_SINGLE = {fault.name: fault for fault in (*NODE_FAULTS, *NETWORK_FAULTS, *CONSUL_FAULTS)}
PAIRED_FAULTS = tuple(_pair(_SINGLE[first], _SINGLE[second]) for first, second in PAIRS)
