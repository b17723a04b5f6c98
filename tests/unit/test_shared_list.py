import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from haven.errors import Unavailable
from haven.storage.shared_list import AT_ONCE, SharedList


class SlowStorage:
    """A storage whose lists end when a test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, asyncio.Future[list[str]]]] = []

    async def list(self, prefix: str) -> list[str]:
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.calls.append((prefix, future))
        return await future


def lists() -> tuple[Any, SharedList]:
    storage = SlowStorage()
    return storage, SharedList(storage)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_lists_that_are_asked_for_during_one_share_the_next() -> None:
    storage, shared = lists()
    first = asyncio.create_task(shared.names("a/"))
    await until(lambda: len(storage.calls) == 1)
    later = [asyncio.create_task(shared.names("a/")) for _ in range(8)]
    await settle()
    assert len(storage.calls) == 1
    storage.calls[0][1].set_result(["old"])
    assert await first == ["old"]
    await until(lambda: len(storage.calls) == 2)
    storage.calls[1][1].set_result(["old", "new"])
    assert await asyncio.gather(*later) == [["old", "new"]] * 8
    assert len(storage.calls) == 2


async def test_a_list_never_shares_a_call_that_began_before_it_was_asked_for() -> None:
    storage, shared = lists()
    first = asyncio.create_task(shared.names("a/"))
    await until(lambda: len(storage.calls) == 1)
    second = asyncio.create_task(shared.names("a/"))
    await settle()
    storage.calls[0][1].set_result([])
    await until(lambda: len(storage.calls) == 2)
    third = asyncio.create_task(shared.names("a/"))
    await settle()
    storage.calls[1][1].set_result(["second"])
    assert await second == ["second"]
    await until(lambda: len(storage.calls) == 3)
    storage.calls[2][1].set_result(["third"])
    assert (await first, await third) == ([], ["third"])


async def test_few_prefixes_are_listed_at_once() -> None:
    storage, shared = lists()
    asked = [asyncio.create_task(shared.names(f"{number}/")) for number in range(AT_ONCE + 2)]
    await settle()
    assert len(storage.calls) == AT_ONCE
    for number in range(len(asked)):
        await until(lambda at=number: len(storage.calls) > at)  # type: ignore[misc]
        prefix, call = storage.calls[number]
        call.set_result([prefix])
    assert await asyncio.gather(*asked) == [[f"{number}/"] for number in range(len(asked))]


async def test_all_who_share_learn_of_a_failure_and_the_next_list_is_a_new_call() -> None:
    storage, shared = lists()
    asked = [asyncio.create_task(shared.names("a/")) for _ in range(2)]
    await until(lambda: len(storage.calls) == 1)
    storage.calls[0][1].set_exception(Unavailable("gone"))
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(failure) for failure in failures] == [Unavailable, Unavailable]
    again = asyncio.create_task(shared.names("a/"))
    await until(lambda: len(storage.calls) == 2)
    storage.calls[1][1].set_result(["b"])
    assert await again == ["b"]


async def test_a_client_that_leaves_does_not_take_the_list_from_others_and_gets_its_own_copy() -> None:
    storage, shared = lists()
    gone, stays, other = (asyncio.create_task(shared.names("a/")) for _ in range(3))
    await until(lambda: len(storage.calls) == 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    storage.calls[0][1].set_result(["b"])
    (await stays).append("changed")
    assert await other == ["b"]
