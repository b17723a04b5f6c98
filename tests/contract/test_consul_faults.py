"""What a fault of Consul looks like through our storage and coordinator, on real servers."""

import asyncio
import uuid

import pytest

from haven.errors import Fenced, NotApplied, OutcomeUnknown, Unavailable
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import CreateLock, ReplaceHolder
from haven.storage.base import Fence, Put, PutIfAbsent
from support.coordination import ConsulCoordination
from support.eventually import eventually

LOCK_KEY = "core/lock"
DEADLINE = 0.4
FAR_BELOW_CONSULS_OWN = 5.0
"""Seconds; without a leader Consul itself answers a read after 7."""


def check_id() -> str:
    return f"haven:node:{uuid.uuid4()}:1"


def record(session) -> LockRecord:
    return LockRecord(
        "haven-1", "run", session.session, session.check_id, session.check_node, "", "", Road.FIRST
    )


@pytest.fixture
async def impatient():
    made: list[ConsulCoordination] = []

    def make(addresses: list[str]) -> ConsulCoordination:
        made.append(ConsulCoordination(addresses, deadline=DEADLINE))
        return made[-1]

    yield make
    for coordination in made:
        await coordination.close()


def first(server, servers) -> list[str]:
    """Return the addresses with this server's in front."""
    return [server.address, *(address for address in servers.addresses if address != server.address)]


async def until_it_works(call):
    """Call again and again, while Consul elects a leader or the machine is slow; return the first answer."""

    async def attempt():
        try:
            return [await call()]
        except (Unavailable, OutcomeUnknown):
            return []

    return (await eventually(attempt, bool))[0]


async def test_what_is_called_not_applied_never_was_when_a_leader_dies(consul, impatient):
    coordination = impatient(consul.addresses)
    outcomes: dict[str, type | None] = {}

    async def write(key: str) -> None:
        try:
            await coordination.storage.commit([PutIfAbsent(key, b"1")], None)
            outcomes[key] = None
        except (NotApplied, OutcomeUnknown) as error:
            outcomes[key] = type(error)

    async def write_on(writer: int) -> None:
        for number in range(200):
            await write(f"{writer}-{number}")

    writing = asyncio.gather(*(write_on(writer) for writer in range(4)))
    await eventually(lambda: _count(outcomes), lambda count: count > 50)
    leader = consul.leader()
    consul.kill(leader)
    await writing
    assert set(outcomes.values()) != {None}, "the fault was not felt"
    for key, outcome in outcomes.items():
        value = await until_it_works(lambda key=key: coordination.storage.get(key))
        if outcome is None:
            assert value == b"1"
        elif outcome is NotApplied:
            assert value is None


async def _count(outcomes: dict) -> int:
    return len(outcomes)


async def test_without_a_leader_reads_and_moves_end_at_their_deadline_and_later_work(consul, impatient):
    leader = consul.leader()
    coordination = impatient(first(consul.follower(), consul))
    coordinator = coordination.coordinator(0)
    session = await until_it_works(lambda: coordinator.make_session(check_id(), None))
    consul.pause(leader)
    async with asyncio.timeout(FAR_BELOW_CONSULS_OWN):
        with pytest.raises(Unavailable):
            await coordinator.read_lock()
        with pytest.raises((OutcomeUnknown, NotApplied)):
            await coordinator.move(CreateLock(), record(session))
    # The agent of the session answers passes by itself, leader or not.
    await until_it_works(lambda: coordinator.pass_check(session))
    consul.resume(leader)
    reading = await until_it_works(coordinator.read_lock)
    assert reading.session in {"", session.session}


async def test_a_silent_agent_costs_one_write_and_no_read(consul, impatient):
    silent = consul.follower()
    coordination = impatient(first(silent, consul))
    consul.pause(silent)
    async with asyncio.timeout(FAR_BELOW_CONSULS_OWN):
        with pytest.raises(OutcomeUnknown):
            await coordination.storage.commit([Put("a", b"1")], None)
    assert await until_it_works(lambda: coordination.storage.get("b")) is None
    await until_it_works(lambda: coordination.storage.commit([Put("b", b"1")], None))


async def test_a_holder_whose_agent_dies_moves_the_lock_to_its_spare(consul):
    dying = consul.follower()
    coordination = ConsulCoordination(first(dying, consul))
    coordinator = coordination.coordinator(0)
    main = await coordinator.make_session(check_id(), None)
    spare = await coordinator.make_session(check_id(), main.check_node)
    assert (main.check_node, spare.check_node != dying.name) == (dying.name, True)
    await coordinator.move(CreateLock(), record(main))
    consul.kill(dying)
    with pytest.raises(Unavailable):
        await coordinator.pass_check(main)
    await coordinator.move(ReplaceHolder(main.session), record(spare))
    with pytest.raises(Fenced):
        await coordination.storage.commit([Put("a", b"1")], Fence(LOCK_KEY, main.session))
    await coordination.storage.commit([Put("a", b"2")], Fence(LOCK_KEY, spare.session))
    await coordinator.pass_check(spare)
    await coordination.close()


async def test_no_session_is_registered_through_an_agent_without_a_leader(consul, impatient):
    cut_off = consul.follower()
    coordinator = impatient([cut_off.address]).coordinator(0)
    session = await until_it_works(lambda: coordinator.make_session(check_id(), None))
    for server in consul.servers:
        if server is not cut_off:
            consul.pause(server)
    refused = check_id()
    async with asyncio.timeout(FAR_BELOW_CONSULS_OWN):
        with pytest.raises(Unavailable):
            await coordinator.make_session(refused, None)
    assert refused not in cut_off.http("/v1/agent/services")
    assert session.check_id in cut_off.http("/v1/agent/services")


async def test_a_value_of_a_stranger_is_no_record(consul):
    coordination = ConsulCoordination(consul.addresses)
    await coordination.storage.commit([Put(LOCK_KEY, b"mine!")], None)
    reading = await coordination.coordinator(0).read_lock()
    assert reading.record is None
    assert reading.index > 0
    await coordination.close()
