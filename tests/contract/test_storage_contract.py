"""What every storage promises, on each of them."""

import asyncio
import uuid

import pytest

from haven.errors import Fenced, NotApplied, ValueTooLarge
from haven.storage.base import Delete, Fence, Put, PutIfAbsent
from haven.storage.consul import ConsulStorage
from haven.storage.consul_transport import ConsulTransport, Refused
from haven.storage.kv_operations import MAX_BODY_BYTES, body_of, data_operation
from haven.storage.memory import MemoryStorage
from haven.storage.sqlite import SqliteStorage
from haven.telemetry import Telemetry


@pytest.fixture(params=["memory", "sqlite", "consul"])
async def storage(request, tmp_path):
    if request.param == "memory":
        made = MemoryStorage()
    elif request.param == "sqlite":
        made = SqliteStorage(tmp_path / "data")
    else:
        made = consul_storage(request.getfixturevalue("consul").addresses)
    yield made
    await made.close()


def consul_storage(addresses: list[str]) -> ConsulStorage:
    """Return a storage below a prefix that no other test uses, patient on a busy machine."""
    return ConsulStorage(
        ConsulTransport(addresses),
        Telemetry(),
        prefix=f"{uuid.uuid4()}/",
        read_deadline=30.0,
        write_deadline=30.0,
    )


async def test_nothing_is_there_at_first(storage):
    assert await storage.get("a") is None
    assert await storage.list("") == []
    assert await storage.list("a/") == []


async def test_values_come_back_byte_for_byte(storage):
    every_byte = bytes(range(256))
    await storage.commit([Put("a", every_byte), Put("b/c", b"")], None)
    assert await storage.get("a") == every_byte
    assert await storage.get("b/c") == b""
    assert await storage.get("b") is None
    assert await storage.get("b/") is None


async def test_many_keys_are_read_in_one_call_those_that_do_not_exist_too(storage):
    assert await storage.get_many([]) == {}
    await storage.commit([Put(f"k/{number}", b"%d" % number) for number in range(60)], None)
    await storage.commit([Put("empty", b""), Delete("k/7")], None)
    keys = ["empty", "never/there", "a//b", *(f"k/{number}" for number in range(150))]
    found = await storage.get_many(keys)
    there = {f"k/{number}": b"%d" % number for number in range(60) if number != 7}
    assert found == dict.fromkeys(keys) | there | {"empty": b""}


async def test_a_put_replaces_and_a_delete_removes(storage):
    await storage.commit([Put("a", b"1"), Put("b", b"1")], None)
    await storage.commit([Put("a", b"2"), Delete("b"), Delete("never/there")], None)
    assert await storage.get("a") == b"2"
    assert await storage.get("b") is None


async def test_a_list_names_what_is_right_below(storage):
    keys = ["b", "a/x", "a/y/1", "a/y/2", "a/y", "ab/1", "a/é", "c/d/e/f"]
    await storage.commit([Put(key, b"1") for key in keys], None)
    assert await storage.list("") == ["a/", "ab/", "b", "c/"]
    assert await storage.list("a/") == ["x", "y", "y/", "é"]
    assert await storage.list("c/d/") == ["e/"]
    assert await storage.list("b/") == []


async def test_an_emptied_folder_is_gone(storage):
    await storage.commit([Put("a/b/c", b"1")], None)
    await storage.commit([Delete("a/b/c")], None)
    assert await storage.list("") == []


async def test_put_if_absent_refuses_what_exists_and_the_whole_commit(storage):
    await storage.commit([PutIfAbsent("a", b"1")], None)
    with pytest.raises(NotApplied) as caught:
        await storage.commit([Put("b", b"1"), PutIfAbsent("a", b"2"), Delete("a")], None)
    assert not isinstance(caught.value, Fenced)
    assert await storage.get("a") == b"1"
    assert await storage.get("b") is None


async def test_operations_of_a_commit_see_those_before_them(storage):
    await storage.commit([Put("a", b"1")], None)
    await storage.commit([Delete("a"), PutIfAbsent("a", b"2"), Put("a", b"3")], None)
    assert await storage.get("a") == b"3"


async def test_of_many_that_create_one_key_one_succeeds(storage):
    async def create(number: int) -> bool:
        try:
            await storage.commit([PutIfAbsent("a", str(number).encode())], None)
        except NotApplied:
            return False
        return True

    created = await asyncio.gather(*(create(number) for number in range(8)))
    assert created.count(True) == 1
    assert await storage.get("a") == str(created.index(True)).encode()


async def test_a_commit_as_large_as_the_limits_say_is_taken(storage):
    limits = storage.limits
    await storage.commit([Put("one", b"x" * limits.value_bytes)], None)
    share = limits.commit_bytes // limits.operations
    many = [Put(f"logical/{uuid.UUID(int=n)}/{'k' * 60}", b"y" * share) for n in range(limits.operations)]
    await storage.commit(many, None)
    assert await storage.get("one") == b"x" * limits.value_bytes
    assert await storage.get(many[-1].key) == b"y" * share


async def test_what_exceeds_the_limits_is_refused_whole(storage):
    limits = storage.limits
    with pytest.raises(ValueTooLarge):
        await storage.commit([Put("a", b"1"), Put("b", b"x" * (limits.value_bytes + 1))], None)
    share = limits.commit_bytes // 10 + 1
    if share <= limits.value_bytes:
        with pytest.raises(ValueTooLarge):
            await storage.commit([Put(str(number), b"x" * share) for number in range(10)], None)
    with pytest.raises(NotApplied):
        await storage.commit([Put(str(number), b"1") for number in range(limits.operations + 1)], None)
    assert await storage.list("") == []


async def test_odd_but_possible_keys_are_kept_apart(storage):
    keys = ["a b", "a%20b", "a+b", "a?b", "a#b", "ä", "a%2Fb", 'a"b', "a\\b", "a'b"]
    await storage.commit([Put(key, key.encode()) for key in keys], None)
    assert [await storage.get(key) for key in keys] == [key.encode() for key in keys]
    assert await storage.list("") == sorted(keys)


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/../b", "./a", "a\nb", "a\x7fb"])
async def test_a_key_that_no_storage_can_name_is_refused(storage, key):
    with pytest.raises(NotApplied):
        await storage.commit([Put("a", b"1"), Put(key, b"1")], None)
    assert await storage.get("a") is None
    assert await storage.get(key) is None


async def test_an_empty_commit_changes_nothing(storage):
    await storage.commit([], None)
    assert await storage.list("") == []


async def test_a_fence_of_nobody_is_refused(storage):
    with pytest.raises(NotApplied):
        await storage.commit([Put("a", b"1")], Fence("core/lock", str(uuid.uuid4())))
    assert await storage.get("a") is None


async def test_consul_refuses_keys_too_long_for_one_transaction_before_it_sends_them(consul):
    storage = consul_storage(consul.addresses)
    operations = [Put(f"{number}/{'k' * 9000}", b"1") for number in range(63)]
    with pytest.raises(ValueTooLarge):
        await storage.commit(operations, None)
    assert await storage.list("") == []
    await storage.close()


async def test_consul_takes_a_body_of_the_size_that_is_checked_and_no_more(consul):
    transport = ConsulTransport(consul.addresses)
    agent = transport.agents()[0]
    largest = body_of([data_operation("sizes/", Put("a", b"1"))]).ljust(MAX_BODY_BYTES)
    assert (await transport.call(agent, lambda api: api.transact(largest), 30.0))["Errors"] is None
    with pytest.raises(Refused) as caught:
        await transport.call(agent, lambda api: api.transact(largest + b" "), 30.0)
    assert caught.value.status == 413
    await transport.close()
