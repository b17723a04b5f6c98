"""Reads that arrive together share a call, and each gets its own answer."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from haven.errors import Unavailable
from haven.storage.base import Fence, Limits, Operation
from haven.storage.group_read import MOST_KEYS, GroupRead


class GatedStorage:
    """Keeps each call until it is let through; every key's value is its name."""

    def __init__(self) -> None:
        self.limits = Limits(63, 1000, 10_000)
        self.calls: list[tuple[str, ...]] = []
        self.gates: list[asyncio.Future[None]] = []

    async def get(self, key: str) -> bytes | None:
        return (await self._pass((key,)))[key]

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        return await self._pass(tuple(keys))

    async def _pass(self, keys: tuple[str, ...]) -> dict[str, bytes | None]:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.append(keys)
        self.gates.append(gate)
        await gate
        return {key: None if key == "absent" else key.encode() for key in keys}

    async def list(self, prefix: str) -> list[str]:
        raise AssertionError("nothing lists here")

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        raise AssertionError("nothing writes here")

    async def close(self) -> None:
        return None


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_read_goes_at_once_and_the_rest_gathers() -> None:
    storage = GatedStorage()
    reads = GroupRead(storage, lanes=1)
    tasks = [asyncio.create_task(reads.get(key)) for key in ("a", "b", "absent", "b")]
    await settle()
    assert storage.calls == [("a",)]
    storage.gates[0].set_result(None)
    await settle()
    assert storage.calls == [("a",), ("b", "absent")]
    storage.gates[1].set_result(None)
    assert await asyncio.gather(*tasks) == [b"a", b"b", None, b"b"]


async def test_a_call_takes_no_more_than_a_transaction_does() -> None:
    storage = GatedStorage()
    reads = GroupRead(storage, lanes=2)
    tasks = [asyncio.create_task(reads.get(str(number))) for number in range(MOST_KEYS + 10)]
    await settle()
    for gate in list(storage.gates):
        gate.set_result(None)
    await settle()
    assert [len(call) for call in storage.calls] == [1, 1, MOST_KEYS, 8]
    for gate in storage.gates[2:]:
        gate.set_result(None)
    assert await asyncio.gather(*tasks) == [str(number).encode() for number in range(MOST_KEYS + 10)]


async def test_a_failed_call_fails_its_own_reads_only() -> None:
    storage = GatedStorage()
    reads = GroupRead(storage, lanes=1)
    tasks = [asyncio.create_task(reads.get(key)) for key in "abc"]
    await settle()
    storage.gates[0].set_exception(Unavailable("no answer"))
    await settle()
    with pytest.raises(Unavailable):
        await tasks[0]
    storage.gates[1].set_result(None)
    assert [await tasks[1], await tasks[2]] == [b"b", b"c"]


async def test_a_reader_that_gave_up_is_in_nobody_s_way() -> None:
    storage = GatedStorage()
    reads = GroupRead(storage, lanes=1)
    tasks = [asyncio.create_task(reads.get(key)) for key in "abc"]
    await settle()
    tasks[0].cancel()
    tasks[1].cancel()
    storage.gates[0].set_result(None)
    await settle()
    storage.gates[1].set_result(None)
    assert await tasks[2] == b"c"
