"""Nodes, clients and faults under virtual time; every run follows from its seed."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from haven.ha import protocol
from haven.ha.lease import PassChain
from haven.ha.record import LockRecord, Road
from haven.ha.state import (
    Action,
    Beat,
    DoubtRaised,
    Event,
    EvidenceSeen,
    Leave,
    LockRead,
    MakeSession,
    MoveCommitted,
    MoveRefused,
    MoveUnknown,
    OwnSession,
    PassAnswered,
    Prepare,
    Prepared,
    ReadLock,
    Retire,
    SendLeave,
    SendMove,
    SendPass,
    SessionMade,
    SettleWrites,
    State,
)
from haven.ha.takeover import Evidence
from haven.ha.timing import Timing
from simulation.consul import Consul

HEALING = 16.0
"""Seconds after the last fault begins in which all must be well again: the longest fault (9 s),
what serfHealth ends late (5.1 s), and one check TTL."""

Rule = Callable[[State, Event, float], protocol.Step]


class Violation(AssertionError):
    """A promise of the protocol was broken; the text is what and when."""


@dataclass
class Node:
    """One process: its clock, its state, its cache of the register."""

    name: str
    rate: float
    run: int = 0
    state: State | None = None
    cache: int | None = None
    paused_until: float = 0.0
    cut_until: float = 0.0
    agent_cut_until: float = 0.0
    sessions: int = 0


@dataclass
class World:
    """Everything there is, and the heap of what happens next (true seconds)."""

    seed: int
    rule: Rule = protocol.step
    timing: Timing = field(default_factory=Timing)
    now: float = 100.0
    acked: int = 0
    reads: int = 0
    dead_runs: set[str] = field(default_factory=set)
    trace: list[str] = field(default_factory=list)
    last_served: float = 100.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.consul = Consul(self.timing.check_ttl)
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.nodes = [Node(f"n{i}", self.random.uniform(0.98, 1.02)) for i in range(3)]
        for node in self.nodes:
            self.start(node)

    def at(self, delay: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay, self.count, what))

    def run_until(self, end: float) -> None:
        while self.heap and self.heap[0][0] <= end:
            self.now, _, what = heapq.heappop(self.heap)
            self.consul.expire(self.now)
            what()
            self.check()

    def clock(self, node: Node) -> float:
        return self.now * node.rate

    def say(self, text: str) -> None:
        self.trace.append(f"{self.now:9.3f} {text}")

    # Nodes ---------------------------------------------------------------------------------

    def start(self, node: Node) -> None:
        node.run += 1
        run = f"{node.name}r{node.run}"
        node.state = State(node.name, run, f"http://{node.name}", f"{node.name}:8201", self.timing)
        node.cache = None
        self.beat(node, node.run)

    def beat(self, node: Node, run: int) -> None:
        if node.state is None or node.run != run:
            return
        expired = tuple((check, text) for check, text in self.consul.critical.items())
        self.feed(node, EvidenceSeen(Evidence(frozenset(self.dead_runs), critical_checks=expired)), run)
        self.feed(node, Beat(), run)
        self.at(self.timing.beat * self.random.uniform(0.9, 1.1), lambda: self.beat(node, run))

    def feed(self, node: Node, event: Event, run: int) -> None:
        if node.state is None or node.run != run:
            return
        if self.now < node.paused_until:
            self.at(node.paused_until - self.now + 1e-6, lambda: self.feed(node, event, run))
            return
        before = node.state
        node.state, actions = self.rule(before, event, self.clock(node))
        if node.state.tenure != before.tenure or not isinstance(event, Beat | PassAnswered | EvidenceSeen):
            self.say(f"{node.name} {event} -> {node.state.tenure} doubt={node.state.doubt}")
        for action in actions:
            self.perform(node, action, run)

    def perform(self, node: Node, action: Action, run: int) -> None:
        sent = self.clock(node)
        state = node.state
        assert state is not None
        match action:
            case SendPass(session):
                self.call(
                    node, run, lambda: self.consul.pass_check(session, self.now), PassAnswered(session, sent)
                )
            case ReadLock():
                self.call(
                    node,
                    run,
                    lambda: LockRead(sent, self.consul.locked_index, self.consul.holder, self.consul.record),
                )
            case MakeSession():
                node.sessions += 1
                made = OwnSession(name := f"{state.run}s{node.sessions}", name, "c", PassChain(sent))
                self.call(node, run, lambda: self.consul.register_session(name, self.now), SessionMade(made))
            case SendMove(number, condition, record):
                self.call(
                    node,
                    run,
                    lambda: (
                        MoveRefused(number)
                        if (term := self.consul.move(condition, record)) is None
                        else MoveCommitted(number, term)
                    ),
                    lost=MoveUnknown(number),
                )
            case SendLeave(number, old, record):
                self.call(
                    node,
                    run,
                    lambda: (
                        MoveRefused(number)
                        if (term := self.consul.leave(old, record)) is None
                        else MoveCommitted(number, term)
                    ),
                    lost=MoveUnknown(number),
                )
            case Prepare(term):
                node.cache = None
                self.at(0.005, lambda: self.feed(node, Prepared(term), run))
            case SettleWrites() | Retire():
                node.cache = None

    def call(
        self,
        node: Node,
        run: int,
        effect: Callable[[], Event | None],
        reply: Event | None = None,
        lost: Event | None = None,
    ) -> None:
        """Carry a request to Consul and its reply back, with delay, loss and late application."""
        there, back = (self.random.expovariate(1 / 0.004) for _ in range(2))
        fate = self.random.random()
        answered_by_agent = isinstance(reply, PassAnswered)
        agent_cut = self.now < node.agent_cut_until and not answered_by_agent
        if self.now < node.cut_until or agent_cut or fate < 0.01:
            if lost:
                self.at(self.timing.call_deadline, lambda: self.feed(node, lost, run))
            return
        if fate < 0.03:  # applied long after the sender gave up, or its reply is lost
            self.at(self.random.uniform(0, 4), lambda: (effect(), None)[1])
            if lost:
                self.at(self.timing.call_deadline, lambda: self.feed(node, lost, run))
            return

        def arrive() -> None:
            answer = effect() or reply
            if answer is not None:
                self.at(back, lambda: self.feed(node, answer, run))

        self.at(there, arrive)

    # Clients -------------------------------------------------------------------------------

    def serving(self) -> list[Node]:
        return [
            node
            for node in self.nodes
            if node.state and self.now >= node.paused_until and node.state.may_read(self.clock(node))
        ]

    def client_read(self) -> None:
        floor = self.acked
        for node in self.serving():
            if node.cache is None:
                node.cache = self.consul.register
            if node.cache < floor:
                raise Violation(f"{node.name} answered {node.cache} after {floor} was acknowledged")
            self.reads += 1

    def client_write(self) -> None:
        for node in self.serving():
            state = node.state
            if not (state and state.tenure and state.may_write(self.clock(node))):
                continue
            session, term, run = state.tenure.session, state.tenure.term, node.run
            if self.random.random() < 0.03:
                self.at(self.random.uniform(0, 4), lambda s=session: (self.consul.write(s), None)[1])
                node.cache = None
                self.feed(node, DoubtRaised(), run)
                continue
            self.at(
                self.random.expovariate(1 / 0.004),
                lambda n=node, s=session, t=term, r=run: self.apply(n, s, t, r),
            )

    def apply(self, node: Node, session: str, term: int, run: int) -> None:
        version = self.consul.write(session)

        def reply() -> None:
            state = node.state
            if state is None or node.run != run or self.now < node.paused_until:
                return
            if version is None:
                self.feed(node, DoubtRaised(), run)
            elif state.tenure and state.tenure.term == term and state.may_read(self.clock(node)):
                node.cache = max(node.cache or 0, version)
                self.acked = max(self.acked, version)
            else:
                node.cache = None

        self.at(self.random.expovariate(1 / 0.004), reply)

    # Faults --------------------------------------------------------------------------------

    def crash(self, node: Node, back_after: float) -> None:
        if node.state is None:
            return
        self.say(f"FAULT crash {node.name}")
        self.dead_runs.add(node.state.run)
        node.state, node.paused_until = None, 0.0
        self.at(back_after, lambda: self.start(node))

    def pause(self, node: Node, seconds: float) -> None:
        self.say(f"FAULT pause {node.name} {seconds:.2f}")
        node.paused_until = max(node.paused_until, self.now + seconds)

    def step_down(self, node: Node) -> None:
        """Hand over to a standby, or release where there is none."""
        self.say(f"FAULT step-down {node.name}")
        others = [other for other in self.nodes if other is not node and other.state and other.state.main]
        successor = self.random.choice(others).state if others and self.random.random() < 0.8 else None
        main = successor.main if successor else None
        record = None
        if successor and main:
            addresses = (successor.api_address, successor.cluster_address)
            names = (successor.node, successor.run, main.id, main.check_id, main.check_node)
            record = LockRecord(*names, *addresses, Road.HAND_OVER)
        self.feed(node, Leave(record), node.run)

    def cut(self, node: Node, seconds: float) -> None:
        self.say(f"FAULT cut {node.name} {seconds:.2f}")
        node.cut_until = max(node.cut_until, self.now + seconds)

    def cut_agent(self, node: Node, seconds: float) -> None:
        """Cut the node's agent off: it answers passes by itself until serfHealth ends the session."""
        self.say(f"FAULT cut agent of {node.name} {seconds:.2f}")
        node.agent_cut_until = max(node.agent_cut_until, self.now + seconds)
        tenure = node.state.tenure if node.state else None
        if tenure:
            self.at(5.1, lambda: self.consul.destroy(tenure.session))

    def destroy_session(self) -> None:
        self.say(f"FAULT destroy {self.consul.holder}")
        self.consul.destroy(self.consul.holder)

    def destroy_and_kill_heir(self) -> None:
        """Aim at a wait that is owed: the next holder dies while the lease before it still runs."""
        self.destroy_session()

        def kill() -> None:
            heirs = [
                n for n in self.nodes if n.state and n.state.main and n.state.main.id == self.consul.holder
            ]
            for heir in heirs:
                self.crash(heir, 1.0)

        self.at(self.random.uniform(0.05, 0.5), kill)

    # Promises ------------------------------------------------------------------------------

    def check(self) -> None:
        serving = self.serving()
        if len(serving) > 1:
            raise Violation(f"{[node.name for node in serving]} may answer at {self.now:.3f}")
        if serving:
            self.last_served = self.now


def play(seed: int, rule: Rule = protocol.step, seconds: float = 30.0) -> World:
    """Run one seed: faults for a while, then healing, then an active node within a bound."""
    world = World(seed, rule)
    chance = world.random

    def client() -> None:
        world.client_write() if chance.random() < 0.4 else world.client_read()
        if world.now < 100 + seconds + HEALING:
            world.at(chance.uniform(0.005, 0.05), client)

    def fault() -> None:
        active = world.serving()
        node = chance.choice(active or world.nodes) if chance.random() < 0.7 else chance.choice(world.nodes)
        match chance.randrange(8):
            case 0:
                world.crash(node, chance.uniform(0.05, 3))
            case 1:
                world.pause(node, chance.uniform(0.05, 4))
            case 2:
                world.cut(node, chance.uniform(0.05, 4))
            case 3:
                world.destroy_session()
            case 4:
                world.cut_agent(node, chance.uniform(1, 9))
            case 5:
                world.step_down(node)
            case 6:
                world.destroy_and_kill_heir()
            case _:
                world.pause(node, chance.uniform(0.05, 0.6))
        if world.now < 100 + seconds:
            world.at(chance.choice([0.05, 0.3, 1.0, 3.0]) * chance.uniform(0.5, 1.5), fault)

    world.at(1.0, client)
    world.at(2.0, fault)
    world.run_until(100 + seconds + HEALING)
    if world.now - world.last_served > 1.0:
        raise Violation(f"nobody serves since {world.last_served:.3f}")
    return world
