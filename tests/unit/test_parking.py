import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from haven.ha.parking import (
    FIRST_PAUSE,
    LAST_PAUSE,
    RELEASED_AT_ONCE,
    ParkingFull,
    ParkingLimits,
    ParkingLot,
    ParkingTimeout,
)
from haven.tasks import TaskSet
from haven.telemetry import Telemetry


class HandClock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


class Signal:
    """What the lot watches: it ends when a test says so, with a change or because the time is over."""

    def __init__(self) -> None:
        self.watcher: asyncio.Future[bool] | None = None
        self.pauses: list[float] = []

    async def changed(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.watcher = asyncio.get_running_loop().create_future()
        return await self.watcher

    async def fire(self, rung: bool = True) -> None:
        await until(lambda: self.watcher is not None and not self.watcher.done())
        assert self.watcher
        self.watcher.set_result(rung)

    async def time_is_over(self) -> None:
        await self.fire(rung=False)


def lot_of(clock: HandClock, telemetry: Telemetry | None = None, **limits: Any) -> ParkingLot:
    return ParkingLot(ParkingLimits(**limits), clock, telemetry or Telemetry(), TaskSet(died=pytest.fail))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


def park(
    lot: ParkingLot, signal: Signal, tries: list[str], name: str = "", *, size: int = 1, waits: int = 1
) -> Any:
    """Park a request that is answered after so many waits."""

    async def request() -> None:
        async with lot.place(size) as place:
            for _ in range(waits):
                await place.wait(signal.changed)
                tries.append(name)

    work: Coroutine[Any, Any, None] = request()
    return asyncio.create_task(work)


async def test_place_is_taken_at_the_first_wait_and_free_afterwards() -> None:
    lot, signal = lot_of(HandClock()), Signal()
    async with lot.place(10):
        assert lot.count == 0
    task = park(lot, signal, [])
    await until(lambda: lot.count == 1)
    await signal.fire()
    await task
    assert lot.count == 0


async def test_a_change_releases_all_in_order_of_arrival_whatever_they_tried_since() -> None:
    lot, signal, tries = lot_of(HandClock()), Signal(), list[str]()
    tasks = [park(lot, signal, tries, str(number), waits=2) for number in range(5)]
    await until(lambda: lot.count == 5)
    await signal.time_is_over()
    await until(lambda: tries == ["0"])
    await signal.fire()
    await until(lambda: len(tries) == 6)
    assert tries[1:] == ["0", "1", "2", "3", "4"]
    await signal.fire()
    await asyncio.gather(*tasks)


async def test_a_change_that_wakes_many_lets_others_in_between() -> None:
    lot, signal, tries = lot_of(HandClock()), Signal(), list[str]()
    tasks = [park(lot, signal, tries, str(number)) for number in range(5 * RELEASED_AT_ONCE)]
    await until(lambda: lot.count == len(tasks))
    await signal.fire()
    seen = []
    while len(tries) < len(tasks):
        await asyncio.sleep(0)
        seen.append(len(tries))
    steps = [after - before for before, after in pairwise([0, *seen])]
    assert max(steps) <= RELEASED_AT_ONCE
    assert tries == [str(number) for number in range(len(tasks))]
    await asyncio.gather(*tasks)


async def test_without_a_change_one_after_the_other_is_sent_ahead_less_and_less_often() -> None:
    lot, signal, tries = lot_of(HandClock()), Signal(), list[str]()
    tasks = [park(lot, signal, tries, name, waits=9) for name in "abc"]
    await until(lambda: lot.count == 3)
    for _ in range(5):
        await signal.time_is_over()
        await settle()
    assert tries == ["a", "b", "c", "a", "b"]
    assert signal.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert signal.pauses[-1] == LAST_PAUSE
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await signal.time_is_over()


async def test_an_answer_to_one_sent_ahead_has_all_follow() -> None:
    lot, signal, tries = lot_of(HandClock()), Signal(), list[str]()
    tasks = [park(lot, signal, tries, name) for name in "abc"]
    await until(lambda: lot.count == 3)
    await signal.time_is_over()
    await asyncio.gather(*tasks)
    assert tries == ["a", "b", "c"]


async def test_an_answer_after_a_change_gives_no_new_reason_to_those_who_were_refused() -> None:
    lot, signal, tries = lot_of(HandClock()), Signal(), list[str]()
    answered, refused = park(lot, signal, tries, "a"), park(lot, signal, tries, "b", waits=2)
    await until(lambda: lot.count == 2)
    await signal.fire()
    await answered
    await settle()
    assert tries == ["a", "b"]
    await signal.fire()
    await refused


async def test_who_comes_after_the_lot_was_empty_is_watched_for_too() -> None:
    lot, signal = lot_of(HandClock()), Signal()
    for _ in range(2):
        task = park(lot, signal, [])
        await signal.fire()
        await task


async def test_too_many_requests_are_refused_and_the_parked_ones_stay() -> None:
    lot, signal = lot_of(HandClock(), requests=1), Signal()
    first = park(lot, signal, [])
    await until(lambda: lot.count == 1)
    with pytest.raises(ParkingFull):
        await park(lot, signal, [])
    assert lot.count == 1
    await signal.fire()
    await first


async def test_too_many_bytes_are_refused_and_room_comes_back() -> None:
    lot, signal = lot_of(HandClock(), bytes=100), Signal()
    first = park(lot, signal, [], size=60)
    await until(lambda: lot.count == 1)
    with pytest.raises(ParkingFull):
        await park(lot, signal, [], size=41)
    await signal.fire()
    await first
    second = park(lot, signal, [], size=100)
    await until(lambda: lot.count == 1)
    await signal.fire()
    await second


async def test_time_counts_from_the_first_wait_over_all_waits() -> None:
    clock, signal, tries = HandClock(), Signal(), list[str]()
    lot = lot_of(clock, seconds=10.0)
    task = park(lot, signal, tries, waits=3)
    await until(lambda: lot.count == 1)
    clock.time += 4
    await signal.fire()
    await until(lambda: len(tries) == 1)
    clock.time += 6
    await signal.fire()
    with pytest.raises(ParkingTimeout):
        await task
    assert (lot.count, len(tries)) == (0, 1)


async def test_the_time_is_over_though_nothing_changes() -> None:
    lot, signal = lot_of(HandClock(), seconds=0.01), Signal()
    with pytest.raises(ParkingTimeout):
        await park(lot, signal, [])
    assert lot.count == 0
    await signal.time_is_over()


async def test_client_that_goes_away_frees_its_place() -> None:
    lot, signal, tries = lot_of(HandClock()), Signal(), list[str]()
    gone, stays = park(lot, signal, tries, "gone"), park(lot, signal, tries, "stays")
    await until(lambda: lot.count == 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert lot.count == 1
    await signal.time_is_over()
    await stays
    assert tries == ["stays"]


async def test_outcomes_are_counted_once_each() -> None:
    telemetry, clock, signal = Telemetry(), HandClock(), Signal()
    lot = lot_of(clock, telemetry, requests=1, seconds=5.0)
    task = park(lot, signal, [])
    await until(lambda: lot.count == 1)
    with pytest.raises(ParkingFull):
        await park(lot, signal, [])
    clock.time += 2
    await signal.fire()
    await task

    def counted(outcome: str) -> float | None:
        return telemetry.registry.get_sample_value("haven_parked_wait_seconds_count", {"outcome": outcome})

    assert (counted("released"), counted("full"), counted("timeout")) == (1.0, 1.0, None)
    assert telemetry.registry.get_sample_value("haven_parked_requests") == 0.0
