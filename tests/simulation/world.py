"""Nodes over a simulated Consul, under virtual time; every run follows from its seed."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from haven.ha.lock_operations import leaving, taking
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    Beat,
    ChecksRead,
    DeathSeen,
    EndSession,
    Event,
    LinksHeard,
    LockHint,
    LockRead,
    MakeSession,
    PassAnswered,
    Prepare,
    Prepared,
    ReadChecks,
    ReadFailed,
    ReadLock,
    ResignationSeen,
    Retire,
    SendLeave,
    SendMove,
    SendPass,
    SettleWrites,
)
from haven.ha.state import State, Tenure
from haven.ha.takeover import ReplaceHolder
from haven.ha.timing import Timing
from simulation.consul import Cluster
from simulation.node import Carried, Node, Violation
from simulation.variant import RIGHT, Variant
from simulation.wire import Wire

START = 100.0
LINK = 0.002
"""Mean time of a message one way (seconds)."""
QUIET = Beat | PassAnswered | LockRead | LockHint | LinksHeard


@dataclass
class World:
    """Everything there is, and the heap of what happens next (true seconds)."""

    seed: int
    variant: Variant = RIGHT
    timing: Timing = field(default_factory=Timing)
    now: float = START
    trace: list[str] = field(default_factory=list)
    last_served: float = START
    longest_dark: float = 0.0
    recovery: float = 0.0
    """How long after the last fault a node answered steadily."""
    holders: list[str] = field(default_factory=list)
    loss: float = 0.01
    """The share of messages to Consul that are lost, of those applied late, and of lost replies."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.consul = Cluster(self.at, lambda: self.now, self.random, self.timing.check_ttl)
        self.wire = Wire(self)
        self.consul.watchers.append(self._tell_watchers)
        agents = self.consul.agents
        self.nodes = [
            Node(f"n{i}", self.random.uniform(0.98, 1.02), agents[i:] + agents[:i]) for i in range(3)
        ]

    # Time ------------------------------------------------------------------------------------

    def at(self, delay: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay, self.count, what))

    def run_until(self, end: float) -> None:
        while self.heap and self.heap[0][0] <= end:
            self.now, _, what = heapq.heappop(self.heap)
            what()
            self.check()
        self.now = end

    def healed_at(self) -> float:
        """Return when the last fault that runs now is over."""
        ends = (max(n.cut_until, n.paused_until, n.unlinked_until, n.silent_agent[1]) for n in self.nodes)
        return max(self.now, self.consul.healed_at(), *ends)

    def clock(self, node: Node) -> float:
        stood_still = node.suspended if self.variant.clock_stops else 0.0
        return (self.now - stood_still) * node.rate

    def say(self, text: str) -> None:
        self.trace.append(f"{self.now - START:9.3f} {text}")

    def trip(self) -> float:
        return self.random.expovariate(1 / LINK) + 0.0002

    # Nodes -----------------------------------------------------------------------------------

    def start(self, node: Node) -> None:
        node.run += 1
        run = f"{node.name}r{node.run}"
        node.state = State(node.name, run, f"http://{node.name}", f"{node.name}:8201", self.timing)
        node.on_reset()
        self.say(f"{node.name} starts as {run}")
        self.beat(node, node.run)

    def beat(self, node: Node, run: int) -> None:
        if node.state is None or node.run != run:
            return
        if self.now < node.paused_until:
            self.at(node.paused_until - self.now + 1e-6, lambda: self.beat(node, run))
            return
        self.feed(node, LinksHeard(self.heard(node)), run)
        self.feed(node, Beat(), run)
        self.at(self.timing.beat * self.random.uniform(0.9, 1.1), lambda: self.beat(node, run))

    def heard(self, node: Node) -> frozenset[str]:
        """Return the runs that speak over a link to this node; one that is paused counts as silent early."""
        linked = (peer for peer in self.nodes if self.now >= max(peer.unlinked_until, node.unlinked_until))
        return frozenset(
            peer.state.run
            for peer in linked
            if peer is not node and peer.state and self.now >= peer.paused_until
        )

    def feed(self, node: Node, event: Event | Carried, run: int) -> None:
        if node.state is None or node.run != run:
            return
        if self.now < node.paused_until:
            self.at(node.paused_until - self.now + 1e-6, lambda: self.feed(node, event, run))
            return
        if isinstance(event, Carried):
            return event.take(event.value)
        before = node.state
        now = self.clock(node)
        node.state, actions = self.variant.rule(before, event, now)
        self._note(node, before, event, node.state)
        for action in actions:
            self.perform(node, action, run)
        node.on_change()

    def _note(self, node: Node, before: State, event: Event, after: State) -> None:
        old, new = before.tenure, after.tenure
        changed = (old is None) != (new is None) or (
            old and new and (old.term, old.ready) != (new.term, new.ready)
        )
        if changed or before.doubt != after.doubt or not isinstance(event, QUIET):
            self.say(f"{node.name} {_short(event)} -> {_shorter(new)}{' doubt' if after.doubt else ''}")
        if new and (old is None or old.reign != new.reign):
            self.holders.append(node.name)

    def perform(self, node: Node, action: Action, run: int) -> None:
        state = node.state
        assert state is not None
        sent = self.clock(node)
        match action:
            case SendPass(session):
                self.wire.send_pass(node, run, session, sent)
            case ReadLock():
                self.wire.query(node, run, lambda: self._reading(sent), ReadFailed())
            case ReadChecks():
                self.wire.query(node, run, lambda: self._checks(sent), None)
            case MakeSession(number, apart_from):
                self.wire.register(node, run, number, apart_from, sent)
            case EndSession(session):
                agent = self.consul.agent(session.check_node)
                if self.now >= node.cut_until and self.now >= agent.down_until:
                    self.at(self.trip(), lambda: self.consul.deregister(agent, session.check_id))
            case SendMove(number, condition, record):
                operations = taking(condition, record)
                apply = self.consul.transact if self.variant.conditional else self.consul.seize
                self.say(f"{node.name} sends {_short(condition)} {record.road} {record.session}")
                fence = condition.old if isinstance(condition, ReplaceHolder) else None
                self.wire.move(node, run, number, fence, lambda: apply(operations))
            case SendLeave(number, old, record):
                operations = leaving(old, record)
                self.say(f"{node.name} leaves {old} to {record.session} released={record.released}")
                self.wire.move(node, run, number, old, lambda: self.consul.transact(operations))
            case AnnounceResigned(generation):
                self.tell_peers(node, ResignationSeen(state.run, generation), self.trip)
            case _:
                self._inside(node, action, run)

    def _inside(self, node: Node, action: Action, run: int) -> None:
        """Do what concerns the node alone."""
        match action:
            case Prepare(reign):
                if not self.variant.keeps_cache:
                    node.on_reset()
                self.at(self.random.uniform(0.002, 0.03), lambda: self.feed(node, Prepared(reign), run))
            case Retire():
                if not self.variant.keeps_cache:
                    node.on_reset()
            case SettleWrites():
                pass  # whoever waits looks at each change

    def tell_peers(self, node: Node, event: Event, delay: Callable[[], float]) -> None:
        """Let every linked peer learn something of this node."""
        for peer in self.nodes:
            linked = peer is not node and self.now >= max(peer.unlinked_until, node.unlinked_until)
            if linked and self.random.random() < 0.95:
                self.at(delay(), lambda peer=peer, run=peer.run: self.feed(peer, event, run))

    def crash(self, node: Node, back_after: float) -> None:
        if node.state is None:
            return
        self.say(f"FAULT crash {node.name}")
        run = node.state.run
        node.state, node.paused_until = None, 0.0
        self.tell_peers(node, DeathSeen(run), lambda: self.random.uniform(0.001, 0.06))
        self.at(back_after, lambda: self.start(node) if node.state is None else None)

    def pause(self, node: Node, seconds: float) -> None:
        self.say(f"FAULT pause {node.name} {seconds:.2f}")
        end = self.now + seconds
        node.suspended += max(0.0, end - max(node.paused_until, self.now))
        node.paused_until = max(node.paused_until, end)
        if self.variant.timeout_is_death and node.state and seconds > 1:
            run = node.state.run
            self.at(1.0, lambda: self.tell_peers(node, DeathSeen(run), self.trip))

    def _reading(self, sent: float) -> LockRead:
        entry = self.consul.entry
        return LockRead(sent, entry.index, entry.session, entry.record)

    def _checks(self, sent: float) -> ChecksRead:
        return ChecksRead(sent, tuple((name, output) for (name, _), output in self.consul.critical.items()))

    def _tell_watchers(self) -> None:
        entry = self.consul.entry
        hint = LockHint(entry.index, entry.session, entry.record)
        for node in self.nodes:
            if self.now >= node.cut_until and self.random.random() < 0.9:
                delay = self.random.uniform(0.001, 0.017)
                self.at(delay, lambda node=node, run=node.run: self.feed(node, hint, run))

    # Promises --------------------------------------------------------------------------------

    def serves(self, node: Node) -> bool:
        return (
            node.state is not None and self.now >= node.paused_until and node.state.may_read(self.clock(node))
        )

    def serving(self) -> list[Node]:
        return [node for node in self.nodes if self.serves(node)]

    def check(self) -> None:
        serving = self.serving()
        if len(serving) > 1:
            raise Violation(f"{[node.name for node in serving]} may both answer")
        if serving:
            self.longest_dark = max(self.longest_dark, self.now - self.last_served)
            self.last_served = self.now


def _short(event: object) -> str:
    """Return an event in few words."""
    names = getattr(event, "__dataclass_fields__", {})
    shown = [
        f"{name}={value}" for name in names if isinstance(value := getattr(event, name), str | int | float)
    ]
    return " ".join([type(event).__name__, *shown])


def _shorter(tenure: Tenure | None) -> str:
    if tenure is None:
        return "standby"
    lease = f"until {tenure.lease.until:.3f} from {tenure.answers_from:.3f}"
    return f"term {tenure.term} of {tenure.session} {lease}"
