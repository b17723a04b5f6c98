from dataclasses import replace

import pytest

from haven.ha.record import LockRecord, Road
from haven.ha.takeover import Attempt, CreateLock, Evidence, ReplaceHolder, SeenLock, TakeFree, attempt
from haven.ha.timing import Timing

TIMING = Timing()
RECORD = LockRecord("n1", "run1", "s1", "haven:n1:run1:0", "consul-1", "http://n1", "n1:8201", Road.FIRST)
HELD = SeenLock(index=7, session="s1", record=RECORD, first_seen=100.0)
FREE = replace(HELD, session="")
NOTHING = Evidence()
EXPIRED = Evidence(critical_checks=(("haven:n1:run1:0", "TTL expired"),))
DEAD = Evidence().with_death("run1")
RESIGNED = Evidence().with_resignation("run1", 0)


def decide(lock: SeenLock, evidence: Evidence, now: float = 100.0) -> Attempt | None:
    return attempt(lock, evidence, "run2", now, TIMING)


def test_first_holder_ever_answers_at_once() -> None:
    assert decide(SeenLock(index=0), NOTHING) == Attempt(CreateLock(), Road.FIRST, 0.0)


@pytest.mark.parametrize("evidence", [NOTHING, EXPIRED])
def test_holder_without_proof_of_its_end_is_left_alone(evidence: Evidence) -> None:
    assert decide(HELD, evidence) is None


@pytest.mark.parametrize(("evidence", "road"), [(DEAD, Road.DEATH), (RESIGNED, Road.RESIGN)])
def test_dead_or_resigned_holder_is_replaced_at_once(evidence: Evidence, road: Road) -> None:
    assert decide(HELD, evidence) == Attempt(ReplaceHolder("s1"), road, 0.0)


def test_proof_about_another_run_of_the_node_is_no_proof() -> None:
    assert decide(HELD, Evidence().with_death("run0")) is None


def test_holder_whose_value_a_stranger_wrote_is_left_alone() -> None:
    assert decide(replace(HELD, record=None), DEAD) is None
    assert decide(replace(HELD, session="s9"), DEAD) is None


def test_released_lock_is_taken_at_once() -> None:
    released = replace(FREE, record=replace(RECORD, released=True))
    assert decide(released, NOTHING) == Attempt(TakeFree(7), Road.RELEASE, 0.0)


def test_expired_check_lets_the_successor_answer_at_once() -> None:
    assert decide(FREE, EXPIRED) == Attempt(TakeFree(7), Road.EXPIRY, 0.0)


@pytest.mark.parametrize("output", ["", "operator", "TTL expired (last output before timeout follows): x"])
def test_critical_check_with_another_output_proves_nothing(output: str) -> None:
    evidence = Evidence(critical_checks=(("haven:n1:run1:0", output),))
    assert decide(FREE, evidence) == Attempt(TakeFree(7), Road.OTHER, TIMING.check_ttl)


def test_expiry_of_another_check_proves_nothing() -> None:
    evidence = Evidence(critical_checks=(("haven:n1:run1:1", "TTL expired"),))
    assert decide(FREE, evidence) == Attempt(TakeFree(7), Road.OTHER, TIMING.check_ttl)


def test_wait_that_the_holder_owed_is_inherited() -> None:
    """A holder that died during its own wait never proved that the lease before it was over."""
    owing = replace(HELD, record=replace(RECORD, road=Road.OTHER, owes_wait=True))
    early = decide(owing, DEAD, now=100.5)
    assert early is not None
    assert early.wait == pytest.approx(1.0)
    assert early.owes_wait
    late = decide(owing, DEAD, now=101.5)
    assert late is not None
    assert not late.owes_wait


def test_record_survives_its_encoding_and_garbage_is_none() -> None:
    assert LockRecord.from_bytes(RECORD.to_bytes()) == RECORD
    for raw in (
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"road":"first"}',
        b"\xff",
        RECORD.to_bytes().replace(b'"n1"', b"1"),
    ):
        assert LockRecord.from_bytes(raw) is None
