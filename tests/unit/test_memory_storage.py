import pytest

from haven.errors import Fenced, ValueTooLarge
from haven.storage.base import Fence, Limits, Put
from haven.storage.memory import MemoryStorage


async def test_a_fence_is_checked_against_who_holds_the_lock_now():
    holders = {"core/lock": "old"}
    storage = MemoryStorage(holder=lambda lock_key: holders.get(lock_key, ""))
    await storage.commit([Put("a", b"1")], Fence("core/lock", "old"))
    holders["core/lock"] = "new"
    with pytest.raises(Fenced) as caught:
        await storage.commit([Put("a", b"2")], Fence("core/lock", "old"))
    assert caught.value.holder == "new"
    assert await storage.get("a") == b"1"


async def test_without_locks_every_fence_fails():
    storage = MemoryStorage()
    with pytest.raises(Fenced) as caught:
        await storage.commit([Put("a", b"1")], Fence("core/lock", "mine"))
    assert caught.value.holder == ""


async def test_its_limits_can_be_those_of_another_storage():
    storage = MemoryStorage(limits=Limits(operations=63, value_bytes=4, commit_bytes=8))
    with pytest.raises(ValueTooLarge) as caught:
        await storage.commit([Put("a", b"12345")], None)
    assert caught.value.limit == 4
