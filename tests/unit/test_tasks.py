"""Background tasks that die are seen; work outlives whoever waits for it."""

import asyncio
import logging

import pytest

from haven.tasks import TaskSet

PATIENCE = 60


class Deaths:
    """Collect what a task set reports."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.seen = asyncio.Event()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self.seen.set()


async def fails() -> None:
    raise KeyError("hvs.secretsecretsecret")


async def returns() -> None:
    return None


async def test_a_task_that_raises_is_logged_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    deaths = Deaths()
    with caplog.at_level(logging.CRITICAL):
        TaskSet(deaths).spawn("heartbeat", fails())
        await asyncio.wait_for(deaths.seen.wait(), PATIENCE)
    assert deaths.names == ["heartbeat"]
    assert "background task died task=heartbeat" in caplog.text


async def test_a_task_meant_to_go_on_may_not_return() -> None:
    deaths = Deaths()
    TaskSet(deaths).spawn("watch", returns())
    await asyncio.wait_for(deaths.seen.wait(), PATIENCE)
    assert deaths.names == ["watch"]


async def test_a_task_cancelled_by_a_stranger_is_a_death() -> None:
    deaths = Deaths()
    TaskSet(deaths).spawn("watch", asyncio.Event().wait()).cancel()  # type: ignore[arg-type]
    await asyncio.wait_for(deaths.seen.wait(), PATIENCE)
    assert deaths.names == ["watch"]


async def test_a_finite_task_may_return_and_stopping_is_no_death() -> None:
    deaths = Deaths()
    tasks = TaskSet(deaths)
    await tasks.spawn("load", returns(), forever=False)
    running = tasks.spawn("watch", asyncio.Event().wait())  # type: ignore[arg-type]
    await tasks.stop()
    await asyncio.sleep(0)
    assert running.cancelled()
    assert deaths.names == []


async def test_stopping_from_within_a_task_does_not_wait_for_itself() -> None:
    deaths = Deaths()
    tasks = TaskSet(deaths)
    done = asyncio.Event()

    async def stops() -> None:
        await tasks.stop()
        done.set()

    tasks.spawn("stops", stops(), forever=False)
    await asyncio.wait_for(done.wait(), PATIENCE)


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    tasks = TaskSet(Deaths())
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    caller = asyncio.create_task(tasks.shield(work()))
    while not tasks.working:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not await tasks.drain(0.01)
    go.set()
    assert await tasks.drain(PATIENCE)
    assert done.is_set()
    assert tasks.working == 0


async def test_work_returns_its_result_and_raises_its_error() -> None:
    tasks = TaskSet(Deaths())

    async def answer() -> int:
        return 7

    assert await tasks.shield(answer()) == 7
    with pytest.raises(KeyError):
        await tasks.shield(fails())
    assert await tasks.drain(0)
