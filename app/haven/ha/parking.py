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
from haven.telemetry import Telemetry

RELEASED_AT_ONCE = 8
"""So many requests go on in one turn of the loop: a thousand would keep a health check waiting for long."""


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
    """Where requests wait. Those that one change wakes go on in the order in which they came."""

    def __init__(self, limits: ParkingLimits, clock: Clock, telemetry: Telemetry) -> None:
        self._limits = limits
        self._clock = clock
        self._telemetry = telemetry
        self._tickets = 0
        self._count = 0
        self._bytes = 0
        self._woken: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def count(self) -> int:
        """Tell how many requests are parked."""
        return self._count

    @asynccontextmanager
    async def place(self, size: int) -> AsyncIterator["Place"]:
        """Offer a place to a request of `size` bytes; it is taken at the first `wait`, free at the end."""
        place = Place(self, size)
        try:
            yield place
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

    async def _turn(self, ticket: int) -> None:
        """Let those who came earlier and were woken by the same change go first."""
        loop = asyncio.get_running_loop()
        if not self._woken:
            loop.call_soon(self._release)
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._woken, (ticket, turn))
        await turn

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

    async def wait(self, changed: Callable[[float], Awaitable[bool]]) -> bool:
        """Wait for `changed(seconds)`, then for this request's turn: now it is worth another try.

        Returns what `changed` did. The time allowed counts from the first call.
        Raises `ParkingFull` or `ParkingTimeout`.
        """
        if not self.ticket:
            self._lot._take(self)
        rung = await changed(self._lot._remaining(self))
        self._lot._remaining(self)
        await self._lot._turn(self.ticket)
        return rung
