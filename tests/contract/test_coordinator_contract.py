"""What the protocol leans on in a coordination service, on each of them."""

import asyncio
import uuid
from contextlib import suppress

import pytest

from haven.errors import Fenced, NotApplied, Unavailable
from haven.ha.coordinator import Coordinator, MadeSession
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import TTL_EXPIRED, CreateLock, ReplaceHolder, TakeFree
from haven.storage.base import Fence, Put, Storage
from support.coordination import LASTING, ConsulCoordination, Coordination, MemoryCoordination
from support.eventually import eventually

LOCK_KEY = "core/lock"


@pytest.fixture(params=["memory", "consul"])
async def make_world(request):
    made: list[Coordination] = []

    def make(check_ttl: float = LASTING) -> Coordination:
        if request.param == "memory":
            made.append(MemoryCoordination(check_ttl=check_ttl))
        else:
            addresses = request.getfixturevalue("consul").addresses
            made.append(ConsulCoordination(addresses, check_ttl=check_ttl))
        return made[-1]

    yield make
    for world in made:
        await world.close()


@pytest.fixture
def world(make_world) -> Coordination:
    return make_world()


@pytest.fixture
def coordinator(world) -> Coordinator:
    return world.coordinator(0)


@pytest.fixture
def storage(world) -> Storage:
    return world.storage


def check_id() -> str:
    return f"haven:node:{uuid.uuid4()}:1"


def record(session: MadeSession, **settings) -> LockRecord:
    values = {
        "node": "haven-1",
        "run": "run",
        "api_address": "http://haven-1:8200",
        "cluster_address": "haven-1:8201",
        "road": Road.FIRST,
    }
    return LockRecord(
        session=session.session,
        check_id=session.check_id,
        check_node=session.check_node,
        **{**values, **settings},
    )


async def take(coordinator: Coordinator) -> tuple[MadeSession, int]:
    """Take a lock that nobody ever held."""
    session = await coordinator.make_session(check_id(), None)
    return session, await coordinator.move(CreateLock(), record(session))


async def keep(coordinator: Coordinator, *sessions: MadeSession) -> None:
    """Pass checks for ever."""
    while True:
        for session in sessions:
            await coordinator.pass_check(session)
        await asyncio.sleep(0.2)


async def test_the_lock_does_not_exist_at_first(coordinator):
    reading = await coordinator.read_lock()
    assert (reading.index, reading.session, reading.record) == (0, "", None)


async def test_the_first_holder_creates_the_lock(coordinator):
    session, term = await take(coordinator)
    reading = await coordinator.read_lock()
    assert reading.session == session.session
    assert reading.record == record(session)
    assert reading.index == term > 0


async def test_the_lock_is_created_once(coordinator):
    session, _ = await take(coordinator)
    other = await coordinator.make_session(check_id(), None)
    with pytest.raises(NotApplied):
        await coordinator.move(CreateLock(), record(other))
    assert (await coordinator.read_lock()).session == session.session


async def test_a_refence_moves_the_lock_and_ends_the_old_fence(coordinator, storage):
    main, first = await take(coordinator)
    spare = await coordinator.make_session(check_id(), main.check_node)
    second = await coordinator.move(ReplaceHolder(main.session), record(spare))
    assert second > first
    assert (await coordinator.read_lock()).record == record(spare)
    with pytest.raises(Fenced) as caught:
        await storage.commit([Put("a", b"1")], Fence(LOCK_KEY, main.session))
    assert caught.value.holder == spare.session
    assert await storage.get("a") is None
    await storage.commit([Put("a", b"2")], Fence(LOCK_KEY, spare.session))
    assert await storage.get("a") == b"2"


async def test_a_move_on_a_wrong_holder_is_refused_and_names_the_right_one(coordinator):
    main, term = await take(coordinator)
    other = await coordinator.make_session(check_id(), None)
    with pytest.raises(Fenced) as caught:
        await coordinator.move(ReplaceHolder(other.session), record(other))
    assert caught.value.holder == main.session
    assert (await coordinator.read_lock()).index == term


async def test_a_held_lock_is_not_free_to_take(coordinator):
    main, term = await take(coordinator)
    other = await coordinator.make_session(check_id(), None)
    with pytest.raises(NotApplied):
        await coordinator.move(TakeFree(term), record(other))
    assert (await coordinator.read_lock()).session == main.session


async def test_a_released_lock_tells_so_and_is_taken_at_the_index_seen(coordinator):
    main, term = await take(coordinator)
    left = await coordinator.leave(main.session, record(main, road=Road.RELEASE, released=True))
    reading = await coordinator.read_lock()
    assert (reading.index, reading.session) == (left, "")
    assert reading.record == record(main, road=Road.RELEASE, released=True)
    other = await coordinator.make_session(check_id(), None)
    with pytest.raises(NotApplied):
        await coordinator.move(TakeFree(term), record(other))
    assert await coordinator.move(TakeFree(left), record(other)) > left > term
    assert (await coordinator.read_lock()).session == other.session


async def test_a_hand_over_gives_the_lock_to_the_successor(world, coordinator):
    main, term = await take(coordinator)
    successor = await world.coordinator(1).make_session(check_id(), None)
    handed = await coordinator.leave(main.session, record(successor, road=Road.HAND_OVER))
    reading = await coordinator.read_lock()
    assert (reading.index, reading.session) == (handed, successor.session)
    assert handed > term


async def test_who_does_not_hold_the_lock_cannot_leave_it(coordinator):
    _, term = await take(coordinator)
    other = await coordinator.make_session(check_id(), None)
    with pytest.raises(Fenced):
        await coordinator.leave(other.session, record(other, released=True))
    assert (await coordinator.read_lock()).index == term


@pytest.mark.parametrize("ended", ["never made", "ended"])
async def test_a_session_that_does_not_live_gets_nothing(coordinator, ended):
    main, term = await take(coordinator)
    if ended == "ended":
        gone = await coordinator.make_session(check_id(), None)
        await coordinator.end_session(gone)
    else:
        gone = MadeSession(str(uuid.uuid4()), check_id(), main.check_node)
    with pytest.raises(NotApplied) as caught:
        await coordinator.move(ReplaceHolder(main.session), record(gone))
    assert not isinstance(caught.value, Fenced), "the holder is who it was said to be"
    reading = await coordinator.read_lock()
    assert (reading.session, reading.index) == (main.session, term)


async def test_a_session_without_passes_expires_and_says_so(make_world):
    coordinator = make_world(check_ttl=1.0).coordinator(0)
    main, term = await take(coordinator)
    reading = await eventually(coordinator.read_lock, lambda reading: not reading.session)
    assert reading.record == record(main)
    assert reading.index > term
    checks = await eventually(coordinator.critical_checks, lambda seen: main.check_id in dict(seen))
    assert dict(checks)[main.check_id] == TTL_EXPIRED
    with pytest.raises(NotApplied):
        await coordinator.move(ReplaceHolder(main.session), record(main))


async def test_a_passed_check_keeps_the_session(make_world):
    coordinator = make_world(check_ttl=4.0).coordinator(0)
    main, term = await take(coordinator)
    other = await coordinator.make_session(check_id(), None)
    passing = asyncio.create_task(keep(coordinator, main))
    await eventually(coordinator.critical_checks, lambda seen: other.check_id in dict(seen))
    reading = await coordinator.read_lock()
    assert (reading.session, reading.index) == (main.session, term)
    assert main.check_id not in dict(await coordinator.critical_checks())
    passing.cancel()


async def test_a_late_pass_does_not_bring_a_session_back(make_world):
    coordinator = make_world(check_ttl=1.0).coordinator(0)
    main, _ = await take(coordinator)
    await eventually(coordinator.read_lock, lambda reading: not reading.session)
    with suppress(Unavailable):  # Consul answers it: the check turns passing, its session stays dead
        await coordinator.pass_check(main)
    assert (await coordinator.read_lock()).session == ""
    with pytest.raises(NotApplied):
        await coordinator.move(TakeFree((await coordinator.read_lock()).index), record(main))


async def test_ending_a_session_frees_the_lock_without_a_word_of_expiry(coordinator):
    main, _ = await take(coordinator)
    await coordinator.end_session(main)
    await eventually(coordinator.read_lock, lambda reading: not reading.session)
    assert main.check_id not in dict(await coordinator.critical_checks())


async def test_a_spare_is_made_apart_from_the_main_session(coordinator):
    main = await coordinator.make_session(check_id(), None)
    spare = await coordinator.make_session(check_id(), main.check_node)
    assert main.session != spare.session
    assert main.check_node != spare.check_node


async def test_nodes_prefer_different_agents(world):
    made = [await world.coordinator(number).make_session(check_id(), None) for number in range(3)]
    assert len({session.check_node for session in made}) == 3


async def test_a_watch_answers_at_once_and_then_when_the_lock_moves(world, coordinator):
    reading, index = await coordinator.watch_lock(0)
    assert reading.index == 0
    watching = asyncio.create_task(follow(world.coordinator(1), index))
    main, term = await take(coordinator)
    seen = await watching
    assert (seen.session, seen.index) == (main.session, term)


async def follow(coordinator: Coordinator, index: int):
    """Watch until the lock is held, as long as that may take."""
    reading = await coordinator.read_lock()
    async with asyncio.timeout(60):
        while not reading.session:
            reading, index = await coordinator.watch_lock(index)
    return reading


async def test_a_watch_wakes_when_the_holder_leaves(coordinator):
    main, _ = await take(coordinator)
    _, index = await coordinator.watch_lock(0)
    watching = asyncio.create_task(coordinator.watch_lock(index))
    left = await coordinator.leave(main.session, record(main, released=True))
    reading, following = await asyncio.wait_for(watching, 60)
    assert (reading.session, reading.index) == ("", left)
    assert following > index


async def test_passing_a_check_that_is_not_there_fails(coordinator):
    main = await coordinator.make_session(check_id(), None)
    with pytest.raises(Unavailable):
        await coordinator.pass_check(MadeSession(str(uuid.uuid4()), check_id(), main.check_node))
