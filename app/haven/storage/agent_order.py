"""Which Consul agent to ask first: a pure order, whose place an agent loses and has to earn again.

Nodes are given their agents in different orders, so that they spread over them. An agent that
fails goes to the back; it returns to its place when its reads have been answered for a while.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

A = TypeVar("A")

GOOD_SECONDS = 10.0
"""For how long every read through an agent must have been answered before it returns to its place."""
PROBE_SECONDS = 2.0
"""How often a read is sent through an agent that was set back, to see whether it answers."""


@dataclass(slots=True)
class _Absence:
    """An agent that was set back: since when it answers, and when it was last tried; seconds."""

    good_since: float | None
    tried: float


class AgentOrder(Generic[A]):
    """Agents, the best first. All times are seconds of one clock that does not go back."""

    def __init__(self, agents: Iterable[A]) -> None:
        self._places = tuple(agents)
        self._away: dict[A, _Absence] = {}

    def best_first(self) -> tuple[A, ...]:
        """Return those in their places, then those set back, the one that failed last at the end."""
        return (*(agent for agent in self._places if agent not in self._away), *self._away)

    def failed(self, agent: A, now: float) -> bool:
        """Prefer every other agent to this one; tell whether its outage begins with that."""
        began = self._away.pop(agent, None) is None
        self._away[agent] = _Absence(None, now)
        return began

    def answered(self, agent: A, now: float) -> bool:
        """Note that a read through this agent was answered; tell whether it returns to its place for that."""
        absence = self._away.get(agent)
        if absence is None:
            return False
        absence.tried = now
        if absence.good_since is None:
            absence.good_since = now
        if now < absence.good_since + GOOD_SECONDS:
            return False
        del self._away[agent]
        return True

    def to_probe(self, now: float) -> A | None:
        """Return an agent that was set back and is to be tried now; not the one that is asked anyway."""
        for agent in self.best_first()[1:]:
            absence = self._away.get(agent)
            if absence and now >= absence.tried + PROBE_SECONDS:
                absence.tried = now
                return agent
        return None
