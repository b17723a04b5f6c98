"""The chaos suite hits what it means to hit, and says so where it could not."""

import os
import random
from typing import Any

import pytest

from chaos import __main__ as chaos
from chaos.catalogue import CATALOGUE
from chaos.faults import HAPROXY, Fault, Promise, Scene
from chaos.judgement import BUSY
from chaos.node_faults import await_return
from chaos.pairs import PAIRS, _pair
from stack.containers import CommandFailed, Containers
from stack.running import ACTIVE, SEALED, SILENT, STANDBY, Stack

TOP = """PID   PPID  COMMAND
100   50    /sbin/docker-init -- /opt/haven/bin/haven server
101   100   /opt/haven/bin/python /opt/haven/bin/haven server
107   101   /opt/haven/bin/python /opt/haven/bin/haven server
"""


class ToldContainers(Containers):
    """Containers whose Docker answers what the test says, and whose commands are only noted."""

    def __init__(self, **answers: str) -> None:
        super().__init__("told")
        self.answers = answers
        self.asked: list[str] = []

    def docker(self, *arguments: str, check: bool = True) -> str:
        self.asked.append(arguments[0])
        return self.answers.get(arguments[0], "")


class ToldStack:
    def __init__(self, containers: Containers) -> None:
        self.containers = containers


def test_a_container_that_does_not_run_cannot_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process id is 0, and signal 9 to that would end this process with all its children."""
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    with pytest.raises(CommandFailed, match="does not run"):
        ToldContainers(inspect="0\n").crash("haven-1")
    ToldContainers(inspect="4711\n").crash("haven-1")
    assert killed == [4711]


def test_the_worker_is_the_child_of_gunicorns_master() -> None:
    assert ToldContainers(top=TOP).worker("haven-1") == 107


def test_a_node_that_is_just_starting_has_no_worker() -> None:
    with pytest.raises(CommandFailed, match="0 serving processes"):
        ToldContainers(top="\n".join(TOP.splitlines()[:3])).worker("haven-1")


def test_a_settled_stack_has_an_active_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leadership may move between two looks; a fault that hit the node named "" would hit anything."""
    seen = iter(["haven-1", "", "haven-2"])
    stack = Stack()
    monkeypatch.setattr(stack, "_consul_is_whole", lambda: True)
    monkeypatch.setattr(stack, "_nodes_agree", lambda: next(seen) != "")
    monkeypatch.setattr(stack, "call", lambda *_, **__: (ACTIVE, None))
    monkeypatch.setattr(stack, "active", lambda: next(seen))
    assert stack.settle(5) == "haven-2"


def test_a_fault_of_consuls_leader_waits_until_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would hit the server named "", which is none."""
    seen = iter(["", "consul-3"])
    stack = Stack()
    monkeypatch.setattr(stack, "consul_leader", lambda: next(seen))
    assert Scene(stack, random.Random(1), "haven-1").consul(leads=True) == "consul-3"


@pytest.mark.parametrize("back", [ACTIVE, STANDBY])
def test_a_node_that_comes_back_may_be_active_again(back: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter([SILENT, SEALED, back])
    stack = Stack()
    monkeypatch.setattr(stack, "health", lambda _: next(codes))
    await_return(Scene(stack, random.Random(1), "haven-1"), "haven-1")
    assert next(codes, None) is None


def test_both_faults_of_a_pair_happen_and_either_may_fail() -> None:
    def fails(scene: Scene) -> None:
        raise CommandFailed("docker: no")

    nothing = Promise()
    good = Fault("good", "well", lambda scene: scene.mark("good"), nothing)
    better = Fault("better", "better", lambda scene: scene.mark("better"), nothing)
    bad = Fault("bad", "ill", fails, nothing)
    stack: Any = None
    scene = Scene(stack, random.Random(1), "haven-1")
    _pair(good, better).act(scene)
    assert sorted(text for _, text in scene.marks) == ["better", "good"]
    for pair in (_pair(good, bad), _pair(bad, good)):
        with pytest.raises(CommandFailed):
            pair.act(scene)


def test_every_pair_is_played_by_itself() -> None:
    assert {f"{first}+{second}" for first, second in PAIRS} <= CATALOGUE.keys()


@pytest.mark.parametrize("name", ["haproxy-crash", "haproxy-restart"])
def test_only_clients_of_a_dead_haproxy_are_its_victims(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    stack: Any = ToldStack(ToldContainers(inspect="4711"))
    scene = Scene(stack, random.Random(1), "haven-1")
    CATALOGUE[name].act(scene)
    assert scene.victims == {HAPROXY}
    assert CATALOGUE[name].promise == Promise(leader_stays=True)


@pytest.mark.parametrize(
    ("broken", "load", "complains"),
    [
        (AssertionError("not within 60 s: HAProxy serves\nmore"), BUSY + 1, False),
        (AssertionError("not within 60 s: HAProxy serves\nmore"), BUSY - 1, True),
        (CommandFailed("docker update: no\nmore"), BUSY + 1, True),
    ],
)
def test_a_fault_that_could_not_be_played_is_never_excused(
    broken: AssertionError, load: float, complains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    entry = chaos._wreck(CATALOGUE["kill"], 1, broken)
    told = [f"not played to its end: {str(broken).splitlines()[0]}"]
    assert (entry["complaints"], entry["excused"]) == ((told, []) if complains else ([], told))
