"""The judge of the chaos suite finds two active nodes, broken promises and lies, and excuses what it may."""

import random
from typing import Any, cast

import pytest

from chaos.faults import HAPROXY, Fault, Promise, Scene
from chaos.judgement import BUSY, Recording, Result, judge
from chaos.report import picture, table, verdict
from chaos.secret_model import Kind, Operation, Outcome
from chaos.watch import Sample, overlaps, spans
from chaos.workload import History, Record, longest_pause

A, B, C = "haven-1", "haven-2", "haven-3"


def active(node: str, begun: float, term: int, *, ended: float | None = None) -> Sample:
    return Sample(node, begun, begun + 0.1 if ended is None else ended, "active", term)


def record(at: float, outcome: Outcome, *, kind: Kind = Kind.READ, entrance: str = HAPROXY) -> Record:
    return Record(at, at + 0.01, entrance, kind, outcome, "answer")


def recording(promise: Promise, **changed: Any) -> Recording:
    fault = Fault("fault", "something", lambda scene: None, promise)
    scene = Scene(cast(Any, None), random.Random(1), A)
    seen = Recording(fault, 1, scene, 0.0, 1.0, A, History(), [active(A, 0.5, 7)], 0.5)
    for name, value in changed.items():
        setattr(seen, name, value)
    return seen


class TestOverlaps:
    def test_one_after_the_other_is_well(self) -> None:
        assert not overlaps([active(A, 0, 1), active(A, 1, 1), active(B, 2, 2), active(A, 3, 3)])

    def test_a_standby_of_an_old_term_is_well(self) -> None:
        assert not overlaps([active(B, 0, 2), Sample(A, 1, 1.1, "standby", 1)])

    def test_a_deposed_node_that_does_not_know_it(self) -> None:
        assert overlaps([active(A, 0, 1), active(B, 1, 2), active(A, 2, 1)])

    def test_one_term_of_two_nodes(self) -> None:
        assert overlaps([active(A, 0, 1), active(B, 1, 1)])

    def test_a_new_node_with_a_term_already_passed(self) -> None:
        assert overlaps([active(A, 0, 5), active(B, 1, 4)])

    def test_answers_that_overlap_prove_nothing(self) -> None:
        """The slow answer of the deposed node may have been given before the new one was active."""
        assert not overlaps([active(A, 0, 1, ended=2.0), active(B, 1, 2)])

    def test_a_slow_answer_hides_no_later_proof(self) -> None:
        assert overlaps([active(B, 0, 2, ended=3.0), active(A, 1, 1), active(A, 4, 1)])


class TestJudge:
    @pytest.mark.parametrize(
        ("kind", "outcome", "promise"),
        [
            (Kind.READ, Outcome.UNKNOWN, Promise(reads_fail=True)),
            (Kind.READ, Outcome.REFUSED, Promise(reads_fail=True)),
            (Kind.WRITE, Outcome.UNKNOWN, Promise(writes_unknown=True)),
            (Kind.WRITE, Outcome.REFUSED, Promise(writes_refused=True)),
        ],
    )
    def test_a_failed_request_needs_a_promise_that_allows_it(
        self, kind: Kind, outcome: Outcome, promise: Promise
    ) -> None:
        history = History(records=[record(2, outcome, kind=kind)])
        assert judge(recording(Promise(), history=history)).complaints
        assert not judge(recording(promise, history=history)).complaints

    def test_only_requests_sent_straight_to_a_victim_are_excused(self) -> None:
        seen = recording(Promise(), history=History(records=[record(2, Outcome.UNKNOWN, entrance=A)]))
        seen.scene.hit(A)
        assert not judge(seen).complaints
        seen.history.records.append(record(2, Outcome.UNKNOWN, entrance=B))
        assert judge(seen).complaints

    def test_where_haproxy_is_the_victim_the_nodes_must_answer(self) -> None:
        seen = recording(Promise(), history=History(records=[record(2, Outcome.UNKNOWN)]))
        seen.scene.hit(HAPROXY)
        assert not judge(seen).complaints
        seen.history.records.append(record(2, Outcome.UNKNOWN, entrance=A))
        assert judge(seen).complaints

    def test_the_leader_must_stay_where_that_is_promised(self) -> None:
        samples = [active(A, 0.5, 7), active(B, 2, 8), active(A, 3, 9)]
        assert judge(recording(Promise(leader_stays=True), samples=samples)).complaints
        assert not judge(recording(Promise(), samples=samples)).complaints
        assert not judge(recording(Promise(leader_stays=True), samples=samples[::2])).complaints

    def test_a_pause_far_beyond_its_budget(self) -> None:
        history = History(records=[record(1, Outcome.DONE), record(14, Outcome.DONE)])
        assert judge(recording(Promise(budget=0.1), history=history)).complaints
        assert not judge(recording(Promise(), history=history)).complaints

    def test_a_busy_machine_excuses_failures_but_no_lie(self) -> None:
        history = History(records=[record(2, Outcome.UNKNOWN)])
        result = judge(recording(Promise(), history=history, load=BUSY + 1))
        assert (bool(result.excused), result.wrong) == (True, [])
        lying = [active(A, 1, 7), active(B, 2, 8), active(A, 3, 7)]
        assert judge(recording(Promise(), samples=lying, load=BUSY + 1)).wrong

    def test_a_stale_read_is_a_lie(self) -> None:
        done = Outcome.DONE
        stale = [
            Operation(Kind.WRITE, done, 1, 2, value="new", version=1),
            Operation(Kind.READ, done, 3, 4, value=None, version=0),
        ]
        assert judge(recording(Promise(), history=History(operations={"s": stale}))).lies


def test_the_longest_pause_is_between_answers_only() -> None:
    records = [record(at, Outcome.DONE) for at in (1.0, 1.5, 3.0)] + [record(2.2, Outcome.UNKNOWN)]
    assert longest_pause(records, 0.9, 3.5) == (1.51, 3.01)


def test_spans_join_equal_samples_of_one_node() -> None:
    samples = [active(A, 0, 1), active(B, 0.05, 0), active(A, 1, 1), Sample(A, 2, 2.1, "standby", 1)]
    assert spans(samples) == [
        (A, "active", 1, 0, 2),
        (A, "standby", 1, 2, 2.1),
        (B, "active", 0, 0.05, 0.05 + 0.1),
    ]


def broken() -> Result:
    seen = recording(Promise(0.05), history=History(records=[record(2, Outcome.UNKNOWN)]), after=B)
    seen.scene.mark("kill <haven-1>")
    return judge(seen)


def test_the_table_shows_accounts_and_complaints() -> None:
    entry = broken().as_json()
    shown = table([entry], {"fault": "what it is"})
    assert verdict(entry) == "**promise broken**"
    assert "| fault | what it is | 0.05 s |" in shown
    assert "| haven-1, haven-2 | 0/0/0/1 | 0/0/0/0 |" in shown
    assert "* fault (seed 1), complaints: haproxy: 1 failed reads" in shown


def test_the_picture_is_one_well_formed_drawing() -> None:
    from xml.etree import ElementTree

    drawn = ElementTree.fromstring(picture([broken().as_json()] * 2))
    texts = [element.text or "" for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("fault: promise broken") == 2
    assert any("kill <haven-1>" in text for text in texts)
