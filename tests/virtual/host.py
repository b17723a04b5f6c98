"""A whole node as a process: everything of `haven.asgi.assemble` but Falcon, over the simulated network."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from haven.api.admission import Admission
from haven.api.app import build_gate
from haven.api.settings import ApiSettings
from haven.barrier.seals import SealConfiguration
from haven.core.bootstrap import initial_entries
from haven.core.core import Core
from haven.ha.cluster import Cluster, ClusterParts
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.parking import ParkingLimits, ParkingLot
from haven.ha.peers import LinkTiming
from haven.ha.timing import Timing
from haven.node import Node
from haven.tasks import TaskSet
from haven.unsealed import Addresses, Parts
from virtual.consul import Coordinator, Line, Service, Storage
from virtual.loop import Loop, Process

SEAL_KEY = bytes(range(32))
CLUSTER_PORT = 8201
LINGER = 1.0
"""Seconds for which a leaving server still takes requests after the hand-over."""
DRAINING = 6.0
CONNECTING = 1.0
"""Seconds after which a client gives up to connect."""


class Tally:
    """Stands in for `Telemetry`: counts, and costs nothing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., None]:
        def count(*values: object) -> None:
            self.counts[f"{name} {values[0]}" if values and isinstance(values[0], str) else name] += 1

        setattr(self, name, count)
        return count


class HostClock:
    """A clock that runs a little fast or slow; its time of day is not quite that of others either."""

    def __init__(self, loop: Loop, rate: float, ahead: float = 0.0) -> None:
        self._loop, self._rate, self._ahead = loop, rate, ahead

    def now(self) -> float:
        return self._loop.now * self._rate

    def wall(self) -> float:
        return 1_700_000_000.0 + self._loop.now + self._ahead


class Exchange:
    """One HTTP request on its way: its result is an answer, or why there is none."""

    __slots__ = ("arrived", "result", "task")

    def __init__(self, result: "asyncio.Future[RawResponse | str]") -> None:
        self.result = result
        self.task: asyncio.Task[Any] | None = None
        self.arrived = False


class Host:
    """One node's machine: it runs one process after another."""

    def __init__(
        self, service: Service, name: str, first: int, rate: float, note: Callable[[str, str, str], None]
    ) -> None:
        self.service, self.loop, self.network = service, service.loop, service.network
        self.name, self.first, self.rate, self.note = name, first, rate, note
        self.ahead = service.chance.uniform(-0.1, 0.1)
        self.count = 0
        self.process: Process | None = None
        self.node: Node | None = None
        self.gate: Any = None
        self.tally = Tally()
        self.inbound = 0.0
        self.open: set[Exchange] = set()
        self.listening = False
        self.leaving = False
        """Whether it was told to seal itself or to end, and has not begun anew since."""
        self._kept: list[asyncio.Task[Any]] = []
        self.on_died: Callable[[str], None] = lambda _: None

    # Life ------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.process is not None and not self.process.dead

    def start(self) -> None:
        self.count += 1
        self.leaving = False
        self.process = Process(self.name, f"{self.name}r{self.count}", self.rate)
        self.note(self.name, "start", self.process.name)
        self.loop.soon(self.process, self._begin, self.process)

    def _begin(self, process: Process) -> None:
        self._assemble(random.Random(f"{process.name}/{self.service.chance.random()}"))
        self.listening = True
        assert self.node is not None
        self._keep(asyncio.ensure_future(self.node.start()))

    def _assemble(self, chance: random.Random) -> None:
        clock, line = HostClock(self.loop, self.rate, self.ahead), Line(self.service, self.name, self.first)
        name, tally = self.name, self.tally

        def said(what: str, text: str) -> None:
            self.note(name, what, text)

        storage = Storage(line, said)
        self.inbound = clock.now()

        def lead(membership: Any, key: bytes, activation: Any, handler: Any) -> Cluster:
            parts = ClusterParts(
                coordinator=Coordinator(line, said),
                clock=clock,
                timing=Timing(),
                telemetry=tally,  # type: ignore[arg-type]
                random=chance,
                listen=(name, CLUSTER_PORT),
                trust_resets=True,
                last_inbound=lambda: self.inbound,
                died=self.on_died,
            )
            return Cluster(membership, key, parts, activation, handler, LinkTiming(tick=0.1))

        admission, operations = Admission(TaskSet(self.on_died)), TaskSet(self.on_died)
        lot = ParkingLot(ParkingLimits(), clock, tally, operations)  # type: ignore[arg-type]
        parts = Parts(
            core=Core(storage, SealConfiguration.static(SEAL_KEY), clock, initial_entries),
            storage=storage,
            clock=clock,
            telemetry=tally,  # type: ignore[arg-type]
            admission=admission,
            addresses=Addresses(name, f"http://{name}:8200", f"{name}:{CLUSTER_PORT}"),
            ha_enabled=True,
            lead=lead,
            parked=lambda: lot.count,
            died=self.on_died,
        )
        self.node = Node(parts, "consul", lambda: None)
        self.gate = build_gate(
            self.node,
            admission,
            operations,
            lot,
            ApiSettings(),
            tally,
            lambda: "an-id",  # type: ignore[arg-type]
        )
        self.node.on_forwarded = self.gate.handle_forwarded

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        self._kept.append(task)

    def kill(self) -> None:
        """End the process at once; its kernel closes what it had open."""
        process = self.process
        if process is None or process.dead:
            return
        self.note(self.name, "dead", process.name)
        self.loop.kill(process)
        self.listening = False
        self.network.ended(process)
        for exchange in list(self.open):
            self.finish(exchange, "lost")

    def terminate(self) -> None:
        """Leave in order, as the server does on SIGTERM."""
        process = self.process
        if process is None or process.dead or self.node is None:
            return
        self.note(self.name, "SIGTERM", process.name)
        self.leaving = True
        self.loop.soon(process, lambda: self._keep(asyncio.ensure_future(self._leave(process))))

    async def _leave(self, process: Process) -> None:
        node = self.node
        assert node is not None
        await node.hand_over()
        await asyncio.sleep(LINGER)
        self.listening = False
        deadline = self.loop.time() + DRAINING
        while self.open and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
        await node.stop()
        self.loop.at(0.0, lambda: self.kill() if self.process is process else None)

    # Requests --------------------------------------------------------------------------------

    def takes_connections(self) -> bool:
        return self.running and self.listening

    def request(self, source: str, raw: RawRequest) -> Exchange:
        """Send a request; refused where nobody listens.

        A partition keeps new connections from being made, and what is sent over an old one from
        arriving, until it is over: maybe long after its client gave up.
        """
        exchange = Exchange(self.loop.create_future())
        after = self.network.trip()
        if not self.network.reaches(source, self.name):
            if self.network.chance.random() < 0.5:
                self.loop.at(CONNECTING, _settle, exchange.result, "unconnected")
                return exchange
            after += self.network.blocked[source, self.name] - self.loop.now
        self.loop.at(after, self._arrive, source, raw, exchange, self.process)
        return exchange

    def _arrive(self, source: str, raw: RawRequest, exchange: Exchange, process: Process | None) -> None:
        if not self.takes_connections() or self.process is not process:
            if self.running or self.network.answers_for_the_dead(self.name):
                self.finish(exchange, "refused", source)
            else:
                self.loop.at(CONNECTING, _settle, exchange.result, "unconnected")
            return
        self.open.add(exchange)
        exchange.arrived = True
        assert self.process is not None
        self.loop.soon(self.process, self._serve, source, raw, exchange)

    def _serve(self, source: str, raw: RawRequest, exchange: Exchange) -> None:
        self.inbound = self.loop.time()
        exchange.task = asyncio.ensure_future(self._answer(source, raw, exchange))

    async def _answer(self, source: str, raw: RawRequest, exchange: Exchange) -> None:
        try:
            answer = await self.gate.answer(raw)
        except asyncio.CancelledError:
            self.open.discard(exchange)
            raise
        self.finish(exchange, answer, source)

    def finish(self, exchange: Exchange, result: RawResponse | str, source: str = "") -> None:
        self.open.discard(exchange)
        if not source or self.network.reaches(self.name, source):
            self.loop.at(self.network.trip(), _settle, exchange.result, result)

    def hang_up(self, exchange: Exchange) -> None:
        """Let the node notice that its client has gone."""
        if exchange.task is not None and self.process is not None:
            self.loop.soon(self.process, exchange.task.cancel)

    def check(self, source: str) -> None:
        """Be asked for its health: whatever the answer is, somebody reached this node."""
        self.inbound = self.loop.now * self.rate


def _settle(result: "asyncio.Future[Any]", value: Any) -> None:
    if not result.done():
        result.set_result(value)
