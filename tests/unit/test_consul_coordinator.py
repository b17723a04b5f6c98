import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from haven.errors import Fenced, NotApplied, OutcomeUnknown, Unavailable
from haven.ha.consul import ConsulCoordinator
from haven.ha.coordinator import MadeSession
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import CreateLock, ReplaceHolder, TakeFree
from haven.storage.consul_transport import ConsulTransport
from haven.telemetry import Telemetry
from support.http_stub import Got, reply, stub

RECORD = LockRecord("haven-1", "run", "new", "haven:haven-1:run:2", "agent", "api", "cluster", Road.OTHER)
VALUE = b64encode(RECORD.to_bytes()).decode()
NOT_FOUND = reply(b"", "404 Not Found", X_Consul_Index="1")


@asynccontextmanager
async def coordinator_over(*answers: Callable[[Got], Awaitable[bytes | None]], **settings):
    """Yield a coordinator over one stub for each answer, and the stubs."""
    stubs = [stub(answer) for answer in answers]
    servers = [await each.__aenter__() for each in stubs]
    transport = ConsulTransport([server.address for server in servers])
    telemetry = Telemetry()
    coordinator = ConsulCoordinator(
        transport, telemetry, check_ttl=1.5, prefix="p/", **{"deadline": 20.0, **settings}
    )
    yield coordinator, servers, telemetry
    await transport.close()
    for each in stubs:
        await each.__aexit__(None, None, None)


def answering(body: object, status: str = "200 OK", **headers: str):
    async def answer(request: Got) -> bytes:
        return reply(json.dumps(body).encode(), status, **headers)

    return answer


def committed(index: int):
    return answering(
        {"Results": [{"KV": {"ModifyIndex": 1}}, {"KV": {"ModifyIndex": index}}], "Errors": None}
    )


def agent(node: str, *, probe: bytes = NOT_FOUND, register: bytes = reply(b"")):
    """Answer as a Consul agent of that name does while a session is made through it."""

    async def answer(request: Got) -> bytes:
        if request.target.startswith("/v1/kv/"):
            return probe
        if request.target == "/v1/agent/service/register":
            return register
        if request.target == "/v1/session/create":
            return reply(json.dumps({"ID": f"session-of-{node}"}).encode())
        if request.target.startswith("/v1/session/info/"):
            return reply(json.dumps([{"Node": node}]).encode(), X_Consul_Index="1")
        return reply(b"")

    return answer


def targets(server) -> list[str]:
    return [request.target for request in server.got]


async def transaction_of(call) -> list[dict]:
    async with coordinator_over(committed(9)) as (coordinator, (server,), _):
        assert await call(coordinator) == 9
        assert targets(server) == ["/v1/txn"]
        return [operation["KV"] for operation in json.loads(server.got[0].body)]


async def test_the_transactions_of_every_change_of_holder():
    lock = {"Verb": "lock", "Key": "p/core/lock", "Value": VALUE, "Session": "new"}
    check = {"Verb": "check-session", "Key": "p/core/lock", "Session": "old"}
    unlock = {"Verb": "unlock", "Key": "p/core/lock", "Value": VALUE, "Session": "old"}
    absent = {"Verb": "check-not-exists", "Key": "p/core/lock"}
    seen = {"Verb": "check-index", "Key": "p/core/lock", "Index": 7}
    assert await transaction_of(lambda c: c.move(CreateLock(), RECORD)) == [absent, lock]
    assert await transaction_of(lambda c: c.move(TakeFree(7), RECORD)) == [seen, lock]
    assert await transaction_of(lambda c: c.move(ReplaceHolder("old"), RECORD)) == [check, unlock, lock]
    assert await transaction_of(lambda c: c.leave("old", RECORD)) == [check, unlock, lock]


async def test_only_the_fences_own_refusal_is_one_of_the_fence():
    taken = {"Errors": [{"OpIndex": 0, "What": 'failed session check for key "k", current session "x"'}]}
    async with coordinator_over(answering(taken, "409 Conflict")) as (coordinator, _, _):
        with pytest.raises(Fenced) as caught:
            await coordinator.move(ReplaceHolder("old"), RECORD)
        assert caught.value.holder == "x"
        with pytest.raises(NotApplied) as refused:
            await coordinator.move(TakeFree(7), RECORD)
        assert not isinstance(refused.value, Fenced)


@pytest.mark.parametrize("body", [{}, [], {"Results": []}, {"Results": [{"KV": {}}]}, {"Results": None}])
async def test_a_committed_move_without_an_index_is_of_unknown_outcome(body):
    async with coordinator_over(answering(body)) as (coordinator, _, _):
        with pytest.raises(OutcomeUnknown):
            await coordinator.move(CreateLock(), RECORD)


async def test_a_move_is_sent_to_one_agent_only():
    async def silence(request: Got) -> None:
        await asyncio.Event().wait()

    async with coordinator_over(silence, committed(9), deadline=0.05) as (coordinator, (first, second), _):
        with pytest.raises(OutcomeUnknown):
            await coordinator.move(CreateLock(), RECORD)
        assert (len(first.got), len(second.got)) == (1, 0)


async def test_an_index_that_goes_back_starts_the_watch_over():
    async with coordinator_over(answering([], X_Consul_Index="5")) as (coordinator, (server,), _):
        assert (await coordinator.watch_lock(4))[1] == 5
        assert (await coordinator.watch_lock(6))[1] == 0
        assert "index=4" in server.got[0].target
        assert "wait=2000ms" in server.got[0].target
        assert "consistent" not in server.got[0].target


async def test_the_lock_is_read_with_consistent():
    async with coordinator_over(answering([], X_Consul_Index="5")) as (coordinator, (server,), _):
        await coordinator.read_lock()
        assert targets(server) == ["/v1/kv/p/core/lock?consistent=1"]


async def test_only_havens_critical_checks_count():
    checks = [
        {"CheckID": "haven:a", "ServiceName": "haven", "Output": "TTL expired"},
        {"CheckID": "other", "ServiceName": "postgres", "Output": "TTL expired"},
        {"CheckID": "serfHealth", "ServiceName": "", "Output": "Agent not live"},
    ]
    async with coordinator_over(answering(checks, X_Consul_Index="5")) as (coordinator, _, _):
        assert await coordinator.critical_checks() == (("haven:a", "TTL expired"),)


async def test_service_check_and_session_are_made_through_one_agent():
    async with coordinator_over(agent("one"), agent("two")) as (coordinator, (first, second), _):
        made = await coordinator.make_session("haven:n:r:1", None)
        assert made == MadeSession("session-of-one", "haven:n:r:1", "one")
        service, session = (json.loads(request.body) for request in first.got[1:3])
        assert service == {
            "name": "haven",
            "id": "haven:n:r:1",
            "check": {
                "CheckID": "haven:n:r:1",
                "TTL": "1.5s",
                "Status": "passing",
                "DeregisterCriticalServiceAfter": "1m",
            },
        }
        assert session == {"name": "haven:n:r:1", "checks": ["serfHealth", "haven:n:r:1"], "lockdelay": "0s"}
        assert not second.got


async def test_a_pass_goes_through_the_sessions_own_agent_without_a_note():
    async with coordinator_over(agent("one"), agent("two")) as (coordinator, (first, second), _):
        main = await coordinator.make_session("haven:n:r:1", None)
        spare = await coordinator.make_session("haven:n:r:2", main.check_node)
        await coordinator.pass_check(spare)
        await coordinator.pass_check(main)
        assert targets(first)[-1] == "/v1/agent/check/pass/haven:n:r:1"
        assert targets(second)[-1] == "/v1/agent/check/pass/haven:n:r:2"


async def test_a_spare_falls_back_to_the_only_agent_that_has_a_leader():
    no_leader = reply(b"No cluster leader", "500 Internal Server Error")
    async with coordinator_over(agent("one"), agent("two", probe=no_leader)) as (coordinator, servers, _):
        main = await coordinator.make_session("haven:n:r:1", None)
        spare = await coordinator.make_session("haven:n:r:2", main.check_node)
        assert spare.check_node == "one"
        assert "/v1/agent/service/register" not in targets(servers[1])


async def test_an_id_that_one_agent_may_have_registered_is_offered_to_no_other():
    failing = reply(b"", "500 Internal Server Error")
    answers = agent("one", register=failing), agent("two")
    async with coordinator_over(*answers) as (coordinator, (_, second), _):
        with pytest.raises(Unavailable):
            await coordinator.make_session("haven:n:r:1", None)
        assert not second.got


async def test_a_session_of_another_process_cannot_be_passed():
    async with coordinator_over(agent("one")) as (coordinator, (server,), _):
        with pytest.raises(Unavailable):
            await coordinator.pass_check(MadeSession("s", "c", "one"))
        assert not server.got


async def test_every_call_is_measured_with_its_outcome():
    async with coordinator_over(answering({}, "409 Conflict")) as (coordinator, _, telemetry):
        with pytest.raises(NotApplied):
            await coordinator.move(CreateLock(), RECORD)
        with pytest.raises(Unavailable):
            await coordinator.read_lock()
        name = "haven_consul_call_seconds_count"
        for operation, outcome in (("move", "refused"), ("read-lock", "unavailable")):
            labels = {"operation": operation, "outcome": outcome}
            assert telemetry.registry.get_sample_value(name, labels) == 1
