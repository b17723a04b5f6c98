import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from haven.errors import Fenced, NotApplied, OutcomeUnknown, Unavailable, ValueTooLarge
from haven.storage.base import Fence, Put
from haven.storage.consul import DATA_BYTES, ConsulStorage
from haven.storage.consul_transport import ConsulTransport
from haven.telemetry import Telemetry
from support.http_stub import Got, reply, stub

COMMITTED = reply(b'{"Results": [], "Errors": null}')


@asynccontextmanager
async def storage_at(*addresses: str, **settings):
    deadlines = {"read_deadline": 20.0, "write_deadline": 20.0}
    storage = ConsulStorage(ConsulTransport(addresses), Telemetry(), prefix="p/", **{**deadlines, **settings})
    yield storage
    await storage.close()


def always(answer: bytes | None):
    async def answering(request: Got) -> bytes | None:
        return answer

    return answering


def refused_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_every_read_is_consistent_and_below_the_prefix():
    async with (
        stub(always(reply(b"[]", X_Consul_Index="1"))) as server,
        storage_at(server.address) as storage,
    ):
        await storage.get("a/b c")
        await storage.list("a/")
        assert [request.target for request in server.got] == [
            "/v1/kv/p/a/b%20c?consistent=1",
            "/v1/kv/p/a/?keys=True&separator=%2F&consistent=1",
        ]


async def test_many_keys_are_read_consistently_in_one_call_and_not_elsewhere_when_one_is_missing():
    missing = b'{"Results": null, "Errors": [{"OpIndex": 1, "What": "key \\"p/b\\" doesn\'t exist"}]}'
    found = b'{"Results": [{"KV": {"Value": "MQ=="}}, {"KV": {"Value": null}}], "Errors": null}'

    async def answering(request: Got) -> bytes | None:
        return reply(missing, "409 Conflict") if b"p/b" in request.body else reply(found)

    async with stub(answering) as server, storage_at(server.address) as storage:
        assert await storage.get_many(["a", "b", "c"]) == {"a": b"1", "b": None, "c": b""}
        assert [request.target for request in server.got] == ["/v1/txn?consistent=1"] * 2


async def test_a_refusal_to_read_many_keys_that_is_no_missing_key_is_no_answer():
    refused = b'{"Results": null, "Errors": [{"OpIndex": 0, "What": "Permission denied"}]}'
    async with stub(always(reply(refused, "409 Conflict"))) as server, storage_at(server.address) as storage:
        with pytest.raises(Unavailable):
            await storage.get_many(["a"])


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html>", "409 Conflict"),
        reply(b'{"Errors": [{"OpIndex": 7, "What": "key doesn\'t exist"}]}', "409 Conflict"),
        reply(b'{"Errors": [{"What": 1}]}', "409 Conflict"),
        reply(b'{"Results": [], "Errors": null}'),
        reply(b'{"Results": [{"KV": {"Value": "!"}}], "Errors": null}'),
        reply(b"[]"),
    ],
)
async def test_an_answer_to_many_reads_that_is_not_consul_s_is_no_answer(answer):
    async with stub(always(answer)) as server, storage_at(server.address) as storage:
        with pytest.raises(Unavailable):
            await storage.get_many(["a"])


async def test_the_fence_comes_first_in_every_transaction():
    async with stub(always(COMMITTED)) as server, storage_at(server.address) as storage:
        await storage.commit([Put("a", b"1")], Fence("core/lock", "mine"))
        first, second = (operation["KV"] for operation in json.loads(server.got[0].body))
        assert first == {"Verb": "check-session", "Key": "p/core/lock", "Session": "mine"}
        assert second["Key"] == "p/a"


async def test_without_ha_there_is_no_fence():
    conflict = b'{"Errors": [{"OpIndex": 0, "What": "failed"}]}'
    async with (
        stub(always(reply(conflict, "409 Conflict"))) as server,
        storage_at(server.address) as storage,
    ):
        with pytest.raises(NotApplied) as caught:
            await storage.commit([Put("a", b"1")], None)
        assert not isinstance(caught.value, Fenced)
        assert len(json.loads(server.got[0].body)) == 1


async def test_a_write_goes_on_to_the_next_agent_only_where_nothing_was_sent():
    async with stub(always(COMMITTED)) as server, storage_at(refused_address(), server.address) as storage:
        await storage.commit([Put("a", b"1")], None)
        assert len(server.got) == 1
    async with (
        stub(always(None)) as hangs_up,
        stub(always(COMMITTED)) as server,
        storage_at(hangs_up.address, server.address) as storage,
    ):
        with pytest.raises(OutcomeUnknown):
            await storage.commit([Put("a", b"1")], None)
        assert (len(hangs_up.got), len(server.got)) == (1, 0)
        await storage.commit([Put("a", b"2")], None)
        assert (len(hangs_up.got), len(server.got)) == (1, 1)


async def test_where_no_agent_can_be_reached_a_write_is_surely_not_applied():
    async with storage_at(refused_address(), refused_address()) as storage:
        with pytest.raises(NotApplied):
            await storage.commit([Put("a", b"1")], None)


async def test_an_answer_that_is_not_consuls_is_of_unknown_outcome():
    for answer in (reply(b"<html>"), reply(b"[]"), reply(b'{"Errors": [{}]}'), reply(b"", "301 Moved")):
        async with stub(always(answer)) as server, storage_at(server.address) as storage:
            with pytest.raises(OutcomeUnknown):
                await storage.commit([Put("a", b"1")], None)


async def test_what_is_too_large_is_never_sent():
    async with stub(always(COMMITTED)) as server, storage_at(server.address) as storage:
        with pytest.raises(ValueTooLarge) as caught:
            await storage.commit([Put("a", b"x" * (DATA_BYTES + 1))], None)
        assert caught.value.limit == DATA_BYTES
        with pytest.raises(ValueTooLarge):
            await storage.commit([Put(f"{'k' * 9000}{number}", b"1") for number in range(63)], None)
        assert not server.got


async def test_calls_at_one_time_are_bounded():
    release = asyncio.Event()
    now = most = 0

    async def counting(request: Got) -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1
        return COMMITTED

    async with stub(counting) as server, storage_at(server.address, in_flight=2) as storage:
        commits = [asyncio.create_task(storage.commit([Put(str(number), b"1")], None)) for number in range(6)]
        async with asyncio.timeout(20):
            while now < 2:
                await asyncio.sleep(0.01)
        release.set()
        await asyncio.gather(*commits)
        assert most == 2
        assert len(server.got) == 6
