"""The judge of the chaos suite is judged itself: on good histories and on bad ones."""

import random

import pytest

from chaos.linearizability import check
from chaos.secret_model import Kind, Operation, Outcome, Secret, apply

DONE, UNKNOWN = Outcome.DONE, Outcome.UNKNOWN


def write(a: float, b: float, value: str, version: int, outcome: Outcome = DONE) -> Operation:
    return Operation(Kind.WRITE, outcome, a, b, value=value, version=version)


def read(a: float, b: float, value: str | None, version: int) -> Operation:
    return Operation(Kind.READ, DONE, a, b, value=value, version=version)


def delete(a: float, b: float, outcome: Outcome = DONE) -> Operation:
    return Operation(Kind.DELETE, outcome, a, b)


def cas(a: float, b: float, value: str, expected: int, outcome: Outcome) -> Operation:
    return Operation(Kind.CAS, outcome, a, b, value=value, version=expected + 1, expected=expected)


GOOD = {
    "empty": [],
    "in order": [write(0, 1, "a", 1), read(2, 3, "a", 1)],
    "a read that overlaps a write sees either": [
        write(0, 5, "a", 1),
        read(1, 2, None, 0),
        read(3, 4, "a", 1),
    ],
    "an unknown write that was applied": [write(0, 1, "a", 1, UNKNOWN), read(5, 6, "a", 1)],
    "an unknown write that was not": [write(0, 1, "a", 1, UNKNOWN), read(5, 6, None, 0)],
    "an unknown write that comes late": [
        write(0, 1, "a", 1, UNKNOWN),
        read(5, 6, None, 0),
        write(7, 8, "b", 1),
        read(9, 10, "a", 2),
    ],
    "a deleted version": [write(0, 1, "a", 1), delete(2, 3), read(4, 5, None, 1), write(6, 7, "b", 2)],
    "a refused write": [
        Operation(Kind.WRITE, Outcome.REFUSED, 0, 1, value="a"),
        read(2, 3, None, 0),
    ],
    "check and set": [
        cas(0, 1, "a", 0, DONE),
        cas(2, 3, "b", 0, Outcome.MISMATCH),
        cas(4, 5, "c", 1, DONE),
        read(6, 7, "c", 2),
    ],
    "listed once written": [
        Operation(Kind.LISTED, DONE, 0, 1, present=False),
        write(2, 3, "a", 1),
        Operation(Kind.LISTED, DONE, 4, 5, present=True),
    ],
}

BAD = {
    "a stale read": [write(0, 1, "a", 1), write(2, 3, "b", 2), read(4, 5, "a", 1)],
    "a lost write": [write(0, 1, "a", 1), read(2, 3, None, 0)],
    "a lost write whose version was given twice": [write(0, 1, "a", 1), write(2, 3, "b", 1)],
    "a read that goes back in time": [write(0, 9, "a", 1), read(1, 2, "a", 1), read(3, 4, None, 0)],
    "a refused write that was applied": [
        Operation(Kind.WRITE, Outcome.REFUSED, 0, 1, value="a", version=1),
        read(2, 3, "a", 1),
    ],
    "a value that nobody wrote": [write(0, 1, "a", 1), read(2, 3, "x", 1)],
    "an unknown write that is seen and gone": [
        write(0, 1, "a", 1, UNKNOWN),
        read(2, 3, "a", 1),
        read(4, 5, None, 0),
    ],
    "a read before the write began": [read(0, 1, "a", 1), write(2, 3, "a", 1)],
    "two winners of one check and set": [cas(0, 9, "a", 0, DONE), cas(0, 9, "b", 0, DONE)],
    "a mismatch that was none": [write(0, 1, "a", 1), cas(2, 3, "b", 1, Outcome.MISMATCH)],
    "an undone delete": [write(0, 1, "a", 1), delete(2, 3), read(4, 5, "a", 1)],
    "unlisted although written": [write(0, 1, "a", 1), Operation(Kind.LISTED, DONE, 2, 3, present=False)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_history(name: str) -> None:
    assert check(GOOD[name]).linearizable


@pytest.mark.parametrize("name", BAD)
def test_bad_history(name: str) -> None:
    assert not check(BAD[name]).linearizable


def test_a_verdict_names_where_the_search_got_stuck() -> None:
    assert check(BAD["a stale read"]).stuck_at == (BAD["a stale read"][2],)


def made(seed: int, size: int = 150) -> list[Operation]:
    """Make a linearizable history: each operation takes effect at a moment within its time."""
    chance = random.Random(seed)
    state, history = Secret(), []
    for i in range(size):
        at = float(i)
        begun, ended = at - chance.expovariate(0.2), at + chance.expovariate(0.2)
        kind = chance.choice([Kind.WRITE, Kind.READ, Kind.READ, Kind.DELETE])
        outcome = UNKNOWN if kind is not Kind.READ and chance.random() < 0.05 else DONE
        version = state.version + 1 if kind is Kind.WRITE else state.version
        value = f"v{i}" if kind is Kind.WRITE else state.value
        operation = Operation(kind, outcome, begun, ended, value=value, version=version)
        if outcome is DONE or chance.random() < 0.5:
            after = apply(state, operation)
            assert after is not None
            state = after
        history.append(operation)
    return history


@pytest.mark.parametrize("seed", range(30))
def test_made_histories_are_accepted_and_a_changed_read_is_not(seed: int) -> None:
    history = made(seed)
    assert check(history).linearizable
    reads = [i for i, operation in enumerate(history) if operation.kind is Kind.READ]
    victim = reads[len(reads) // 2]
    old = history[victim]
    history[victim] = read(old.invoked, old.returned, "never written", old.version or 0)
    assert not check(history).linearizable
