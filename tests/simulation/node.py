"""What a simulated process is, and what may be broken."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from haven.ha.state import State
from simulation.consul import Agent


class Violation(AssertionError):
    """A promise of the protocol was broken; the text is what and when."""


@dataclass(frozen=True)
class Carried:
    """An answer for someone other than the protocol, on the same ways and with the same fates."""

    take: Callable[[Any], None]
    value: Any


@dataclass
class Node:
    """One process, what its network lets through, and its clock."""

    name: str
    rate: float
    order: list[Agent]
    run: int = 0
    state: State | None = None
    paused_until: float = 0.0
    suspended: float = 0.0
    cut_until: float = 0.0
    unlinked_until: float = 0.0
    silent_agent: tuple[str, float] = ("", 0.0)
    """An agent that this node alone cannot reach, and until when."""
    on_change: Callable[[], None] = lambda: None
    on_reset: Callable[[], None] = lambda: None
