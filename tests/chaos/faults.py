"""What a fault is: what it does to the stack, and what it may cost the clients."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stack.running import CONSULS, NODES, Stack

HAPROXY = "haproxy"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a fault may cost; `budget` is DESIGN section 1's pause in seconds, None where it names none."""

    budget: float | None = None
    reads_fail: bool = False
    writes_unknown: bool = False
    writes_refused: bool = False
    leader_stays: bool = False


@dataclass(slots=True)
class Scene:
    """A running stack with a fault on its way: whom it hit, and what happened when."""

    stack: Stack
    chance: random.Random
    active: str
    victims: set[str] = field(default_factory=set)
    marks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def standbys(self) -> list[str]:
        """Return the nodes that were not active when the fault began."""
        return [node for node in NODES if node != self.active]

    @property
    def own_consul(self) -> str:
        """Return the Consul server that is the active node's main agent."""
        return f"consul-{self.active[-1]}"

    def consul(self, *, leads: bool) -> str:
        """Return the Consul server that leads, or one that follows."""
        leader = self.stack.until(self.stack.consul_leader, "a Consul server leads")
        return leader if leads else self.chance.choice([consul for consul in CONSULS if consul != leader])

    def hit(self, service: str) -> str:
        """Say that requests sent straight to this service are the fault's own victims."""
        self.victims.add(service)
        return service

    def mark(self, text: str) -> None:
        """Note what happened now."""
        self.marks.append((time.monotonic(), text))

    def hold(self, least: float, most: float | None = None) -> None:
        """Let the fault last."""
        time.sleep(self.chance.uniform(least, most or least))


@dataclass(frozen=True, slots=True)
class Fault:
    """A named thing that goes wrong, and is healed, while clients work."""

    name: str
    meaning: str
    act: Callable[[Scene], None]
    promise: Promise
    quick: bool = False
