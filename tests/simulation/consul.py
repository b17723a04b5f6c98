"""Three Consul servers, as the protocol meets them: what is measured in DESIGN.md 3.1, 3.2 and 3.5.

Agents keep checks and answer passes by themselves. What they keep reaches the catalog only
through a leader, and sometimes late. A session ends when the catalog learns that its check is
critical, or that its agent is gone (serfHealth). Times are true seconds.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from haven.ha.lock_operations import LockEntry, LockOperation, apply
from haven.ha.takeover import TTL_EXPIRED

At = Callable[[float, Callable[[], None]], None]


@dataclass
class Check:
    """A TTL check at its agent, with the session that is bound to it."""

    id: str
    session: str
    agent: "Agent"
    deadline: float
    critical: bool = False


@dataclass
class Agent:
    """One server: down, cut off from the others, or blocked over something it cannot pass on."""

    name: str
    down_until: float = 0.0
    cut_until: float = 0.0
    blocked_until: float = 0.0
    checks: dict[str, Check] = field(default_factory=dict)


class Cluster:
    """The agents, the catalog, the lock and a few keys."""

    def __init__(self, at: At, now: Callable[[], float], chance: random.Random, ttl: float) -> None:
        self.at, self.now, self.chance, self.ttl = at, now, chance, ttl
        self.agents = [Agent(f"c{i}") for i in range(3)]
        self.leader = self.agents[0]
        self.leaderless_until = 0.0
        self.slow_sync_until = 0.0
        self.index = 0
        self.entry = LockEntry()
        self.alive: dict[str, Check] = {}
        self.critical: dict[tuple[str, str], str] = {}
        self.keys: dict[int, tuple[int, int]] = {}
        self.watchers: list[Callable[[], None]] = []

    # What is reachable -----------------------------------------------------------------------

    def agent(self, name: str) -> Agent:
        return next(agent for agent in self.agents if agent.name == name)

    def healthy(self, agent: Agent) -> bool:
        return self.now() >= agent.down_until and self.now() >= agent.cut_until

    def can_commit(self, agent: Agent) -> bool:
        return (
            self.now() >= self.leaderless_until
            and self.healthy(agent)
            and sum(map(self.healthy, self.agents)) >= 2
        )

    def healed_at(self) -> float:
        """Return when every agent is up and one leads, if nothing else happens; some may still block."""
        return max(self.leaderless_until, *(max(own.down_until, own.cut_until) for own in self.agents))

    def elect(self) -> None:
        self.leaderless_until = max(self.leaderless_until, self.now() + self.chance.uniform(2.3, 4.4))
        self.leader = self.chance.choice([agent for agent in self.agents if agent is not self.leader])

    def lose(self, agent: Agent, seconds: float, *, cut: bool) -> None:
        """Take a server down, or cut it off from the others; serfHealth ends its sessions later."""
        end = self.now() + seconds
        if cut:
            agent.cut_until = max(agent.cut_until, end)
        else:
            agent.down_until = max(agent.down_until, end)
        if agent is self.leader:
            self.elect()
        self.at(self.chance.uniform(5.1, 6.0), lambda: self._serf_fails(agent, self.now()))
        if not cut:
            self.at(seconds + 0.1, lambda: self._restart(agent))

    def _serf_fails(self, agent: Agent, since: float) -> None:
        if self.healthy(agent):
            return
        if self.now() < self.leaderless_until:
            self.at(0.1, lambda: self._serf_fails(agent, since))
            return
        for check in list(agent.checks.values()):
            self.end_session(check)

    def _restart(self, agent: Agent) -> None:
        """Come back: every check is critical, with no output of a TTL."""
        for check in list(agent.checks.values()):
            check.critical = True
            self._sync(check, "", self.chance.uniform(0.0, 1.5))

    # Checks and sessions ---------------------------------------------------------------------

    def register(self, agent: Agent, check_id: str, session: str) -> bool:
        """Make a check and a session. Without a leader the agent blocks whoever passes through it."""
        if not self.can_commit(agent):
            self._block(agent)
            return False
        check = Check(check_id, session, agent, self.now() + self.ttl)
        agent.checks[check_id] = check
        self.critical.pop((check_id, agent.name), None)
        self.alive[session] = check
        self.at(self.ttl, lambda: self._look_at(check))
        return True

    def deregister(self, agent: Agent, check_id: str) -> None:
        check = agent.checks.pop(check_id, None)
        if not self.can_commit(agent):
            self._block(agent)
        if check:
            self.critical.pop((check_id, agent.name), None)
            self.end_session(check)

    def pass_check(self, agent: Agent, check_id: str) -> bool:
        """Pass at the agent, which asks nobody; it may be too late without anyone noticing."""
        check = agent.checks.get(check_id)
        if check is None:
            return False
        check.deadline = self.now() + self.ttl
        if check.critical:
            check.critical = False
            self.at(self.ttl, lambda: self._look_at(check))
        return True

    def _look_at(self, check: Check) -> None:
        gone = check.agent.checks.get(check.id) is not check or self.now() < check.agent.down_until
        if gone or check.critical:
            return
        if self.now() < check.deadline:
            self.at(check.deadline - self.now() + 1e-6, lambda: self._look_at(check))
            return
        check.critical = True
        slow = self.now() < self.slow_sync_until or self.chance.random() < 0.05
        self._sync(check, TTL_EXPIRED, self.chance.uniform(0.3, 2) if slow else self.chance.uniform(0, 0.01))

    def _sync(self, check: Check, output: str, delay: float) -> None:
        """Tell the catalog; a pass meanwhile may or may not come in time to stop it."""
        stoppable = self.chance.random() < 0.5

        def tell() -> None:
            if stoppable and not check.critical:
                return
            if not self.can_commit(check.agent):
                self._block(check.agent)
                self.at(max(0.2, check.agent.blocked_until - self.now()), tell)
                return
            self.critical[check.id, check.agent.name] = output
            self.end_session(check)

        self.at(delay, tell)

    def _block(self, agent: Agent) -> None:
        if self.now() < self.leaderless_until and self.now() >= agent.blocked_until:
            agent.blocked_until = self.now() + self.chance.uniform(7, 10)

    def end_session(self, check: Check) -> None:
        if self.alive.pop(check.session, None) and self.entry.session == check.session:
            self.index += 1
            self._put(LockEntry(self.index, "", self.entry.record))

    def fail_by_hand(self, output: str | None) -> None:
        """Let an operator end the holder's session, by failing its check with a note or by destroying it."""
        check = self.alive.get(self.entry.session)
        if check is None:
            return
        if output is not None:
            self.critical[check.id, check.agent.name] = output
        self.end_session(check)

    # Transactions ----------------------------------------------------------------------------

    def transact(self, operations: Sequence[LockOperation]) -> int | None:
        after = apply(self.entry, operations, self.alive.__contains__, self.index + 1)
        if after is None:
            return None
        self.index += 1
        self._put(after)
        return self.index

    def seize(self, operations: Sequence[LockOperation]) -> int | None:
        """Lock on no condition: what a mutant does."""
        record = operations[-1].record
        if record is None or record.session not in self.alive:
            return None
        self.index += 1
        self._put(LockEntry(self.index, record.session, record))
        return self.index

    def _put(self, entry: LockEntry) -> None:
        self.entry = entry
        for watcher in self.watchers:
            watcher()
