import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from haven.ha.parking import RELEASED_AT_ONCE, ParkingFull, ParkingLimits, ParkingLot, ParkingTimeout
from haven.telemetry import Telemetry


class HandClock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


class Signal:
    """A change that wakes everybody who waits, in the order that a test chooses."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.asked: list[float] = []

    async def changed(self, seconds: float) -> bool:
        self.asked.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future
        return True

    def fire(self, order: Callable[[list[Any]], Any] = list) -> None:
        for future in order(self.waiting):
            future.set_result(None)
        self.waiting = []


def lot_of(clock: HandClock, telemetry: Telemetry | None = None, **limits: Any) -> ParkingLot:
    return ParkingLot(ParkingLimits(**limits), clock, telemetry or Telemetry())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def park(lot: ParkingLot, signal: Signal, released: list[str], name: str = "", size: int = 1) -> Any:
    async def request() -> None:
        async with lot.place(size) as place:
            await place.wait(signal.changed)
            released.append(name)

    work: Coroutine[Any, Any, None] = request()
    return asyncio.create_task(work)


async def test_place_is_taken_at_the_first_wait_and_free_afterwards() -> None:
    lot, signal = lot_of(HandClock()), Signal()
    async with lot.place(10):
        assert lot.count == 0
    task = park(lot, signal, [])
    await until(lambda: lot.count == 1)
    signal.fire()
    await task
    assert lot.count == 0


async def test_one_change_releases_in_order_of_arrival_whatever_order_it_wakes_them_in() -> None:
    lot, signal, released = lot_of(HandClock()), Signal(), list[str]()
    tasks = [park(lot, signal, released, str(number)) for number in range(5)]
    await until(lambda: len(signal.waiting) == 5)
    signal.fire(order=lambda waiting: list(reversed(waiting)))
    await asyncio.gather(*tasks)
    assert released == ["0", "1", "2", "3", "4"]


async def test_a_change_that_wakes_many_lets_others_in_between() -> None:
    lot, signal, released = lot_of(HandClock()), Signal(), list[str]()
    tasks = [park(lot, signal, released, str(number)) for number in range(5 * RELEASED_AT_ONCE)]
    await until(lambda: len(signal.waiting) == len(tasks))
    signal.fire(order=lambda waiting: list(reversed(waiting)))
    seen = []
    while len(released) < len(tasks):
        await asyncio.sleep(0)
        seen.append(len(released))
    steps = [after - before for before, after in pairwise([0, *seen])]
    assert max(steps) <= RELEASED_AT_ONCE
    assert released == [str(number) for number in range(len(tasks))]
    await asyncio.gather(*tasks)


async def test_too_many_requests_are_refused_and_the_parked_ones_stay() -> None:
    lot, signal = lot_of(HandClock(), requests=1), Signal()
    first = park(lot, signal, [])
    await until(lambda: lot.count == 1)
    with pytest.raises(ParkingFull):
        await park(lot, signal, [])
    assert lot.count == 1
    signal.fire()
    await first


async def test_too_many_bytes_are_refused_and_room_comes_back() -> None:
    lot, signal = lot_of(HandClock(), bytes=100), Signal()
    first = park(lot, signal, [], size=60)
    await until(lambda: lot.count == 1)
    with pytest.raises(ParkingFull):
        await park(lot, signal, [], size=41)
    signal.fire()
    await first
    second = park(lot, signal, [], size=100)
    await until(lambda: lot.count == 1)
    signal.fire()
    await second


async def test_time_counts_from_the_first_wait_over_all_waits() -> None:
    clock, signal = HandClock(), Signal()
    lot = lot_of(clock, seconds=10.0)

    async def request() -> None:
        async with lot.place(1) as place:
            while True:
                await place.wait(signal.changed)

    task = asyncio.create_task(request())
    await until(lambda: len(signal.waiting) == 1)
    clock.time += 4
    signal.fire()
    await until(lambda: len(signal.waiting) == 1)
    assert signal.asked == [10.0, pytest.approx(6.0)]
    clock.time += 6
    signal.fire()
    with pytest.raises(ParkingTimeout):
        await task
    assert lot.count == 0


async def test_client_that_goes_away_frees_its_place() -> None:
    lot, signal = lot_of(HandClock()), Signal()
    gone, stays = park(lot, signal, []), park(lot, signal, [])
    await until(lambda: len(signal.waiting) == 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert lot.count == 1
    signal.waiting = signal.waiting[1:]
    signal.fire()
    await stays


async def test_outcomes_are_counted_once_each() -> None:
    telemetry, clock, signal = Telemetry(), HandClock(), Signal()
    lot = lot_of(clock, telemetry, requests=1, seconds=5.0)
    task = park(lot, signal, [])
    await until(lambda: lot.count == 1)
    with pytest.raises(ParkingFull):
        await park(lot, signal, [])
    clock.time += 2
    signal.fire()
    await task

    def counted(outcome: str) -> float | None:
        return telemetry.registry.get_sample_value("haven_parked_wait_seconds_count", {"outcome": outcome})

    assert (counted("released"), counted("full"), counted("timeout")) == (1.0, 1.0, None)
    assert telemetry.registry.get_sample_value("haven_parked_requests") == 0.0
