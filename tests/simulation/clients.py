"""Clients, and what a node does for them: a cache, fenced writes, unknown writes settled by reading.

Each key's versions are in the order in which Consul applied them, so a history is linearizable
exactly if no answer is older than one given, or a write acknowledged, before it was asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from haven.ha.messages import DoubtRaised
from haven.ha.state import Tenure
from simulation.node import Carried, Node, Violation
from simulation.world import World

KEYS = 3


@dataclass(frozen=True)
class Written:
    """What became of a write that reached Consul: its version, 0 where the fence refused it."""

    version: int


@dataclass(frozen=True)
class Outcome:
    """A write that was surely not sent, or whose outcome is unknown."""

    unknown: bool


@dataclass(frozen=True)
class Value:
    """What a consistent read of a key gave: which write, and its version."""

    write: int
    version: int


@dataclass
class Pending:
    """A write of unknown outcome, that waits for a refence."""

    key: int
    write: int
    term: int
    asked: bool = False


@dataclass
class Store:
    """One node's storage: it begins one write for a key at a time."""

    cache: dict[int, int] = field(default_factory=dict)
    stamps: dict[int, int] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)
    pending: list[Pending] = field(default_factory=list)


class Clients:
    """Reads and writes at whichever node answers, and the promises made to whom asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stores: dict[str, Store] = {}
        self.floor = dict.fromkeys(range(KEYS), 0)
        self.writes = 0
        self.reads = 0
        self.acked = 0
        self.settled = 0
        self.failed: set[int] = set()
        for node in world.nodes:
            self.reset(node)
            node.on_reset = lambda node=node: self.reset(node)
            node.on_change = lambda node=node: self.settle(node)

    def reset(self, node: Node) -> None:
        self.stores[node.name] = Store()

    # Reads -----------------------------------------------------------------------------------

    def read(self, node: Node, key: int) -> None:
        """Answer from the cache, or by a consistent read after which the lease must still hold."""
        world, store, floor = self.world, self.stores[node.name], self.floor[key]
        if not world.serves(node):
            return
        if key in store.cache:
            self._answer(node, key, store.cache[key], floor)
            return
        state = node.state
        if state is None or state.tenure is None or any(pending.key == key for pending in store.pending):
            return
        reign = state.tenure.reign
        stamp = None if key in store.busy else store.stamps.get(key, 0)

        def got(value: Value) -> None:
            if not (world.serves(node) and self._reign(node) == reign):
                return
            self._answer(node, key, value.version, floor)
            if store.stamps.get(key, 0) == stamp:  # no write for it began since, or was under way
                store.cache[key] = value.version

        self._ask(node, key, got, lambda _: None)

    def _answer(self, node: Node, key: int, version: int, floor: int) -> None:
        if version < floor:
            raise Violation(f"{node.name} answered version {version} of {key} when {floor} was known")
        self.reads += 1
        self.floor[key] = max(self.floor[key], version)

    # Writes ----------------------------------------------------------------------------------

    def write(self, node: Node, key: int) -> None:
        world, store, state = self.world, self.stores[node.name], node.state
        if state is None or state.tenure is None or key in store.busy or not self._admits(node):
            return
        self.writes += 1
        write, tenure = self.writes, state.tenure
        store.busy.add(key)
        store.stamps[key] = write

        def take(outcome: Written | Outcome) -> None:
            self._finish(node, store, Pending(key, write, tenure.term), tenure, outcome)

        world.wire.commit(
            node,
            node.run,
            lambda: Carried(take, Written(self._apply(key, write, tenure.session, node))),
            Carried(take, Outcome(unknown=True)),
            Carried(take, Outcome(unknown=False)),
        )

    def _admits(self, node: Node) -> bool:
        state, world = node.state, self.world
        if state is None or state.tenure is None or world.now < node.paused_until:
            return False
        if world.variant.early_writes:
            return state.tenure.ready and state.tenure.lease.holds(world.clock(node)) and not state.doubt
        ignores_doubt = not world.variant.settles
        now = world.clock(node)
        return state.may_read(now) if ignores_doubt else state.may_write(now)

    def _apply(self, key: int, write: int, session: str, node: Node) -> int:
        """Apply a fenced write; 0 where the fence refuses it."""
        consul = self.world.consul
        if consul.entry.session != session:
            if self.world.variant.fenced:
                return 0
            raise Violation(f"a write of {node.name} was applied after it was deposed")
        if write in self.failed:
            raise Violation(f"write {write} of {node.name} was applied after it was called failed")
        version = consul.keys.get(key, (0, 0))[1] + 1
        consul.keys[key] = (write, version)
        return version

    def _finish(
        self, node: Node, store: Store, pending: Pending, tenure: Tenure, outcome: Written | Outcome
    ) -> None:
        """Tell the client the truth, or wait until it can be known."""
        world, key = self.world, pending.key
        if isinstance(outcome, Written) and outcome.version:
            store.busy.discard(key)
            self._applied(node, store, key, outcome.version, tenure.reign)
            return
        store.cache.pop(key, None)
        surely_not = isinstance(outcome, Written) or not outcome.unknown
        if surely_not or world.variant.calls_unknown_failed:
            store.busy.discard(key)
            self.failed.add(pending.write)
        else:
            store.pending.append(pending)
        if not (isinstance(outcome, Outcome) and surely_not):
            world.feed(node, DoubtRaised(tenure.session), node.run)

    def _applied(self, node: Node, store: Store, key: int, version: int, reign: int) -> None:
        early = self.world.variant.early_writes and self._admits(node)
        if (self.world.serves(node) or early) and self._reign(node) == reign:
            store.cache[key] = version
            self.acked += 1
            self.floor[key] = max(self.floor[key], version)
        else:
            store.cache.pop(key, None)

    def settle(self, node: Node) -> None:
        """Read the keys of unknown writes once a refence has made sure that they are not applied any more."""
        store, state = self.stores[node.name], node.state
        if not store.pending or state is None or state.tenure is None:
            return
        tenure = state.tenure
        for pending in [pending for pending in store.pending if not pending.asked]:
            over = tenure.term > pending.term or not self.world.variant.settles
            if over and pending.term >= tenure.reign and self.world.serves(node):
                pending.asked = True
                self._ask(
                    node,
                    pending.key,
                    lambda value, pending=pending: self._settled(node, pending, value),
                    lambda _, pending=pending: setattr(pending, "asked", False),
                )

    def _settled(self, node: Node, pending: Pending, value: Value) -> None:
        store, reign = self.stores[node.name], self._reign(node)
        if (
            pending not in store.pending
            or not self.world.serves(node)
            or reign is None
            or reign > pending.term
        ):
            return
        store.pending.remove(pending)
        store.busy.discard(pending.key)
        self.settled += 1
        if value.write == pending.write:
            self._applied(node, store, pending.key, value.version, reign)
        else:
            self.failed.add(pending.write)

    # -----------------------------------------------------------------------------------------

    def _reign(self, node: Node) -> int | None:
        return node.state.tenure.reign if node.state and node.state.tenure else None

    def _ask(self, node: Node, key: int, got: Callable[[Value], None], lost: Callable[[None], None]) -> None:
        def effect() -> Carried:
            return Carried(got, Value(*self.world.consul.keys.get(key, (0, 0))))

        self.world.wire.query(node, node.run, effect, Carried(lost, None))
