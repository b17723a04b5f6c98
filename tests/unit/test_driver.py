import asyncio

import pytest
from member_cluster import TIMING, MemberCluster, Node, in_cluster

from haven.errors import NotActive, NotApplied
from haven.ha.coordinator import Condition
from haven.ha.driver import Member
from haven.ha.observer import Role
from haven.ha.record import LockRecord, Road
from haven.storage.authority import Warrant
from virtual_time import VirtualLoop, run


def sample(node: Node, name: str, **labels: str) -> float:
    return node.telemetry.registry.get_sample_value(name, labels) or 0.0


@in_cluster
async def test_first_node_answers_and_the_other_knows_of_it(cluster: MemberCluster) -> None:
    assert cluster.a.member.status.role is Role.ACTIVE
    assert cluster.a.member.status.road is Road.FIRST
    assert cluster.b.member.status.role is Role.STANDBY
    holder = cluster.b.member.holder()
    assert holder is not None
    assert holder.node == "a"
    warrant = cluster.a.member.reading()
    assert warrant.fence is not None
    assert warrant.fence.session == cluster.service.entry().session
    assert sample(cluster.a, "haven_heartbeat_late_seconds_count") > 3


@in_cluster
async def test_lease_is_renewed_for_as_long_as_all_is_well(cluster: MemberCluster) -> None:
    for _ in range(200):
        await asyncio.sleep(0.1)
        assert cluster.a.member.status.lease_remaining > 0.5
    assert cluster.service.entry().index == 1


@in_cluster
async def test_hand_over_ends_the_term_and_the_successor_answers_at_once(cluster: MemberCluster) -> None:
    warrant = cluster.a.member.reading()
    assert await cluster.a.member.leave(cluster.b.member.candidate())
    assert not cluster.a.member.holds(warrant)
    assert cluster.a.duties.retired == 1
    assert await cluster.until(lambda: cluster.b.active, 1) < 0.1
    assert cluster.b.member.status.road is Road.HAND_OVER
    assert cluster.b.duties.read_for == cluster.b.duties.prepared, "it began to read before the proof came"
    assert cluster.a.member.status.reason == "step-down"
    assert sample(cluster.a, "haven_hand_over_seconds_count") == 1


@in_cluster
async def test_lock_without_a_successor_is_released_to_whoever_is_there(cluster: MemberCluster) -> None:
    assert await cluster.a.member.leave(None, "sealed")
    assert await cluster.until(lambda: cluster.b.active, 1) < 0.1
    assert cluster.b.member.status.road is Road.RELEASE
    assert cluster.a.member.status.reason == "sealed"


@in_cluster
async def test_hand_over_to_a_dead_session_ends_in_a_release(cluster: MemberCluster) -> None:
    candidate = cluster.b.member.candidate()
    assert candidate is not None
    cluster.service.destroy(candidate.session)
    assert await cluster.a.member.leave(candidate)
    assert await cluster.until(lambda: cluster.b.active, 2) < 1


@in_cluster
async def test_hand_over_of_unknown_outcome_ends_the_term_all_the_same(cluster: MemberCluster) -> None:
    a = cluster.a
    a.way.deaf = True
    leaving = asyncio.create_task(a.member.leave(cluster.b.member.candidate()))
    for _ in range(200):
        await asyncio.sleep(0.01)
        assert not a.active
    assert not await leaving
    a.way.deaf = False
    await cluster.until(lambda: cluster.b.active, 3)


@in_cluster
async def test_nothing_to_leave_for_a_standby(cluster: MemberCluster) -> None:
    assert not await cluster.b.member.leave(None)


@in_cluster
async def test_doubt_is_settled_by_a_refence_in_the_same_reign(cluster: MemberCluster) -> None:
    a = cluster.a
    warrant = a.member.reading()
    a.member.doubt(warrant)
    assert a.active, "reads go on while the old lease runs"
    assert a.member.status.in_doubt
    fresh = await a.member.writing()
    assert fresh.term > warrant.term
    assert fresh.fence != warrant.fence
    assert await a.member.settled(warrant)
    assert a.member.holds(warrant)
    assert a.duties.prepared == [1], "a refence loads nothing anew"
    assert a.duties.settled == 1
    assert sample(a, "haven_refence_seconds_count", outcome="committed") == 1


@in_cluster
async def test_doubt_about_an_old_session_is_settled_already(cluster: MemberCluster) -> None:
    a = cluster.a
    warrant = a.member.reading()
    a.member.doubt(warrant)
    term = (await a.member.writing()).term
    a.member.doubt(warrant)
    assert (await a.member.writing()).term == term


@in_cluster
async def test_lock_lost_and_regained_settles_nothing(cluster: MemberCluster) -> None:
    a, b = cluster.a, cluster.b
    warrant = a.member.reading()
    settled = asyncio.create_task(_settled_late(a.member, warrant))
    assert await a.member.leave(b.member.candidate())
    await cluster.until(lambda: b.active, 1)
    assert await b.member.leave(a.member.candidate())
    await cluster.until(lambda: a.active, 1)
    assert not await settled
    assert not a.member.holds(warrant)
    assert not await a.member.settled(warrant)


async def _settled_late(member: Member, warrant: Warrant) -> bool:
    await asyncio.sleep(0)
    return await member.settled(warrant)


@in_cluster
async def test_writes_wait_in_doubt_and_give_up_in_time(cluster: MemberCluster) -> None:
    a = cluster.a
    a.way.leaderless = True
    await cluster.until(lambda: a.member.status.in_doubt, 2)
    began = cluster.loop.now()
    with pytest.raises(NotActive):
        await a.member.writing()
    assert 4 < cluster.loop.now() - began < 7


@in_cluster
async def test_reads_end_with_the_lease_and_who_waits_is_told(cluster: MemberCluster) -> None:
    a = cluster.a
    a.way.leaderless = True
    while a.active:
        until = cluster.loop.now() + a.member.status.lease_remaining
        await a.member.changed(5)
        assert cluster.loop.now() <= until + 0.01
    assert a.member.status.role is Role.ACTIVATING
    assert a.words == [], "the agents answer: this is an election, and no reason to resign"
    a.way.leaderless = False
    await cluster.until(lambda: a.active, 1)
    assert a.member.status.road is Road.FIRST


@in_cluster
async def test_nothing_is_registered_while_there_is_no_leader(cluster: MemberCluster) -> None:
    b = cluster.b
    await b.member.stop()
    late = Node("c", cluster.service, cluster.loop)
    late.way.leaderless = True
    late.member.start()
    await asyncio.sleep(3)
    assert late.way.made == 0
    late.way.leaderless = False
    await cluster.until(lambda: late.member.candidate() is not None, 1)
    await late.member.stop()


@in_cluster
async def test_holder_cut_off_from_consul_resigns_and_another_answers(cluster: MemberCluster) -> None:
    a, b = cluster.a, cluster.b
    a.way.cut = True
    seconds = await cluster.until(lambda: bool(a.words), 2)
    assert seconds < TIMING.check_ttl, "later the lock would expire anyway"
    assert not a.active
    assert a.words == ["run-a/0"]
    b.member.saw_resigned(a.words[0])
    assert await cluster.until(lambda: b.active, 1) < 0.1
    assert b.member.status.road is Road.RESIGN
    record = b.member.holder()
    assert record is not None
    a.member.heard_holder(record, b.member.status.term)
    assert a.member.holder() == record


@in_cluster
async def test_node_that_resigned_holds_the_lock_again_later(cluster: MemberCluster) -> None:
    """What it resigned is over; a peer that remembers that must not take its next term for over too."""
    a, b = cluster.a, cluster.b
    a.way.cut = True
    await cluster.until(lambda: bool(a.words), 2)
    b.member.saw_resigned(a.words[0])
    await cluster.until(lambda: b.active, 1)
    a.way.cut = False
    await cluster.until(lambda: a.member.candidate() is not None, 2)
    assert await b.member.leave(a.member.candidate())
    await cluster.until(lambda: a.active, 1)
    await asyncio.sleep(3)
    assert a.active


@pytest.mark.parametrize("word", ["", "run-a", "/0", "run-a/", "run-a/x", "run-a/-1"])
def test_garbled_resignation_is_no_resignation(word: str) -> None:
    @in_cluster
    async def play(cluster: MemberCluster) -> None:
        cluster.b.member.saw_resigned(word)
        await asyncio.sleep(1)
        assert cluster.a.active

    play()


@in_cluster
async def test_death_of_the_holder_is_followed_at_once(cluster: MemberCluster) -> None:
    cluster.a.way.cut = True
    cluster.b.member.saw_death("run-a")
    assert await cluster.until(lambda: cluster.b.active, 1) < 0.1
    assert cluster.b.member.status.road is Road.DEATH


@in_cluster
async def test_death_of_another_run_is_none_of_the_holder(cluster: MemberCluster) -> None:
    cluster.b.member.saw_death("run-z")
    await asyncio.sleep(1)
    assert cluster.a.active


@in_cluster
async def test_holder_that_cannot_prepare_lets_another_try(cluster: MemberCluster) -> None:
    a, b = cluster.a, cluster.b
    b.duties.fails = True
    await a.member.leave(b.member.candidate())
    await cluster.until(lambda: b.duties.retired > 0, 1)
    assert b.member.status.reason == "unprepared"
    await cluster.until(lambda: a.active, 3)


@in_cluster
async def test_isolated_holder_releases_the_lock_once(cluster: MemberCluster) -> None:
    a, b = cluster.a, cluster.b
    a.member.isolated(True)
    assert await cluster.until(lambda: b.active, 1) < 0.1
    assert a.member.status.reason == "isolated"
    await b.member.leave(a.member.candidate())
    await cluster.until(lambda: a.active, 1)
    a.member.isolated(True)
    await asyncio.sleep(2)
    assert a.active, "whoever else there was would have taken it"


@in_cluster
async def test_isolated_holder_that_nobody_replaces_goes_on(cluster: MemberCluster) -> None:
    a = cluster.a
    await cluster.b.member.stop()
    a.member.isolated(True)
    assert not a.active
    assert await cluster.until(lambda: a.active, 3) < TIMING.retreat + TIMING.beat + 0.1


@in_cluster
async def test_stopped_node_ends_its_sessions_and_answers_no_more(cluster: MemberCluster) -> None:
    a = cluster.a
    await a.member.stop()
    assert not a.active
    assert len(a.way.ended) == 2
    await cluster.until(lambda: cluster.b.active, 3)


@in_cluster
async def test_stop_without_a_leader_ends_nothing(cluster: MemberCluster) -> None:
    cluster.a.way.leaderless = True
    await cluster.a.member.stop()
    assert cluster.a.way.ended == []


@in_cluster
async def test_holder_is_nobodys_candidate(cluster: MemberCluster) -> None:
    assert cluster.a.member.candidate() is None
    candidate = cluster.b.member.candidate()
    assert candidate is not None
    assert candidate.node == "b"


@in_cluster
async def test_lost_reply_of_a_refence_is_found_by_reading(cluster: MemberCluster) -> None:
    a = cluster.a
    warrant = a.member.reading()
    a.way.deaf = a.way.applies_unanswered = True
    a.member.doubt(warrant)
    await asyncio.sleep(0.1)
    a.way.deaf = False
    assert await a.member.settled(warrant)
    assert a.active


@in_cluster
async def test_refences_that_reach_no_leader_do_not_cost_the_spare_session(cluster: MemberCluster) -> None:
    a, before = cluster.a, cluster.service.entry().session
    move, tries = a.way.move, 0

    async def unsent(condition: Condition, record: LockRecord) -> int:
        nonlocal tries
        tries += 1
        if tries <= 4:
            raise NotApplied("the agent had no connection to a leader")
        return await move(condition, record)

    a.way.move = unsent  # type: ignore[method-assign]
    spare = a.member._state.spare
    a.member.doubt(a.member.reading())
    await cluster.until(lambda: cluster.service.entry().session != before, 2)
    assert tries == 5
    assert spare is not None
    assert cluster.service.entry().session == spare.id
    assert spare.id not in a.way.ended
    assert a.active


@in_cluster
async def test_session_ended_by_hand_costs_a_moment_and_not_the_lead(cluster: MemberCluster) -> None:
    a = cluster.a
    lost = cluster.service.entry().session
    cluster.service.destroy(lost)
    await cluster.until(lambda: cluster.service.entry().session not in {"", lost}, 1)
    assert await cluster.until(lambda: a.active, 1) < 0.2
    assert a.duties.prepared == [1], "nobody has held the lock since: nothing is loaded anew"


def test_broken_loop_is_reported() -> None:
    class Broken(Exception):
        pass

    async def play() -> None:
        cluster = MemberCluster(loop)

        async def watch(index: int) -> object:
            raise Broken

        cluster.a.way.watch_lock = watch  # type: ignore[method-assign, assignment]
        cluster.a.member.start()
        await asyncio.sleep(0.1)
        assert cluster.a.deaths == ["ha-watch"]

    loop = VirtualLoop()
    run(play(), loop)
