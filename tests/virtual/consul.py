"""Consul as one node reaches it: the coordinator and the storage of whole nodes over the simulated servers.

The servers, their checks, sessions and elections are those of `simulation.consul`; here are the
keys, the ways to an agent and back, and what the real client does about them: agents in an order,
reads asked again elsewhere while one is slow, transactions sent once.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from haven.errors import ConditionFailed, Fenced, NotApplied, OutcomeUnknown, Unavailable
from haven.ha.coordinator import Condition, LockReading, MadeSession
from haven.ha.lock_operations import LockOperation, leaving, taking
from haven.ha.record import LockRecord
from haven.ha.takeover import ReplaceHolder
from haven.storage.base import Delete, Fence, Limits, Operation, PutIfAbsent
from haven.storage.limits import check_commit
from haven.storage.memory import first_segment
from simulation.consul import Agent, Cluster
from virtual.loop import Loop
from virtual.network import Network

LIMITS = Limits(operations=63, value_bytes=370_000, commit_bytes=370_000)
CALL_DEADLINE = 0.4
READ_DEADLINE = 1.0
REGISTRATION_DEADLINE = 1.0
WATCH = 2.0
Effect = Callable[[], Any]
"""What an agent does with a request: returns the answer, or the error that it answers."""


class Service:
    """The servers, and the keys that they hold."""

    def __init__(self, loop: Loop, network: Network, chance: random.Random, ttl: float) -> None:
        self.loop, self.network, self.chance = loop, network, chance
        self.cluster = Cluster(loop.at, lambda: loop.now, chance, ttl)
        self.cluster.watchers.append(self._changed)
        self.values: dict[str, bytes] = {}
        self.lost_requests = self.late_requests = self.lost_replies = 0.0
        """The shares of transactions that never come or come late, and of answers that are lost."""
        self.watching: list[Callable[[], None]] = []
        self.on_commit: Callable[[Sequence[Operation]], None] = lambda _: None

    def _changed(self) -> None:
        watching, self.watching = self.watching, []
        for wake in watching:
            wake()

    def apply(self, operations: Sequence[Operation], fence: Fence | None) -> Any:
        """Apply a write whole or not at all, under the fence."""
        holder = self.cluster.entry.session
        if fence is not None and holder != fence.session:
            return Fenced(holder)
        absent = (operation.key for operation in operations if isinstance(operation, PutIfAbsent))
        if any(key in self.values for key in absent):
            return NotApplied("a key that must not exist does")
        for operation in operations:
            if isinstance(operation, Delete):
                self.values.pop(operation.key, None)
            else:
                self.values[operation.key] = operation.value
        self.on_commit(operations)
        return None

    def names(self, prefix: str) -> list[str]:
        below = (key.removeprefix(prefix) for key in self.values if key.startswith(prefix))
        return sorted({first_segment(name) for name in below if name})


class Line:
    """One node's ways to the agents."""

    def __init__(self, service: Service, host: str, first: int) -> None:
        self.service, self.loop, self.network = service, service.loop, service.network
        self.host = host
        agents = service.cluster.agents
        self.order: list[Agent] = agents[first:] + agents[:first]

    def set_back(self, agent: Agent) -> None:
        self.order.remove(agent)
        self.order.append(agent)

    def _go(self, agent: Agent, arrive: Callable[[], None]) -> None:
        """Carry a request to an agent; where something is in the way nobody hears of it."""
        if self.network.reaches(self.host, agent.name):
            self.loop.at(self.network.trip(), arrive)

    def answer(self, agent: Agent, give: Callable[[], None]) -> None:
        if self.network.reaches(agent.name, self.host):
            self.loop.at(self.network.trip(), give)

    def refuses(self, agent: Agent) -> bool:
        """Tell whether the agent's host answers that nobody listens there."""
        return self.loop.now < agent.down_until and self.network.reaches(self.host, agent.name)

    async def ask(
        self,
        agent: Agent,
        effect: Effect,
        deadline: float,
        *,
        needs_leader: bool = True,
        of_agent: bool = False,
    ) -> Any:
        """Send one request through one agent; raises what it answers, or `Unavailable`.

        What is `of_agent` changes its own state: a blocked agent does it later, and nobody hears of it.
        """
        future: asyncio.Future[Any] = self.loop.create_future()

        def fail() -> None:
            if not future.done():
                self.set_back(agent)
                future.set_exception(Unavailable(f"{agent.name} does not answer"))

        def arrive() -> None:
            if self.loop.now < agent.down_until or (
                needs_leader and not self.service.cluster.can_commit(agent)
            ):
                return
            if of_agent and self.loop.now < agent.blocked_until:
                self.loop.at(agent.blocked_until - self.loop.now, effect)
                return
            result = effect()
            self.answer(agent, lambda: _settle(future, result))

        if self.refuses(agent):
            self.loop.at(0.0005, fail)
        else:
            self._go(agent, arrive)
            self.loop.at(deadline, fail)
        return await future

    async def read(self, effect: Effect, deadline: float) -> Any:
        """Read through the best agent, and through the next ones too while it errs or is slow."""
        future: asyncio.Future[Any] = self.loop.create_future()
        waiting, patience = list(self.order), deadline / (len(self.order) + 1)
        asked: list[Agent] = []

        def attempt() -> None:
            if future.done() or not waiting:
                return
            agent = waiting.pop(0)
            asked.append(agent)
            if self.refuses(agent):
                self.set_back(agent)
                self.loop.at(0.0005, attempt)
                return
            self._go(agent, lambda: arrive(agent))
            self.loop.at(patience, attempt)

        def arrive(agent: Agent) -> None:
            if self.service.cluster.can_commit(agent):
                result = effect()
                self.answer(agent, lambda: won(agent, result))

        def won(agent: Agent, result: Any) -> None:
            if not future.done():
                for slower in asked[: asked.index(agent)]:
                    self.set_back(slower)
                _settle(future, result)

        def fail() -> None:
            if not future.done():
                self.set_back(self.order[0])
                future.set_exception(Unavailable("no Consul agent answered the read"))

        self.loop.at(deadline, fail)
        attempt()
        return await future

    async def transact(self, effect: Effect, note: Callable[[str], None], deadline: float) -> Any:
        """Send a transaction once: applied or refused, surely not sent, or unknown and maybe applied late."""
        future: asyncio.Future[Any] = self.loop.create_future()
        service, chance = self.service, self.service.chance
        agent = next((agent for agent in self.order if not self.refuses(agent)), None)
        if agent is None:
            await asyncio.sleep(0.001)
            raise NotApplied("the transaction was not sent: no connection to Consul")
        chosen = agent

        def late() -> None:
            cluster = service.cluster
            if not any(map(cluster.can_commit, cluster.agents)):
                self.loop.at(chance.uniform(0.1, 0.6), late)
            else:
                note(f"applied late: {effect()!r}")

        def arrive() -> None:
            if chance.random() < service.lost_requests:
                note("request lost")
            elif chance.random() < service.late_requests:
                note("request late")
                self.loop.at(chance.uniform(0.1, 1.5), late)
            elif service.cluster.can_commit(chosen):
                self.loop.at(chance.uniform(0.001, 0.005), commit)
            elif chance.random() < 0.2 and self.loop.now >= chosen.down_until:
                error = NotApplied("Consul's agent had no connection to a leader for the transaction")
                self.answer(chosen, lambda: _settle(future, error))
            elif chance.random() < 0.5:
                self.loop.at(chance.choice([0.05, 0.5, 5.0]) * chance.random(), late)

        def commit() -> None:
            if not service.cluster.can_commit(chosen):
                if chance.random() < 0.7:
                    self.loop.at(chance.uniform(0.0, 0.5), late)
                return
            result = effect()
            note("refused" if isinstance(result, Exception) else "applied")
            if chance.random() < service.lost_replies:
                note("reply lost")
            else:
                self.answer(chosen, lambda: _settle(future, result))

        def fail() -> None:
            if not future.done():
                self.set_back(chosen)
                future.set_exception(OutcomeUnknown("the transaction's outcome is unknown"))

        self._go(chosen, arrive)
        self.loop.at(deadline, fail)
        return await future


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


class Storage:
    """Implements `haven.storage.base.Storage` for one node."""

    limits = LIMITS

    def __init__(self, line: Line, note: Callable[[str, str], None]) -> None:
        self.line, self.note = line, note

    async def get(self, key: str) -> bytes | None:
        self.note("read", key)
        value: bytes | None = await self.line.read(lambda: self.line.service.values.get(key), READ_DEADLINE)
        return value

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        self.note("read", ", ".join(keys))
        values = self.line.service.values
        found: Mapping[str, bytes | None] = await self.line.read(
            lambda: {key: values.get(key) for key in keys}, READ_DEADLINE
        )
        return found

    async def list(self, prefix: str) -> list[str]:
        self.note("read", prefix)
        names: list[str] = await self.line.read(lambda: self.line.service.names(prefix), READ_DEADLINE)
        return names

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        check_commit(operations, self.limits)
        self.note("commit", f"{len(operations)} under {fence.session if fence else None}")
        await self.line.transact(
            lambda: self.line.service.apply(operations, fence),
            lambda text: self.note("committed", text),
            CALL_DEADLINE,
        )

    async def close(self) -> None:
        """Close nothing."""


class Coordinator:
    """Implements `haven.ha.coordinator.Coordinator` for one unsealing of one node."""

    def __init__(self, line: Line, note: Callable[[str, str], None]) -> None:
        self.line, self.note, self.service = line, note, line.service
        self.cluster = line.service.cluster
        self._order: list[Agent] = line.order
        self._stuck = ""

    async def read_lock(self) -> LockReading:
        reading: LockReading = await self.line.read(self._reading, CALL_DEADLINE)
        return reading

    def _reading(self) -> LockReading:
        entry = self.cluster.entry
        return LockReading(entry.index, entry.session, entry.record)

    async def watch_lock(self, index: int) -> tuple[LockReading, int]:
        """Wait, at the agent, until the lock is not at this wait index: its own and one more."""
        line, agent, loop = self.line, self.line.order[0], self.line.loop
        future: asyncio.Future[Any] = loop.create_future()
        ends = loop.now + WATCH

        def look() -> None:
            if future.done() or not self.cluster.can_commit(agent):
                return
            if self.cluster.entry.index + 1 != index or loop.now >= ends:
                reading = self._reading()
                line.answer(agent, lambda: _settle(future, (reading, reading.index + 1)))
            else:
                self.service.watching.append(look)

        def fail() -> None:
            if not future.done():
                future.set_exception(Unavailable(f"{agent.name} does not answer"))

        if line.refuses(agent):
            loop.at(0.0005, fail)
            line.set_back(agent)
        else:
            line._go(agent, look)
            if index:
                loop.at(WATCH + 0.01, lambda: None if future.done() else line._go(agent, look))
            loop.at((WATCH if index else 0.0) + CALL_DEADLINE, fail)
        answer: tuple[LockReading, int] = await future
        return answer

    async def critical_checks(self) -> tuple[tuple[str, str], ...]:
        def critical() -> tuple[tuple[str, str], ...]:
            return tuple((check, output) for (check, _), output in self.cluster.critical.items())

        checks: tuple[tuple[str, str], ...] = await self.line.read(critical, CALL_DEADLINE)
        return checks

    async def make_session(self, check_id: str, apart_from: str | None) -> MadeSession:
        line = self.line
        stuck = self._stuck
        for agent in sorted(
            list(line.order), key=lambda agent: (agent.name == stuck, agent.name == apart_from)
        ):
            try:
                await line.ask(agent, self._reading, CALL_DEADLINE)
            except Unavailable:
                continue
            session = f"s-{check_id.removeprefix('haven:')}"
            self._stuck = agent.name
            made = await line.ask(
                agent,
                partial(self.cluster.register, agent, check_id, session),
                REGISTRATION_DEADLINE,
                of_agent=True,
            )
            if not made:
                raise Unavailable("the session was not made")
            await line.ask(agent, self._reading, REGISTRATION_DEADLINE)  # reading the session's node
            self._stuck = ""
            return MadeSession(session, check_id, agent.name)
        raise Unavailable("no Consul agent can register a session now")

    async def pass_check(self, session: MadeSession) -> None:
        agent = self._agent(session)
        passed = await self.line.ask(
            agent,
            lambda: self.cluster.pass_check(agent, session.check_id),
            CALL_DEADLINE,
            needs_leader=False,
            of_agent=True,
        )
        if not passed:
            raise Unavailable("unknown check")

    async def end_session(self, session: MadeSession) -> None:
        agent = self._agent(session)
        await self.line.ask(
            agent, lambda: self.cluster.deregister(agent, session.check_id), REGISTRATION_DEADLINE
        )

    async def move(self, condition: Condition, record: LockRecord) -> int:
        fenced = isinstance(condition, ReplaceHolder)
        return await self._move(taking(condition, record), condition.old if fenced else None)  # type: ignore[union-attr]

    async def leave(self, old: str, record: LockRecord) -> int:
        return await self._move(leaving(old, record), old)

    async def _move(self, operations: Sequence[LockOperation], old: str | None) -> int:
        def effect() -> Any:
            holder = self.cluster.entry.session
            term = self.cluster.transact(operations)
            if term is not None:
                return term
            return (
                Fenced(holder) if old is not None and holder != old else ConditionFailed("condition not met")
            )

        target = operations[-1].session or "nobody"
        self.note("move", f"to {target}")
        term: int = await self.line.transact(
            effect, lambda text: self.note("moved", f"to {target} {text}"), CALL_DEADLINE
        )
        return term

    async def close(self) -> None:
        """Close nothing."""

    def _agent(self, session: MadeSession) -> Agent:
        return next(agent for agent in self.cluster.agents if agent.name == session.check_node)
