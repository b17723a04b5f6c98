"""Three whole nodes, Consul, HAProxy and clients in virtual time, and the promises that always hold."""

import asyncio
import gc
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

from haven import unsealed
from haven.barrier.seals import SealConfiguration
from haven.core.bootstrap import initial_entries
from haven.core.core import Core
from haven.ha.driver import Member
from haven.ha.messages import Event
from haven.ha.timing import Timing
from haven.storage.active import ActiveStore, Phase
from haven.storage.base import Operation, Put
from haven.storage.memory import MemoryStorage
from virtual.clients import Workload
from virtual.consul import Service
from virtual.entrance import Entrance
from virtual.host import SEAL_KEY, Host, HostClock
from virtual.loop import PROCESS, START, Loop, Process
from virtual.network import Network
from virtual.outages import Outages

CALM = 1.5
"""Seconds after which a node has recovered from what strikes gently."""
QUIET = {"Beat", "PassAnswered", "LockRead", "LockHint", "ChecksRead", "LinksHeard", "Isolated"}


class Violation(AssertionError):
    """A promise was broken; the text is what and when, `trace` the whole story, the notes its end."""

    def __init__(self, text: str, trace: list[str]) -> None:
        super().__init__(text)
        self.trace = trace


class World:
    """Everything there is."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.loop = Loop()
        self.loop.set_exception_handler(self._failed)
        self.random = random.Random(seed)
        self.network = Network(self.loop, self.random)
        self.service = Service(self.loop, self.network, self.random, Timing().check_ttl)
        self.service.on_commit = self._committed
        values, self.token = new_cluster()
        self.service.values.update(values)
        self.hosts = [
            Host(self.service, f"n{number + 1}", number, self.random.uniform(0.98, 1.02), self.note)
            for number in range(3)
        ]
        for host in self.hosts:
            host.on_died = lambda name, host=host: self.violate(f"{host.name}: {name} died")
        self.entrance = Entrance(self.loop, self.network, self.hosts, self.random)
        self.workload = Workload(self.loop, self.entrance, self.hosts, self.token, self.random)
        self.trace: list[str] = []
        self.members: dict[Process, Member] = {}
        self.holders: list[str] = []
        self.broken = ""
        self._tasks: list[asyncio.Task[Any]] = []
        self.moments: list[Callable[[str, str, str], None]] = []
        self.dark = Outages(START)
        """When nobody might answer."""
        self.closed = Outages(START)
        """When no node was unsealed."""
        self.gentle = False
        """Whether only what must neither change the leader nor leave a write unknown goes wrong."""
        self.harmed: list[float] = []
        """When a node was killed, paused, cut off or deposed by hand."""
        self.troubled: list[float] = []
        """When something else went wrong that no single write may suffer from."""
        self.calm_at = 0.0

    # The trace -------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.trace.append(f"{self.loop.now - START:9.4f} {text}")

    def note(self, host: str, what: str, text: str) -> None:
        self.say(f"{host} {what} {text}")
        if what in {"dead", "paused", "runs again"}:
            self.loop.at(0.0, self.look)
        for moment in self.moments:
            moment(host, what, text)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task that nobody else waits for."""
        self._tasks.append(task)

    def harm(self) -> None:
        """Note that what strikes now may by itself leave a write unknown."""
        self.harmed.append(self.loop.now)

    def trouble(self) -> None:
        """Note that what strikes now may do so together with another fault."""
        self.troubled.append(self.loop.now)
        self.calm_at = self.loop.now + CALM

    def excused(self, since: float, until: float) -> bool:
        """Tell whether what went wrong between two moments may have left a write unknown."""
        troubles = sum(since < moment < until for moment in self.troubled)
        return troubles > 1 or any(since < moment < until for moment in self.harmed)

    def violate(self, text: str) -> None:
        """Note the first broken promise, and stop."""
        if not self.broken:
            self.broken = text
            self.say(f"VIOLATION {text}")
            self.loop.stop()

    def _failed(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message", ""))
        if "never retrieved" in message or "was destroyed" in message:
            return
        self.violate(f"{message}: {error!r}")

    # Promises --------------------------------------------------------------------------------

    def took_a_step(self, member: Member, event: Event, before: Any) -> None:
        """Look at a node that took a step of the protocol, and when it may answer next."""
        process = PROCESS.get()
        assert process is not None
        self.members[process] = member
        after = member._state
        old, new = before.tenure, after.tenure
        kind = type(event).__name__
        if (
            kind not in QUIET
            or (old and new and old.term) != (new and new.term)
            or before.doubt != after.doubt
        ):
            tenure = f"term {new.term} {new.session}" if new else "standby"
            self.note(process.host, kind, f"-> {tenure}{' in doubt' if after.doubt else ''}")
        if new is not None and (old is None or old.reign != new.reign):
            self.holders.append(process.host)
        if new is not None and new is not old:
            for moment in (new.answers_from, new.lease.until):
                if moment > self.loop.now * process.rate:
                    self.loop.at(moment / process.rate - self.loop.now + 1e-6, self.look)
        if new is not None or old is not None:
            self.look()

    def member(self, host: Host) -> Member | None:
        """Return the part that a node's process plays in the protocol, if it has begun to."""
        process = host.process
        return self.members.get(process) if process is not None and not process.dead else None

    def serving(self) -> list[Host]:
        """Return the nodes that may answer now."""
        found = []
        for host in self.hosts:
            member = self.member(host)
            if member is not None and member._running and member._state.may_read(self.loop.now * host.rate):
                found.append(host)
        return found

    def look(self) -> None:
        """Check that at most one node may answer, and note for how long none might."""
        serving, now = self.serving(), self.loop.now
        if len(serving) > 1:
            self.violate(f"{[host.name for host in serving]} may both answer")
        self.dark.note(any(host.process and now >= host.process.paused_until for host in serving), now)
        members = (self.member(host) for host in self.hosts)
        self.closed.note(any(member is not None and member._running for member in members), now)

    def active(self) -> Host | None:
        """Return the node that may answer now."""
        serving = self.serving()
        return serving[0] if serving else None

    def _committed(self, operations: Sequence[Operation]) -> None:
        """Check that no version of a secret is stored without its metadata."""
        keys = {operation.key for operation in operations}
        for operation in operations:
            folder, data, rest = operation.key.partition("/data/")
            metadata = f"{folder}/metadata/{rest.partition('/')[2]}"
            if isinstance(operation, Put) and data and metadata not in keys:
                self.violate(f"torn commit of {operation.key}")

    # Running ---------------------------------------------------------------------------------

    def run(self, main: Callable[[], Any]) -> None:
        """Run to the end of `main` in virtual time; raises `Violation`."""

        async def whole() -> None:
            await main()
            self.loop.stop()

        gc.disable()
        with _watching(self):
            task = self.loop.create_task(whole())
            try:
                self.loop.run_forever()
                if not self.broken and task.done() and not task.cancelled() and task.exception():
                    raise task.exception()  # type: ignore[misc]
            except RuntimeError as error:
                self.violate(str(error))
            finally:
                _put_away(self.loop)
                gc.enable()
        if self.broken:
            raise self.violation()

    def violation(self) -> Violation:
        broken = Violation(f"seed {self.seed}: {self.broken}", self.trace)
        broken.add_note("\n".join(self.trace[-60:]))
        broken.add_note(f"replay: cd tests && python -m virtual.replay {self.seed}")
        return broken


class _Watched(Member):
    """A member that lets the world look after each step."""

    world: World

    def _feed(self, event: Event) -> None:
        before = self._state
        super()._feed(event)
        self.world.took_a_step(self, event, before)


class _WatchedStore(ActiveStore):
    """A store that tells the world of a value given away without the right to."""

    world: World

    async def get(self, key: str) -> bytes | None:
        preparing = self._phase is Phase.PREPARING
        value = await super().get(key)
        process = PROCESS.get()
        if not preparing and process is not None:
            member = self.world.members.get(process)
            if member is None or not member._state.may_read(self.world.loop.now * process.rate):
                self.world.violate(f"{process.host} read {key} and no longer held its lease")
        return value


def _watching(world: World) -> Any:
    watched = type("Watched", (_Watched,), {"world": world})
    counter = iter(range(1, 1000))
    ids = SimpleNamespace(token_hex=lambda _: f"{PROCESS.get().host}u{next(counter)}")  # type: ignore[union-attr]
    stack = ExitStack()
    stack.enter_context(patch("haven.ha.cluster.Member", watched))
    stack.enter_context(patch("haven.unsealed.secrets", ids))
    store = type("WatchedStore", (_WatchedStore,), {"world": world})
    if unsealed.ActiveStore is ActiveStore:  # a mutant may have put another one there
        stack.enter_context(patch("haven.unsealed.ActiveStore", store))
    return stack


def _put_away(loop: Loop) -> None:
    """Close what still waits, here and not at some later collection of garbage."""
    asyncio._set_running_loop(loop)
    loop.set_exception_handler(lambda *_: None)
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        with suppress(BaseException):
            task.get_coro().close()
    asyncio._set_running_loop(None)
    loop._timers.clear()
    loop._ready.clear()
    loop.close()


@cache
def new_cluster() -> tuple[dict[str, bytes], str]:
    """Initialise a cluster once, the same in every process; return what is stored, and the root token."""
    chance = random.Random(0)

    async def initialise() -> tuple[dict[str, bytes], str]:
        storage = MemoryStorage()
        loop = Loop()
        core = Core(storage, SealConfiguration.static(SEAL_KEY), HostClock(loop, 1.0), initial_entries)
        loop.close()
        answer = await core.initialize({})
        return dict(storage._values), str(answer["root_token"])

    with ExitStack() as stack:
        stack.enter_context(patch("secrets.token_bytes", chance.randbytes))
        stack.enter_context(patch("secrets.choice", chance.choice))
        stack.enter_context(patch("uuid.uuid4", lambda: UUID(bytes=chance.randbytes(16), version=4)))
        return asyncio.run(initialise())
