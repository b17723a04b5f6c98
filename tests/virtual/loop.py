"""Several processes on one event loop in virtual time, one step after another; the same each time.

Each callback belongs to the process in whose context it was scheduled. A process can be paused
between any two steps, or killed there; each has a clock of its own rate.
"""

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

START = 1000.0
EPSILON = 1e-7
"""A timer fires this much late (true seconds): its process's clock is then surely past it."""
LIVELOCK = 50_000
"""Steps without any time between them that only a busy loop takes."""

PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)


class Process:
    """One operating-system process: its clock's rate, and whether it runs."""

    def __init__(self, host: str, name: str, rate: float) -> None:
        self.host, self.name, self.rate = host, name, rate
        self.dead = False
        self.paused_until = 0.0
        self.held: list[asyncio.Handle] = []
        self.runs = 0
        self.armed: tuple[int, Callable[[], None]] | None = None
        """A number of steps, and what happens right before the step after them."""
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)


class Task(asyncio.Task[Any]):
    """A task whose hash is its number, so that a set of tasks has the same order in each run."""

    def __init__(self, coro: Any, *, loop: "Loop", **rest: Any) -> None:
        loop._count += 1
        self._number = loop._count
        super().__init__(coro, loop=loop, **rest)

    def __hash__(self) -> int:
        return self._number


class Loop(asyncio.BaseEventLoop):
    """Runs what is ready, one callback at a time; where nothing is, time jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.steps = 0
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._count = 0
        self._base = copy_context()
        self.dial: Callable[..., None] | None = None
        self.listen: Callable[..., Any] | None = None
        self.set_task_factory(lambda loop, coro, **rest: Task(coro, loop=loop, **rest))  # type: ignore[arg-type]

    def time(self) -> float:
        process = PROCESS.get()
        return self.now if process is None else self.now * process.rate

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        process = PROCESS.get()
        true = when if process is None else when / process.rate
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._push(true + EPSILON, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def at(self, delay: float, what: Callable[..., Any], *args: Any, of: Process | None = None) -> None:
        """Have something happen after so many true seconds: in the world, or inside a process."""
        context = self._base if of is None else of.context
        self._push(self.now + delay, asyncio.Handle(what, args, self, context))

    def _push(self, when: float, handle: asyncio.Handle) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))

    def soon(self, process: Process, what: Callable[..., Any], *args: Any) -> None:
        """Have a process do something now, if it runs."""
        self._ready.append(asyncio.Handle(what, args, self, process.context))

    # Processes -------------------------------------------------------------------------------

    def pause(self, process: Process, seconds: float) -> None:
        """Stop a process for so long; what comes meanwhile waits for it."""
        until = self.now + seconds
        if process.dead or until <= process.paused_until:
            return
        process.paused_until = until
        self.at(seconds, self._resume, process)

    def _resume(self, process: Process) -> None:
        if process.dead or self.now < process.paused_until:
            return
        held, process.held = process.held, []
        self._ready.extendleft(reversed(held))

    def kill(self, process: Process) -> None:
        process.dead = True
        process.held.clear()

    # Running ---------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        idle = 0
        while not self._stopping:
            if not ready:
                if not timers:
                    raise RuntimeError("everything waits and no timer runs: this would hang")
                when, _, handle = heapq.heappop(timers)
                if handle._cancelled:
                    continue
                if when > self.now:
                    self.now, idle = when, 0
            else:
                handle = ready.popleft()
                if handle._cancelled:
                    continue
            idle += 1
            if idle > LIVELOCK:
                raise RuntimeError(f"busy loop: {handle!r}")
            process = handle._context.get(PROCESS)
            if process is not None and not self._runs(process, handle):
                continue
            self.steps += 1
            handle._run()

    def _runs(self, process: Process, handle: asyncio.Handle) -> bool:
        """Tell whether a process takes this step now; it may be stopped right before it."""
        if process.dead:
            return False
        process.runs += 1
        if process.armed is not None and process.runs >= process.armed[0]:
            act = process.armed[1]
            process.armed = None
            self._base.run(act)
            if process.dead:
                return False
        if self.now < process.paused_until:
            process.held.append(handle)
            return False
        return True

    def _write_to_self(self) -> None:
        pass

    # Streams ---------------------------------------------------------------------------------

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        assert self.dial is not None
        connected: asyncio.Future[Any] = self.create_future()
        self.dial(PROCESS.get(), host, port, protocol_factory, connected)
        return await connected

    async def create_server(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        assert self.listen is not None
        return self.listen(PROCESS.get(), port, protocol_factory)
