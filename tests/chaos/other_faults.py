"""Faults around the nodes: HAProxy, too little processor time or memory."""

import os
from pathlib import Path

from chaos.faults import HAPROXY, Fault, Promise, Scene
from chaos.node_faults import await_return
from stack.containers import CommandFailed
from stack.running import CONSULS, NODES

HOG = "b'.' * 2**30"
"""Takes, and touches, four times a node's memory."""
UNTOUCHED = Promise(leader_stays=True)


def haproxy_crash(scene: Scene) -> None:
    scene.mark(f"crash {scene.hit(HAPROXY)}")
    scene.stack.containers.crash(HAPROXY)


def haproxy_restart(scene: Scene) -> None:
    scene.mark(f"restart {scene.hit(HAPROXY)}")
    scene.stack.containers.restart(HAPROXY)


def haproxy_reload(scene: Scene) -> None:
    for _ in range(3):
        scene.mark("reload haproxy")
        reloaded = scene.stack.script("reload")
        if reloaded.returncode:
            raise CommandFailed(reloaded.stderr)
        scene.hold(0.5, 2)


def starve_active(scene: Scene) -> None:
    """Give the active a twentieth of a processor: it is late with everything."""
    scene.mark(f"starve {scene.active}")
    scene.stack.containers.limit(scene.active, cpus=0.05)
    scene.hold(6, 9)
    scene.mark(f"feed {scene.active}")
    scene.stack.containers.limit(scene.active, cpus=os.cpu_count())


def starve_everybody(scene: Scene) -> None:
    services = (*NODES, *CONSULS)
    scene.mark("starve all nodes and Consul servers")
    for service in services:
        scene.stack.containers.limit(service, cpus=0.12)
    scene.hold(6, 9)
    for service in services:
        scene.stack.containers.limit(service, cpus=os.cpu_count())
    scene.mark("feed them")


def out_of_memory(scene: Scene) -> None:
    """Use up the memory of the active's container: the kernel kills its worker, the policy restarts it.

    Docker refuses a limit below what is in use, so another process in the container takes too much.
    The kernel would kill that one, the largest, if it were not told to begin with the worker.
    """
    victim = scene.hit(scene.active)
    containers = scene.stack.containers
    worker = Path(f"/proc/{containers.worker(victim)}")
    (worker / "oom_score_adj").write_text("1000")
    scene.mark(f"{victim} reaches its memory limit")
    # The kernel ends the hog too, and its container's restart may: how it ended says nothing.
    containers.execute(victim, "/opt/haven/bin/python", "-c", HOG, check=False)
    scene.stack.until(lambda: not worker.exists(), f"the worker of {victim} was killed", 30)
    await_return(scene, victim)


OTHER_FAULTS = (
    Fault("haproxy-crash", "HAProxy, the single one, dies and comes back", haproxy_crash, UNTOUCHED),
    Fault("haproxy-restart", "HAProxy stops in order and starts again", haproxy_restart, UNTOUCHED),
    Fault("haproxy-reload", "HAProxy takes its file anew, three times", haproxy_reload, UNTOUCHED),
    Fault(
        "starve-active",
        "the active gets too little processor time",
        starve_active,
        Promise(writes_unknown=True),
    ),
    Fault(
        "starve-everybody",
        "nodes and Consul get too little processor time",
        starve_everybody,
        Promise(reads_fail=True, writes_unknown=True, writes_refused=True),
    ),
    Fault(
        "out-of-memory",
        "the active reaches its memory limit",
        out_of_memory,
        Promise(0.1, writes_unknown=True),
    ),
)
