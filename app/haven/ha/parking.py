"""Requests that wait until some node may answer: bounded in number, bytes and time.

A parked request was surely not executed, so both refusals below are safe to repeat.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from haven.clock import Clock
from haven.errors import HavenError
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

RELEASED_AT_ONCE = 8
"""So many requests go on in one turn of the loop: a thousand would keep a health check waiting for long."""
FIRST_PAUSE = 0.02
LAST_PAUSE = 0.1
"""Seconds between two requests that are sent ahead: the holder may become able to answer unseen from here."""

Changed = Callable[[float], Awaitable[bool]]
"""Waits until who may answer may have changed, or for so many seconds; tells which."""


class ParkingRefused(HavenError):
    """The request may not wait (any longer); it was surely not executed."""


class ParkingFull(ParkingRefused):
    """Too many requests wait already, or too many bytes of them."""


class ParkingTimeout(ParkingRefused):
    """The request waited as long as it may."""


@dataclass(frozen=True, slots=True)
class ParkingLimits:
    """What may wait at once, on one node."""

    requests: int = 1024
    bytes: int = 32 * 1024 * 1024
    seconds: float = 10.0


class ParkingLot:
    """Where requests wait.

    All go on after a change, in the order in which they came. Meanwhile one after the other is sent ahead;
    the others follow once such a one was answered. So a thousand that wait cost no more than one.
    """

    def __init__(self, limits: ParkingLimits, clock: Clock, telemetry: Telemetry, tasks: TaskSet) -> None:
        self._limits = limits
        self._clock = clock
        self._telemetry = telemetry
        self._tasks = tasks
        self._tickets = 0
        self._count = 0
        self._bytes = 0
        self._pause = FIRST_PAUSE
        self._waiting: dict[Place, asyncio.Future[None]] = {}
        """In the order of their last tries."""
        self._woken: list[tuple[int, asyncio.Future[None]]] = []
        self._watching: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Tell how many requests are parked."""
        return self._count

    @asynccontextmanager
    async def place(self, size: int) -> AsyncIterator["Place"]:
        """Offer a place to a request of `size` bytes; it is taken at the first `wait`, free at the end.

        A block that ends without an error has answered the request.
        """
        place = Place(self, size)
        try:
            yield place
            if place.ahead:
                self._wake_all()
        except ParkingTimeout:
            self._free(place, "timeout")
            raise
        except asyncio.CancelledError:
            self._free(place, "cancelled")
            raise
        finally:
            self._free(place, "released")

    def _take(self, place: "Place") -> None:
        """Count the request in; raises `ParkingFull`."""
        if self._count >= self._limits.requests or self._bytes + place.size > self._limits.bytes:
            self._telemetry.parked("full", 0.0)
            raise ParkingFull("too many requests wait for an active node")
        self._tickets += 1
        self._count += 1
        self._bytes += place.size
        place.ticket = self._tickets
        place.since = self._clock.now()
        self._telemetry.parking(self._count)

    def _free(self, place: "Place", outcome: str) -> None:
        """Count the request out, once."""
        if not place.ticket:
            return
        place.ticket = 0
        self._count -= 1
        self._bytes -= place.size
        self._telemetry.parking(self._count)
        self._telemetry.parked(outcome, self._clock.now() - place.since)

    def _remaining(self, place: "Place") -> float:
        """Return the seconds that the request may still wait; raises `ParkingTimeout`."""
        seconds = place.since + self._limits.seconds - self._clock.now()
        if seconds <= 0:
            raise ParkingTimeout("no node became active in time")
        return seconds

    async def _wait(self, place: "Place", changed: Changed) -> None:
        """Wait for the place's turn; raises `ParkingTimeout`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = turn
        if self._watching is None or self._watching.done():
            self._watching = self._tasks.spawn("parking-watch", self._watch(changed), forever=False)
        try:
            async with asyncio.timeout(self._remaining(place)):
                await turn
        except TimeoutError:
            raise ParkingTimeout("no node became active in time") from None
        finally:
            self._waiting.pop(place, None)
        self._remaining(place)

    async def _watch(self, changed: Changed) -> None:
        """Let requests go on, as long as there are any."""
        while self._waiting:
            if await changed(self._pause):
                self._wake_all()
            elif self._waiting:
                self._pause = min(2 * self._pause, LAST_PAUSE)
                place = next(iter(self._waiting))
                place.ahead = True
                self._wake(place)

    def _wake_all(self) -> None:
        """Let all go on that wait now: there is a new reason to try."""
        self._pause = FIRST_PAUSE
        for place in tuple(self._waiting):
            place.ahead = False
            self._wake(place)

    def _wake(self, place: "Place") -> None:
        """Let one go on, after those woken with it that came earlier."""
        if not self._woken:
            asyncio.get_running_loop().call_soon(self._release)
        heapq.heappush(self._woken, (place.ticket, self._waiting.pop(place)))

    def _release(self) -> None:
        """Let the next ones go on, and the rest in the loop's next turn, after what has come in meanwhile."""
        for _ in range(min(RELEASED_AT_ONCE, len(self._woken))):
            _, turn = heapq.heappop(self._woken)
            if not turn.done():
                turn.set_result(None)
        if self._woken:
            asyncio.get_running_loop().call_soon(self._release)


class Place:
    """One request's place."""

    def __init__(self, lot: ParkingLot, size: int) -> None:
        self._lot = lot
        self.size = size
        self.ticket = 0
        self.since = 0.0
        self.ahead = False
        """Whether it goes on alone, to find out for all."""

    async def wait(self, changed: Changed) -> None:
        """Wait until it is worth another try; the time allowed counts from the first call.

        Raises `ParkingFull` or `ParkingTimeout`.
        """
        if not self.ticket:
            self._lot._take(self)
        await self._lot._wait(self, changed)
