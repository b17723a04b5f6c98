from dataclasses import replace

import pytest

from haven.ha.lock_operations import LockEntry, LockOperation, Verb, apply, leaving, taking
from haven.ha.record import LockRecord, Road
from haven.ha.takeover import CreateLock, ReplaceHolder, TakeFree

RECORD = LockRecord("n1", "run1", "s1", "haven:n1:run1:1", "consul-1", "http://n1", "n1:8201", Road.FIRST)
HELD = LockEntry(7, "s0", replace(RECORD, session="s0"))
FREE = replace(HELD, session="")


def applied(
    entry: LockEntry, operations: tuple[LockOperation, ...], alive: str = "s0 s1"
) -> LockEntry | None:
    return apply(entry, operations, alive.split().__contains__, 9)


@pytest.mark.parametrize(
    ("entry", "condition"),
    [(LockEntry(), CreateLock()), (HELD, ReplaceHolder("s0")), (FREE, TakeFree(7))],
)
def test_met_condition_puts_the_session_in_place(
    entry: LockEntry, condition: CreateLock | ReplaceHolder | TakeFree
) -> None:
    assert applied(entry, taking(condition, RECORD)) == LockEntry(9, "s1", RECORD)


@pytest.mark.parametrize(
    ("entry", "condition"),
    [
        (HELD, CreateLock()),
        (FREE, CreateLock()),
        (FREE, ReplaceHolder("s0")),
        (HELD, ReplaceHolder("s9")),
        (LockEntry(), ReplaceHolder("")),
        (FREE, TakeFree(6)),
        (HELD, TakeFree(7)),
    ],
)
def test_unmet_condition_changes_nothing(
    entry: LockEntry, condition: CreateLock | ReplaceHolder | TakeFree
) -> None:
    assert applied(entry, taking(condition, RECORD)) is None


def test_dead_session_locks_nothing() -> None:
    assert applied(FREE, taking(TakeFree(7), RECORD), alive="s0") is None
    assert applied(HELD, leaving("s0", RECORD), alive="s0") is None


def test_lock_is_given_to_the_record_s_session_or_freed_with_a_word() -> None:
    assert applied(HELD, leaving("s0", RECORD)) == LockEntry(9, "s1", RECORD)
    released = replace(HELD.record or RECORD, released=True)
    assert applied(HELD, leaving("s0", released)) == LockEntry(9, "", released)
    assert applied(HELD, leaving("s9", released)) is None


def test_replacing_is_fenced_by_its_first_operation() -> None:
    assert taking(ReplaceHolder("s0"), RECORD)[0] == LockOperation(Verb.CHECK_SESSION, "s0")
    assert leaving("s0", RECORD)[0] == LockOperation(Verb.CHECK_SESSION, "s0")
