"""The way to Consul and back: delay, loss, refusal, replies that come too late, and what is applied later."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from haven.ha.lease import PassChain
from haven.ha.messages import (
    Event,
    MoveCommitted,
    MoveRefused,
    MoveUnknown,
    PassAnswered,
    PassFailed,
    SessionFailed,
    SessionMade,
)
from haven.ha.state import OwnSession
from simulation.consul import Agent
from simulation.node import Carried, Node

if TYPE_CHECKING:
    from simulation.world import World


class Wire:
    """Carries the calls of every node in one world."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def _reply(
        self, node: Node, run: int, answer: Event | Carried, lost: Event | Carried | None, deadline: float
    ) -> None:
        """Carry an answer back: it may be lost, or find its sender paused over the deadline."""

        def arrive() -> None:
            late = node.paused_until > deadline and self.world.random.random() < 0.5
            if self.world.now < node.cut_until or late or self.world.random.random() < self.world.loss / 2:
                if lost:
                    self.world.at(
                        max(0.0, deadline - self.world.now), lambda: self.world.feed(node, lost, run)
                    )
                return
            self.world.feed(node, answer, run)

        self.world.at(self.world.trip(), arrive)

    def _fail(self, node: Node, run: int, lost: Event | Carried | None) -> None:
        if lost:
            self.world.at(self.world.timing.call_deadline, lambda: self.world.feed(node, lost, run))

    def _run_out(self, node: Node, run: int, lost: Event | Carried | None, deadline: float) -> None:
        """Let the sender find at its deadline that no answer came."""
        if lost:
            self.world.at(max(0.0, deadline - self.world.now), lambda: self.world.feed(node, lost, run))

    def send_pass(self, node: Node, run: int, own: OwnSession, sent: float) -> None:
        agent, failed = self.world.consul.agent(own.check_node), PassFailed(own.id)
        deadline = self.world.now + self.world.timing.call_deadline
        unreachable = node.silent_agent[0] == agent.name and self.world.now < node.silent_agent[1]
        if self.world.now < node.cut_until or unreachable or self.world.random.random() < self.world.loss:
            return self._fail(node, run, failed)
        if self.world.now < agent.down_until:
            return self.world.at(0.001, lambda: self.world.feed(node, failed, run))

        def arrive() -> None:
            if self.world.now < agent.blocked_until:
                _set_back(node, agent)
                self.world.at(
                    agent.blocked_until - self.world.now,
                    lambda: (self.world.consul.pass_check(agent, own.check_id), None)[1],
                )
                return self.world.at(
                    max(0.0, deadline - self.world.now), lambda: self.world.feed(node, failed, run)
                )
            passed = self.world.consul.pass_check(agent, own.check_id)
            self._reply(node, run, PassAnswered(own.id, sent) if passed else failed, failed, deadline)

        self.world.at(self.world.trip(), arrive)

    def query(
        self, node: Node, run: int, effect: Callable[[], Event | Carried], lost: Event | Carried | None
    ) -> None:
        """Read through the first agent that can; one that says nothing costs a quarter of the deadline."""
        deadline = self.world.now + self.world.timing.call_deadline
        if self.world.now < node.cut_until or self.world.random.random() < self.world.loss:
            return self._fail(node, run, lost)
        tried = next((i for i, agent in enumerate(node.order) if self.world.consul.can_commit(agent)), None)
        if tried is None:
            return self._fail(node, run, lost)
        agent = node.order[tried]
        node.order = node.order[tried:] + node.order[:tried]

        def arrive() -> None:
            if self.world.consul.can_commit(agent):
                self._reply(node, run, effect(), lost, deadline)
            else:
                self._run_out(node, run, lost, deadline)

        self.world.at(self.world.trip() + tried * self.world.timing.call_deadline / 4, arrive)

    def register(self, node: Node, run: int, number: int, apart_from: str | None, sent: float) -> None:
        failed = SessionFailed(number)
        if self.world.now < node.cut_until:
            return self._fail(node, run, failed)
        usable = [agent for agent in node.order if self.world.now >= agent.down_until]
        usable.sort(key=lambda agent: agent.name == apart_from)
        if not usable:
            return self._fail(node, run, failed)
        agent = usable[0]
        shown = number % 2 if self.world.variant.reuses_checks else f"{node.run}:{number}"
        check_id, session = f"{node.name}:{shown}", f"s-{node.name}-{node.run}-{number}"

        def arrive() -> None:
            deadline = self.world.now + self.world.timing.call_deadline
            if self.world.now < agent.blocked_until or not self.world.consul.register(
                agent, check_id, session
            ):
                _set_back(node, agent)
                return self._fail(node, run, failed)
            own = OwnSession(session, check_id, agent.name, PassChain(sent))
            self._reply(node, run, SessionMade(number, own), failed, deadline)

        self.world.at(3 * self.world.trip(), arrive)

    def move(
        self, node: Node, run: int, number: int, fence: str | None, effect: Callable[[], int | None]
    ) -> None:
        def outcome() -> Event:
            term = effect()
            self.world.say(
                f"consul: move {number} of {node.name} {'refused' if term is None else f'term {term}'}"
            )
            fenced = fence is not None and self.world.consul.entry.session != fence
            return MoveRefused(number, fenced) if term is None else MoveCommitted(number, term)

        self.commit(node, run, outcome, MoveUnknown(number), MoveRefused(number))

    def commit(
        self,
        node: Node,
        run: int,
        effect: Callable[[], Event | Carried],
        unknown: Event | Carried,
        unsent: Event | Carried,
    ) -> None:
        """Send a transaction once: committed, refused, surely not sent, or unknown and maybe applied late."""
        deadline = self.world.now + self.world.timing.call_deadline
        agent = node.order[0]

        def late() -> None:
            """Apply it long after the sender gave up, when Consul can."""
            if self.world.now < self.world.consul.leaderless_until:
                self.world.at(
                    self.world.consul.leaderless_until - self.world.now + self.world.random.uniform(0, 0.5),
                    late,
                )
            else:
                effect()

        def give_up() -> None:
            _set_back(node, agent)
            self._run_out(node, run, unknown, deadline)
            if self.world.random.random() < 0.5:
                self.world.at(self.world.random.uniform(0.0, 4.0), late)

        if self.world.now < node.cut_until:
            return self._fail(node, run, unknown)
        if self.world.now < agent.down_until:
            _set_back(node, agent)
            return self.world.at(0.001, lambda: self.world.feed(node, unsent, run))

        def arrive() -> None:
            fate = self.world.random.random() / self.world.loss if self.world.loss else 9.0
            if not self.world.consul.can_commit(agent) or fate < 2:
                give_up()
            else:
                self._reply(node, run, effect(), unknown, deadline)

        self.world.at(self.world.trip(), arrive)


def _set_back(node: Node, agent: Agent) -> None:
    """Ask an agent last that did not answer in time."""
    node.order = [*(other for other in node.order if other is not agent), agent]
