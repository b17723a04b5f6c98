"""Faults of the active node itself: it dies, stops, hangs, is sealed or asked to step down."""

import os
import signal

from chaos.faults import Fault, Promise, Scene
from stack.running import ACTIVE, NODES, STANDBY

CRASH = Promise(budget=0.1, writes_unknown=True)
PLANNED = Promise(budget=0.05)
HANG = Promise(budget=2.0, writes_unknown=True)


def await_return(scene: Scene, victim: str) -> None:
    """Wait until a node that died is back by itself; it may be active again if another one left meanwhile."""
    scene.stack.until(lambda: scene.stack.health(victim) in {ACTIVE, STANDBY}, f"{victim} is back by itself")


def kill(scene: Scene) -> None:
    victim = scene.hit(scene.active)
    scene.mark(f"docker kill {victim}")
    scene.stack.containers.kill(victim)
    scene.hold(1.5, 3)
    scene.mark(f"start {victim}")
    scene.stack.containers.start(victim)


def crash(scene: Scene) -> None:
    victim = scene.hit(scene.active)
    scene.mark(f"crash {victim}")
    scene.stack.containers.crash(victim)
    await_return(scene, victim)


def worker_crash(scene: Scene) -> None:
    """Kill only the process that serves; gunicorn's master stays."""
    victim = scene.hit(scene.active)
    worker = scene.stack.containers.worker(victim)
    scene.mark(f"kill -9 {worker}, the worker in {victim}")
    os.kill(worker, signal.SIGKILL)
    await_return(scene, victim)


def stop(scene: Scene) -> None:
    victim = scene.hit(scene.active)
    scene.mark(f"docker stop {victim}")
    scene.stack.containers.stop(victim)
    scene.hold(1)
    scene.mark(f"start {victim}")
    scene.stack.containers.start(victim)


def _hang(scene: Scene, least: float, most: float) -> None:
    victim = scene.hit(scene.active)
    scene.mark(f"pause {victim}")
    scene.stack.containers.pause(victim)
    scene.hold(least, most)
    scene.mark(f"unpause {victim}")
    scene.stack.containers.unpause(victim)


def hang_short(scene: Scene) -> None:
    _hang(scene, 0.3, 0.9)


def hang(scene: Scene) -> None:
    _hang(scene, 2.5, 4.5)


def hang_long(scene: Scene) -> None:
    _hang(scene, 65, 75)


def hang_standby(scene: Scene) -> None:
    victim = scene.hit(scene.chance.choice(scene.standbys))
    scene.mark(f"pause {victim}")
    scene.stack.containers.pause(victim)
    scene.hold(2, 4)
    scene.mark(f"unpause {victim}")
    scene.stack.containers.unpause(victim)


def seal(scene: Scene) -> None:
    victim = scene.hit(scene.active)
    scene.mark(f"seal {victim}")
    status, body = scene.stack.call("PUT", "sys/seal", at=victim)
    assert status == 204, (status, body)
    scene.hold(1)
    scene.mark(f"restart {victim}")
    scene.stack.containers.restart(victim)


def step_down(scene: Scene) -> None:
    scene.mark(f"step-down {scene.active}")
    status, body = scene.stack.call("PUT", "sys/step-down", at=scene.active)
    assert status == 204, (status, body)
    scene.stack.until(
        lambda: scene.stack.active() not in {"", scene.active}, "another node is active after a step-down"
    )


def step_down_storm(scene: Scene) -> None:
    for _ in range(12):
        active = scene.stack.active()
        if active:
            scene.mark(f"step-down {active}")
            scene.stack.call("PUT", "sys/step-down", at=active)
        scene.hold(0.05, 1.2)


def rolling_restart(scene: Scene) -> None:
    """Restart every node, waiting in between as a careful operator does."""
    for node in NODES:
        scene.mark(f"restart {scene.hit(node)}")
        scene.stack.containers.restart(node)
        scene.stack.settle()


def kill_two(scene: Scene) -> None:
    victims = [scene.active, scene.chance.choice(scene.standbys)]
    for victim in victims:
        scene.mark(f"docker kill {scene.hit(victim)}")
        scene.stack.containers.kill(victim)
    scene.hold(2, 4)
    for victim in victims:
        scene.mark(f"start {victim}")
        scene.stack.containers.start(victim)


def kill_everyone(scene: Scene) -> None:
    for node in NODES:
        scene.mark(f"crash {scene.hit(node)}")
        scene.stack.containers.crash(node)


NODE_FAULTS = (
    Fault("kill", "docker kill of the active, started again later", kill, CRASH, quick=True),
    Fault("crash", "the active's processes die, its restart policy brings it back", crash, CRASH, quick=True),
    Fault("worker-crash", "the active's serving process dies alone", worker_crash, CRASH),
    Fault("stop", "docker stop of the active (SIGTERM)", stop, PLANNED, quick=True),
    Fault("hang-short", "the active hangs for less than its lease", hang_short, HANG),
    Fault("hang", "the active hangs for longer than its lease", hang, HANG, quick=True),
    Fault("hang-long", "the active hangs for longer than Consul keeps its checks", hang_long, HANG),
    Fault("hang-standby", "a standby hangs", hang_standby, Promise(budget=0.5, leader_stays=True)),
    Fault("seal", "the active is sealed, and restarted later", seal, PLANNED, quick=True),
    Fault("step-down", "the active steps down", step_down, PLANNED, quick=True),
    Fault("step-down-storm", "step-downs one upon the other", step_down_storm, Promise()),
    Fault("rolling-restart", "each node is restarted in turn", rolling_restart, PLANNED),
    Fault("kill-two", "the active and a standby are killed at once", kill_two, Promise(writes_unknown=True)),
    Fault(
        "kill-everyone",
        "all three nodes crash at once",
        kill_everyone,
        Promise(reads_fail=True, writes_unknown=True, writes_refused=True),
    ),
)
