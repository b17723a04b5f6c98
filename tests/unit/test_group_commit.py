import asyncio
from collections.abc import Mapping, Sequence

import pytest

from haven.errors import Fenced, NotApplied, OutcomeUnknown, ValueTooLarge
from haven.storage.base import Delete, Fence, Limits, Operation, Put, PutIfAbsent
from haven.storage.group_commit import OPERATION_OVERHEAD, GroupCommit
from haven.telemetry import Telemetry

FENCE = Fence("core/lock", "s1")


class GatedStorage:
    """Holds every transaction until it is let go, and remembers what each held."""

    def __init__(self) -> None:
        self.limits = Limits(operations=4, value_bytes=100, commit_bytes=4000)
        self.sent: list[Sequence[Operation]] = []
        self.gates: list[asyncio.Future[None]] = []

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        self.sent.append(list(operations))
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    async def get(self, key: str) -> bytes | None:
        raise AssertionError("nothing reads here")

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        raise AssertionError("nothing reads here")

    async def list(self, prefix: str) -> list[str]:
        raise AssertionError("nothing lists here")

    async def close(self) -> None:
        return None


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def start(group: GroupCommit, *operations: Operation, fence: Fence = FENCE) -> "asyncio.Task[None]":
    return asyncio.create_task(group.commit(operations, fence))


async def test_a_lone_write_is_sent_at_once_and_the_rest_gathers() -> None:
    storage = GatedStorage()
    group = GroupCommit(storage, Telemetry(), lanes=1)
    tasks = [start(group, Put(key, b"1")) for key in "abcdefg"]
    await settle()
    assert storage.sent == [[Put("a", b"1")]]
    storage.gates[0].set_result(None)
    await settle()
    assert storage.sent[1] == [Put(key, b"1") for key in "bcde"]
    storage.gates[1].set_result(None)
    await settle()
    storage.gates[2].set_result(None)
    await asyncio.gather(*tasks)


async def test_writes_of_one_key_never_overtake_and_never_share_the_air() -> None:
    storage = GatedStorage()
    group = GroupCommit(storage, Telemetry(), lanes=2)
    tasks = [start(group, Put("a", b"1")), start(group, Put("a", b"2"), Put("b", b"2"))]
    tasks.append(start(group, Put("b", b"3")))
    await settle()
    assert storage.sent == [[Put("a", b"1")]], "b=3 came after b=2, which waits for a"
    storage.gates[0].set_result(None)
    await settle()
    storage.gates[1].set_result(None)
    await settle()
    storage.gates[2].set_result(None)
    await asyncio.gather(*tasks)
    assert storage.sent[1:] == [[Put("a", b"2"), Put("b", b"2")], [Put("b", b"3")]]


async def test_members_under_different_fences_do_not_share_a_transaction() -> None:
    storage = GatedStorage()
    group = GroupCommit(storage, Telemetry(), lanes=1)
    tasks = [start(group, Put("a", b"1")), start(group, Put("b", b"1"))]
    tasks.append(start(group, Put("c", b"1"), fence=Fence("core/lock", "s2")))
    await settle()
    for gate in range(3):
        storage.gates[gate].set_result(None)
        await settle()
    await asyncio.gather(*tasks)
    assert storage.sent == [[Put("a", b"1")], [Put("b", b"1")], [Put("c", b"1")]]


async def test_a_failing_member_does_not_fail_its_neighbours() -> None:
    storage = GatedStorage()
    group = GroupCommit(storage, Telemetry(), lanes=1)
    first = start(group, Put("a", b"1"))
    await settle()
    good, bad = start(group, Put("b", b"1")), start(group, PutIfAbsent("c", b"1"))
    storage.gates[0].set_result(None)
    await settle()
    storage.gates[1].set_exception(NotApplied("c exists"))
    await settle()
    storage.gates[2].set_result(None)
    await settle()
    storage.gates[3].set_exception(NotApplied("c exists"))
    await asyncio.gather(first, good)
    with pytest.raises(NotApplied):
        await bad


@pytest.mark.parametrize("error", [Fenced("x"), OutcomeUnknown("lost")], ids=["fenced", "unknown"])
async def test_fenced_and_unknown_are_told_to_every_member_and_never_resent(error: Exception) -> None:
    storage = GatedStorage()
    group = GroupCommit(storage, Telemetry(), lanes=1)
    first = start(group, Put("a", b"1"))
    await settle()
    others = [start(group, Put("b", b"1")), start(group, Put("c", b"1"))]
    storage.gates[0].set_result(None)
    await settle()
    storage.gates[1].set_exception(error)
    await first
    for other in others:
        with pytest.raises(type(error)):
            await other
    assert len(storage.sent) == 2


async def test_a_fault_of_the_storage_itself_is_an_unknown_outcome() -> None:
    storage = GatedStorage()
    group = GroupCommit(storage, Telemetry(), lanes=1)
    task = start(group, Put("a", b"1"))
    await settle()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    storage.gates[0].set_exception(RuntimeError("a defect"))
    with pytest.raises(OutcomeUnknown):
        await task


async def test_what_can_never_fit_is_refused_with_the_limit() -> None:
    group = GroupCommit(GatedStorage(), Telemetry(), lanes=1)
    with pytest.raises(ValueTooLarge) as refused:
        await group.commit([Put("a", b"x" * 101)], FENCE)
    assert refused.value.limit == 100
    with pytest.raises(ValueTooLarge):
        await group.commit([Delete(key) for key in "abcde"], FENCE)
    with pytest.raises(ValueTooLarge):
        await group.commit([Put("k" * (4000 - OPERATION_OVERHEAD), b"1")], FENCE)


async def test_committed_groups_are_measured() -> None:
    storage, telemetry = GatedStorage(), Telemetry()
    group = GroupCommit(storage, telemetry, lanes=1)
    tasks = [start(group, Put(key, b"1")) for key in "abc"]
    await settle()
    storage.gates[0].set_result(None)
    await settle()
    storage.gates[1].set_result(None)
    await asyncio.gather(*tasks)
    assert telemetry.registry.get_sample_value("haven_group_commit_members_count") == 2
    assert telemetry.registry.get_sample_value("haven_group_commit_members_sum") == 3
    assert telemetry.registry.get_sample_value("haven_group_commit_seconds_count") == 2
