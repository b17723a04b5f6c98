"""Single rules of the pure protocol, where the simulation would show a breach only by chance."""

from dataclasses import replace

import pytest

from haven.ha.lease import Lease, PassChain
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    Beat,
    ChecksRead,
    DeathSeen,
    DoubtRaised,
    EndSession,
    Event,
    Isolated,
    Leave,
    LinksHeard,
    LockHint,
    LockRead,
    MakeSession,
    MoveCommitted,
    MoveRefused,
    MoveUnknown,
    PassAnswered,
    PassFailed,
    Prepare,
    Prepared,
    ReadAhead,
    ReadChecks,
    ReadFailed,
    ReadLock,
    ResignationSeen,
    Retire,
    SendLeave,
    SendMove,
    SendPass,
    SessionFailed,
    SessionMade,
    SettleWrites,
)
from haven.ha.protocol import step
from haven.ha.record import LockRecord, Road
from haven.ha.sessions import PARTING
from haven.ha.state import OFFERED, OwnSession, State, Tenure
from haven.ha.takeover import REMEMBERED, CreateLock, Evidence, ReplaceHolder, TakeFree
from haven.ha.timing import Timing

TIMING = Timing()
OTHER = LockRecord("n2", "run2", "s2", "haven:n2:run2:1", "consul-2", "http://n2", "n2:8201", Road.FIRST)


def own(number: int, last: float) -> OwnSession:
    return OwnSession(f"own{number}", f"haven:n1:run1:{number}", f"consul-{number % 3}", PassChain(last))


def fed(state: State, now: float, *events: Event) -> tuple[State, list[Action]]:
    """Feed events at one moment; return the state and all actions."""
    actions: list[Action] = []
    for event in events:
        state, further = step(state, event, now)
        actions.extend(further)
    return state, actions


def standby(now: float = 100.0) -> State:
    """Return a node with two fresh sessions that sees another holder."""
    state = State("n1", "run1", "http://n1", "n1:8201", TIMING)
    state, _ = fed(state, now, LockRead(now, 7, "s2", OTHER))
    state, _ = fed(state, now, SessionMade(1, own(1, now)), SessionMade(2, own(2, now)))
    assert state.main
    assert state.spare
    return state


def holder(now: float = 100.0) -> State:
    """Return a node that just took the lock and is ready."""
    state, actions = fed(standby(now), now, LockRead(now, 8, "", replace(OTHER, released=True)))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    state, _ = fed(state, now, MoveCommitted(sent.number, 9), Prepared(9))
    assert state.may_write(now)
    return state


def only(actions: list[Action], kind: type) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def test_beat_passes_both_sessions() -> None:
    _, actions = fed(standby(), 100.1, Beat())
    assert len(only(actions, SendPass)) == 2


def test_second_session_is_made_through_another_agent() -> None:
    state = State("n1", "run1", "http://n1", "n1:8201", TIMING)
    state, first = fed(state, 100.0, LockRead(100.0, 7, "s2", OTHER))
    assert only(first, MakeSession) == [MakeSession(1, None)]
    _, second = fed(state, 100.1, SessionMade(1, own(1, 100.0)))
    assert only(second, MakeSession) == [MakeSession(2, "consul-1")]


def test_nothing_is_registered_twice_at_once() -> None:
    state = State("n1", "run1", "http://n1", "n1:8201", TIMING)
    _, actions = fed(state, 100.0, LockRead(100.0, 7, "s2", OTHER), LockRead(100.0, 7, "s2", OTHER))
    assert len(only(actions, MakeSession)) == 1


def test_nothing_is_registered_or_ended_without_a_leader() -> None:
    state, _ = fed(standby(), 100.1, ReadFailed())
    _, actions = fed(state, 103.0, Beat(), ReadFailed(), LockHint(8, "s3", OTHER))
    assert not only(actions, MakeSession)
    assert not only(actions, EndSession)


def test_session_that_holds_the_lock_is_not_ended() -> None:
    """That would free the lock without a word of how."""
    state, _ = fed(holder(), 100.1, DoubtRaised("own1"), MoveUnknown(2))
    state, _ = fed(state, 103.0, Beat(), MoveUnknown(3))
    _, actions = fed(state, 103.1, LockRead(103.1, 9, "own1", holder().lock.record))  # type: ignore[union-attr]
    assert EndSession(own(2, 100.0)) in actions
    assert "own1" not in {action.session.id for action in actions if isinstance(action, EndSession)}


def test_free_lock_without_proof_waits_for_the_catalog_and_a_beat() -> None:
    free = LockRead(100.1, 8, "", OTHER)
    state, actions = fed(standby(), 100.1, free)
    assert only(actions, ReadChecks)
    assert not only(actions, SendMove)
    state, actions = fed(state, 100.12, ChecksRead(100.11, ()))
    assert not only(actions, SendMove)
    _, actions = fed(state, 100.41, Beat())
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    assert sent.condition == TakeFree(8)
    assert sent.record.owes_wait


def test_checks_read_before_the_loss_prove_nothing_yet() -> None:
    state, _ = fed(standby(), 100.0, ChecksRead(100.0, ()))
    _, actions = fed(state, 100.1, LockRead(100.1, 8, "", OTHER))
    assert only(actions, ReadChecks)


EXPIRED = ChecksRead(100.11, ((OTHER.check_id, "TTL expired"),))
RESTARTED = ChecksRead(100.11, ((OTHER.check_id, ""),))


def taken_at(*events: Event, checks: ChecksRead, lock: LockRecord = OTHER) -> float:
    """Return when a standby that learnt these things tries for a lock that fell at 100.1."""
    state, actions = fed(standby(), 100.05, *events)
    state, further = fed(state, 100.1, LockRead(100.1, 8, "", lock))
    actions = [*actions, *further]
    for now in (100.12, *(100.1 + tick / 100 for tick in range(3, 200))):
        if only(actions, SendMove):
            return now - 100.1
        state, actions = fed(state, now + 1e-6, checks if now == 100.12 else Beat())
    raise AssertionError("never tried")


SPEAKS = LinksHeard(frozenset({OTHER.run}))


def test_holder_that_speaks_may_take_its_lock_back_first() -> None:
    """Its own transaction may have to run out first; one that says nothing gets a beat, as ever."""
    moment = TIMING.beat + TIMING.call_deadline
    assert taken_at(checks=RESTARTED) == pytest.approx(TIMING.beat, abs=0.02)
    assert taken_at(SPEAKS, checks=RESTARTED) == pytest.approx(moment, abs=0.02)
    assert taken_at(SPEAKS, ReadFailed(), checks=EXPIRED) == pytest.approx(moment, abs=0.02)


@pytest.mark.parametrize(
    "known",
    [
        (SPEAKS,),  # it hangs, or its own way to Consul broke: Consul answers others
        (ReadFailed(),),  # Consul had trouble, but the holder is silent too
        (LinksHeard(frozenset({"run3"})), ReadFailed()),
        (SPEAKS, ReadFailed(), LinksHeard(frozenset())),
    ],
)
def test_expired_holder_is_replaced_at_once_unless_consul_alone_had_trouble(known: tuple[Event, ...]) -> None:
    assert taken_at(*known, checks=EXPIRED) == pytest.approx(0.02, abs=0.02)


@pytest.mark.parametrize(
    ("known", "lock"),
    [
        ((DeathSeen(OTHER.run),), OTHER),
        ((ResignationSeen(OTHER.run, 0),), OTHER),
        ((), replace(OTHER, released=True)),
    ],
)
def test_no_moment_is_left_to_a_holder_that_is_surely_gone(
    known: tuple[Event, ...], lock: LockRecord
) -> None:
    assert taken_at(SPEAKS, ReadFailed(), *known, checks=EXPIRED, lock=lock) == pytest.approx(0.0, abs=0.03)


def test_refence_that_can_never_be_applied_is_not_waited_for() -> None:
    """The lock fell from the session that it names: it is picked up before the deadline is over (ADR 8)."""
    state, actions = fed(holder(), 100.1, DoubtRaised("own1"))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    record = state.lock.record if state.lock else None
    state, actions = fed(state, 100.2, LockRead(100.19, 10, "", record))
    (again,) = [action for action in actions if isinstance(action, SendMove)]
    assert again.condition == TakeFree(10)
    assert again.record.session == sent.record.session == "own2"
    state, actions = fed(state, 100.3, MoveUnknown(sent.number), MoveRefused(sent.number, fenced=True))
    assert actions == []
    state, _ = fed(state, 100.35, MoveCommitted(again.number, 11))
    assert state.tenure
    assert (state.tenure.session, state.tenure.reign) == ("own2", 9)


def test_refence_that_may_have_been_applied_is_waited_for() -> None:
    """The lock fell from the session that it went to, or was not seen to fall yet."""
    state, actions = fed(holder(), 100.1, DoubtRaised("own1"))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    _, actions = fed(state, 100.2, LockRead(100.19, 11, "", sent.record))
    assert not only(actions, SendMove)


def test_own_fallen_lock_is_picked_up_within_the_reign() -> None:
    """Nobody held it since, and what was sent under the ended session is dead: writes can be settled."""
    state = holder()
    record = state.lock.record if state.lock else None
    state, actions = fed(state, 100.1, LockRead(100.1, 10, "", record))
    assert not only(actions, Retire)
    assert not state.may_write(100.1)
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    assert sent.condition == TakeFree(10)
    assert sent.record.session == "own2", "the session of a lost lock is never offered again"
    assert not sent.record.owes_wait
    state, actions = fed(state, 100.2, MoveCommitted(sent.number, 11))
    assert state.tenure
    assert (state.tenure.session, state.tenure.term, state.tenure.reign) == ("own2", 11, 9)
    assert only(actions, SettleWrites)
    assert state.may_write(100.2)


@pytest.mark.parametrize("record", [None, OTHER, replace(OTHER, released=True)])
def test_fallen_lock_that_another_held_last_ends_the_reign(record: LockRecord | None) -> None:
    state, actions = fed(holder(), 100.1, LockRead(100.1, 12, "", record))
    assert only(actions, Retire)
    assert state.tenure is None


def test_deleted_key_is_no_first_start() -> None:
    _, actions = fed(standby(), 100.1, LockRead(100.1, 0, "", None), ChecksRead(100.11, ()))
    assert not only(actions, SendMove)
    state, _ = fed(standby(), 100.1, LockRead(100.1, 0, "", None), ChecksRead(100.11, ()))
    _, actions = fed(state, 100.45, Beat())
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    assert sent.condition == CreateLock()
    assert sent.record.owes_wait


def test_holder_whose_key_was_deleted_retires() -> None:
    state, actions = fed(holder(), 100.3, LockRead(100.2, 0, "", None))
    assert state.tenure is None
    assert only(actions, Retire)


def test_read_sent_before_the_move_says_nothing_of_the_new_term() -> None:
    state, actions = fed(holder(), 100.1, LockRead(99.9, 7, "s2", OTHER))
    assert state.tenure
    assert not only(actions, Retire)


def test_hint_never_ends_or_extends_a_term() -> None:
    before = holder()
    state, _ = fed(before, 100.5, LockHint(12, "s2", OTHER))
    assert state.tenure == before.tenure


def test_refence_caps_the_old_lease_and_nothing_extends_it() -> None:
    state = holder()
    state, _ = fed(state, 100.9, PassAnswered("own1", 100.9), LockRead(100.9, 9, "own1", None))
    assert state.tenure
    assert state.tenure.lease == Lease(pytest.approx(102.1))  # type: ignore[arg-type]
    state, actions = fed(state, 101.0, DoubtRaised("own1"))
    assert only(actions, SendMove)
    assert state.tenure
    assert state.tenure.lease == Lease(pytest.approx(101.2))  # type: ignore[arg-type]
    state, _ = fed(state, 101.1, PassAnswered("own1", 101.1), LockRead(101.1, 9, "own1", None))
    assert not state.may_read(101.3)


def test_lost_reply_of_a_refence_is_taken_as_committed_when_a_read_shows_it() -> None:
    state, actions = fed(holder(), 100.1, DoubtRaised("own1"))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    state, actions = fed(state, 100.5, MoveUnknown(sent.number), LockRead(100.45, 11, "own2", sent.record))
    assert state.tenure
    assert (state.tenure.session, state.tenure.term, state.tenure.reign) == ("own2", 11, 9)
    assert only(actions, SettleWrites)
    assert not state.doubt


def test_unknown_moves_are_tried_again_but_not_in_a_hot_loop() -> None:
    state, actions = fed(holder(), 100.1, DoubtRaised("own1"))
    tries = 0
    while sent := [action for action in actions if isinstance(action, SendMove)]:
        tries += 1
        state, actions = fed(state, 100.1, MoveUnknown(sent[0].number), LockRead(100.1, 9, "own1", None))
    assert tries == 3
    _, actions = fed(state, 100.45, Beat())
    assert only(actions, SendMove)


def test_session_that_a_move_under_way_may_lock_is_not_ended() -> None:
    """Seen on containers: the lock was moved to a session that was ended 30 ms before, and was free."""
    state, actions = fed(holder(), 100.0, DoubtRaised("own1"))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    assert sent.record.session == "own2"
    late = 100.0 + TIMING.lease + 0.05
    read = LockRead(late, 9, "own1", None)
    state, actions = fed(state, late, read)
    assert not only(actions, EndSession)
    state, actions = fed(state, late, MoveCommitted(sent.number, 10), LockRead(late, 10, "own2", sent.record))
    assert EndSession(own(2, 100.0)) not in actions


def test_session_that_consul_never_locks_is_given_up() -> None:
    """An operator destroyed it: its check is passed all the same."""
    free = LockRead(100.0, 8, "", replace(OTHER, released=True))
    state, actions = fed(standby(), 100.0, free)
    for now in (100.0, 100.0, 100.0, 100.4, 100.8):
        if sent := [action for action in actions if isinstance(action, SendMove)]:
            state, actions = fed(state, now, MoveRefused(sent[0].number), replace(free, sent=now))
    assert "own1" not in {session.id for session in state.sessions()}


def test_loser_of_a_race_keeps_its_session() -> None:
    state, actions = fed(standby(), 100.0, LockRead(100.0, 8, "", replace(OTHER, released=True)))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    state, _ = fed(
        state, 100.1, MoveRefused(sent.number), LockRead(100.1, 9, "s3", replace(OTHER, session="s3"))
    )
    assert state.main == own(1, 100.0)


def test_holder_resigns_when_no_kind_of_call_is_answered() -> None:
    silent = (PassFailed("own1"), PassFailed("own2"), ReadFailed())
    state, actions = fed(holder(), 100.5, *silent)
    assert not only(actions, AnnounceResigned), "a process that was paused finds such failures too"
    state, actions = fed(state, 100.85, *silent)
    assert only(actions, AnnounceResigned) == [AnnounceResigned(0)]
    assert only(actions, Retire)
    assert not state.may_read(100.85)
    assert state.sessions() == ()
    assert state.generation == 1


def test_any_answer_keeps_the_holder_from_resigning() -> None:
    silent = (PassFailed("own1"), PassFailed("own2"), ReadFailed())
    state, _ = fed(holder(), 100.5, *silent)
    state, _ = fed(state, 100.6, PassAnswered("own2", 100.4))
    _, actions = fed(state, 100.85, PassFailed("own1"), ReadFailed())
    assert not only(actions, AnnounceResigned)


def test_late_answer_to_a_move_sent_before_a_resignation_begins_no_term() -> None:
    silent = (PassFailed("own1"), PassFailed("own2"), ReadFailed())
    state, actions = fed(holder(), 100.5, *silent)
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    state, _ = fed(state, 100.85, *silent)
    state, _ = fed(state, 100.9, MoveCommitted(sent.number, 10))
    assert state.tenure is None


def test_doubt_about_another_session_is_no_doubt() -> None:
    state, _ = fed(holder(), 100.1, DoubtRaised("own0"))
    assert not state.doubt


def test_leave_during_a_refence_waits_for_it() -> None:
    state, _ = fed(holder(), 100.1, DoubtRaised("own1"))
    state, actions = fed(state, 100.1, Leave(None))
    assert not only(actions, SendLeave)
    _, actions = fed(state, 100.2, MoveCommitted(2, 10))
    assert [action.old for action in actions if isinstance(action, SendLeave)] == ["own2"]


def test_lock_that_was_given_away_in_an_election_is_left_to_others_from_its_end_on() -> None:
    state, actions = fed(holder(), 100.1, Leave(None))
    (sent,) = only(actions, SendLeave)
    later = 100.1 + 2 * TIMING.retreat
    state = replace(state, main=own(2, later), spare=own(3, later))
    state, actions = fed(state, later, MoveUnknown(sent.number))
    (again,) = only(actions, SendLeave)
    free = LockRead(later, 10, "", replace(sent.record, released=True))
    state, actions = fed(state, later, free, MoveUnknown(again.number))
    assert only(actions, SendMove) == []
    later += TIMING.retreat
    state = replace(state, main=own(2, later), spare=own(3, later))
    _, actions = fed(state, later, replace(free, sent=later))
    assert len(only(actions, SendMove)) == 1


def left_in_doubt() -> tuple[State, SendMove]:
    """Return a holder that stepped down after its session was lost, and its refence of unknown outcome."""
    state, actions = fed(holder(), 100.1, DoubtRaised("own1"), Leave(None))
    (refence,) = only(actions, SendMove)
    now = 100.0 + TIMING.check_ttl
    state = replace(state, spare=own(2, now))
    state, actions = fed(state, now, MoveUnknown(refence.number))
    assert not state.tenure
    (leave,) = only(actions, SendLeave)
    assert leave.old == "own1", "the lost session may still hold the lock"
    free = replace(leave.record, session="")
    state, _ = fed(state, now, LockRead(now, 9, "", free), MoveRefused(leave.number, fenced=True))
    assert not state.move
    return state, refence


def test_refence_that_came_through_after_a_step_down_is_passed_on() -> None:
    state, refence = left_in_doubt()
    now = 100.1 + TIMING.check_ttl
    state, actions = fed(state, now, LockRead(now, 10, "own2", refence.record))
    assert [action.old for action in only(actions, SendLeave)] == ["own2"]
    assert only(actions, SendLeave)[0].record.released
    assert not state.tenure
    state, actions = fed(state, now, MoveCommitted(only(actions, SendLeave)[0].number, 11))
    assert all(session.id != "own2" for session in state.sessions())
    assert now < state.compete_at


def test_lock_that_is_handed_to_a_node_that_stepped_down_is_accepted() -> None:
    state, refence = left_in_doubt()
    now = 100.1 + TIMING.check_ttl
    state = replace(state, spare=own(3, now))
    handed = replace(refence.record, session="own3", road=Road.HAND_OVER)
    state, _ = fed(state, now, LockRead(now, 12, "own3", handed))
    assert state.tenure
    assert state.tenure.session == "own3"


def test_end_of_an_isolation_does_not_take_a_step_down_back() -> None:
    state, _ = fed(holder(), 100.1, DoubtRaised("own1"), Leave(None), Isolated(False))
    assert state.yielding


@pytest.mark.parametrize("alone", [False, True])
def test_acquisition_that_came_through_late_begins_a_term_without_another_session(alone: bool) -> None:
    state, actions = fed(standby(), 100.0, LockRead(100.0, 8, "", replace(OTHER, released=True)))
    (sent,) = only(actions, SendMove)
    state, actions = fed(replace(state, spare=None) if alone else state, 100.4, MoveUnknown(sent.number))
    (again,) = only(actions, SendMove)
    state, actions = fed(state, 100.5, LockRead(100.45, 9, "own1", sent.record))
    assert only(actions, Prepare) == [], "the second try is on its way"
    state, _ = fed(state, 100.5, MoveRefused(again.number, fenced=True))
    state, actions = fed(state, 100.6, LockRead(100.55, 9, "own1", sent.record))
    assert only(actions, Prepare) == [Prepare(9)]
    assert state.tenure == Tenure("own1", 9, 9, Road.RELEASE, Lease(100.0 + TIMING.lease), 100.6, 100.55)


def test_acquisition_that_came_through_unseen_waits_as_its_value_says() -> None:
    record = standby().record(own(1, 100.0), Road.OTHER, True)
    state, _ = fed(standby(), 100.5, LockRead(100.45, 9, "own1", record))
    assert state.tenure
    assert state.tenure.answers_from == 100.5 + TIMING.check_ttl


def test_lock_that_came_to_a_session_given_up_is_moved_to_another() -> None:
    given_up = own(0, 99.0)
    record = standby().record(given_up, Road.RELEASE, False)
    state = replace(standby(), abandoned=(given_up,), offered=("own0",))
    state, actions = fed(state, 100.4, LockRead(100.4, 9, "own0", record))
    (sent,) = only(actions, SendMove)
    assert sent.condition == ReplaceHolder("own0")
    assert sent.record.session == "own2"
    state, _ = fed(state, 100.5, MoveCommitted(sent.number, 10))
    assert state.tenure
    assert state.tenure.answers_from == 100.5


def test_loser_of_a_race_sends_nothing_more_before_it_has_seen_the_lock_again() -> None:
    held = replace(OTHER, session="s2")
    state, _ = fed(standby(), 100.0, LockRead(100.0, 8, "s2", held))
    state, actions = fed(state, 100.1, DeathSeen("run2"))
    (sent,) = only(actions, SendMove)
    state, actions = fed(state, 100.2, MoveRefused(sent.number, fenced=True), Beat())
    assert only(actions, SendMove) == []
    assert ReadLock() in actions
    state, actions = fed(state, 100.3, LockRead(100.15, 8, "s2", held))
    assert only(actions, SendMove) == []
    _, actions = fed(state, 100.4, LockRead(100.3, 9, "s2", held))
    assert len(only(actions, SendMove)) == 1


def test_standby_keeps_from_sessions_for_a_moment_after_a_change_of_the_lock() -> None:
    state, actions = fed(replace(standby(), spare=None), 100.0, LockRead(100.0, 8, "s2", OTHER))
    assert only(actions, MakeSession) == []
    state, actions = fed(state, 100.4, LockRead(100.4, 8, "s2", OTHER))
    assert only(actions, MakeSession) == []
    _, actions = fed(state, 100.6, LockRead(100.6, 8, "s2", OTHER))
    assert len(only(actions, MakeSession)) == 1
    _, actions = fed(replace(standby(), main=None, spare=None), 100.0, LockRead(100.0, 8, "s2", OTHER))
    assert len(only(actions, MakeSession)) == 1, "without any session it waits for nothing"


def test_reading_ahead_begins_when_the_lock_is_seen_to_be_one_s_own_and_is_for_that_term() -> None:
    given = standby().record(standby().sessions()[0], Road.HAND_OVER, False)
    state, actions = fed(standby(), 100.0, LockHint(12, "own1", given))
    assert only(actions, ReadAhead) == [ReadAhead(12)]
    _, actions = fed(state, 100.1, LockRead(100.05, 12, "own1", given))
    assert only(actions, Prepare) == [Prepare(12)]
    _, actions = fed(standby(), 100.0, LockHint(12, "s3", OTHER))
    assert only(actions, ReadAhead) == []


def test_lock_under_an_own_session_with_a_stranger_s_value_is_waited_for() -> None:
    state = replace(standby(), offered=("own1",))
    _, actions = fed(state, 100.4, LockRead(100.4, 9, "own1", None))
    (sent,) = [action for action in actions if isinstance(action, SendMove)]
    assert sent.record.owes_wait


def at_one_agent(now: float) -> tuple[State, list[Action]]:
    """Return a standby both of whose sessions were made through consul-1, a while later."""
    state = State("n1", "run1", "http://n1", "n1:8201", TIMING)
    state, _ = fed(state, now, LockRead(now, 7, "s2", OTHER))
    state, actions = fed(state, now, SessionMade(1, own(1, now)), SessionMade(2, own(4, now)))
    assert only(actions, MakeSession) == [MakeSession(2, "consul-1")]
    soon = now + 1.0
    state, actions = fed(state, soon, *passes(state, soon), LockRead(soon, 7, "s2", OTHER))
    assert only(actions, MakeSession) == []
    later = now + PARTING
    state = replace(state, main=own(1, later - 0.1), spare=own(4, later - 0.1))
    return fed(state, later, LockRead(later, 7, "s2", OTHER))


def passes(state: State, now: float) -> list[Event]:
    return [PassAnswered(session.id, now) for session in state.sessions()]


def test_sessions_of_one_agent_are_parted_when_another_can_make_one() -> None:
    state, actions = at_one_agent(100.0)
    assert only(actions, MakeSession) == [MakeSession(3, "consul-1")]
    now = 100.0 + PARTING
    state, _ = fed(state, now, SessionMade(3, own(5, now)))
    assert [session.id for session in state.sessions()] == ["own1", "own5"]
    _, actions = fed(state, now, LockRead(now, 7, "s2", OTHER))
    assert [action.session.id for action in only(actions, EndSession)] == ["own4"]


def test_sessions_stay_where_no_other_agent_makes_one_and_while_the_lock_may_come_to_the_spare() -> None:
    now = 100.0 + PARTING
    state, _ = at_one_agent(100.0)
    state, _ = fed(state, now, SessionMade(3, own(7, now)))
    assert [session.id for session in state.sessions()] == ["own1", "own4"]
    tenure = Tenure("own1", 9, 9, Road.FIRST, Lease(now + 1), now, now, moving_to="own4")
    state = replace(state, registering=4, tenure=tenure)
    state, _ = fed(state, now, SessionMade(4, own(8, now)))
    assert state.spare
    assert state.spare.id == "own4"


def test_a_failed_try_to_part_sessions_is_not_repeated_with_each_beat() -> None:
    now = 100.0 + PARTING
    state, _ = at_one_agent(100.0)
    state, actions = fed(state, now, SessionFailed(3), LockRead(now, 7, "s2", OTHER))
    assert only(actions, MakeSession) == []
    later = now + PARTING
    state = replace(state, main=own(1, later - 0.1), spare=own(4, later - 0.1))
    _, actions = fed(state, later, LockRead(later, 7, "s2", OTHER))
    assert only(actions, MakeSession) == [MakeSession(4, "consul-1")]


def test_what_is_remembered_is_bounded() -> None:
    state = holder()
    for number in range(3, 3 * OFFERED):
        now = 100.0 + number / 100
        state, actions = fed(state, now, SessionMade(state.registering, own(number, now)))
        state, actions = fed(state, now, DoubtRaised(state.tenure.session if state.tenure else ""))
        for sent in [action for action in actions if isinstance(action, SendMove)]:
            state, _ = fed(state, now, MoveCommitted(sent.number, 9 + number))
            current = state.tenure.session if state.tenure else ""
            state, _ = fed(state, now, LockRead(now, 9 + number, current, None))
    assert len(state.offered) == OFFERED
    assert len(state.abandoned) < 4
    evidence = Evidence()
    for number in range(2 * REMEMBERED):
        evidence = evidence.with_death(f"run{number}").with_resignation(f"run{number}", 0)
    assert len(evidence.dead) == len(evidence.resigned) == REMEMBERED


def test_resignation_covers_earlier_generations_and_no_later_one() -> None:
    evidence = Evidence().with_resignation("run2", 1).with_resignation("run2", 0)
    assert evidence.resigned_from(replace(OTHER, generation=0))
    assert evidence.resigned_from(replace(OTHER, generation=1))
    assert not evidence.resigned_from(replace(OTHER, generation=2))
    assert not evidence.resigned_from(replace(OTHER, run="run3"))
