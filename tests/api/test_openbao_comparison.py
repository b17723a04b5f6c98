"""A long table of requests asked of Haven and of a real OpenBao: the same answers, but for what is listed."""

from collections.abc import Mapping

import pytest

from api.known_differences import KNOWN
from api.requests_table import STEPS
from api.requests_table.gaps import GAPS
from support.comparison import Difference, Known, Side, Step, differences
from support.lone_servers import OpenBao, Reply
from support.native_cluster import NativeNode

Answers = Mapping[str, tuple[Reply, Reply]]
Found = Mapping[str, list[Difference]]


@pytest.fixture(scope="module")
def answers(fresh_node: NativeNode, openbao: OpenBao) -> Answers:
    """Haven's and OpenBao's answer by step."""
    ours, theirs = Side(fresh_node.address), Side(openbao.address)
    return {step.name: (ours.play(step), theirs.play(step)) for step in STEPS}


@pytest.fixture(scope="module")
def found(answers: Answers) -> Found:
    """All differences by step."""
    return {name: differences(ours, theirs) for name, (ours, theirs) in answers.items()}


def test_every_step_has_a_name_of_its_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_same_answer(step: Step, found: Found) -> None:
    unlisted = [d for d in found[step.name] if not any(known.covers(step, d) for known in KNOWN)]
    assert not unlisted, "\n".join(map(str, [f"{step.method} {step.path}", *unlisted]))


@pytest.mark.parametrize("known", [known for known in KNOWN if known.always], ids=lambda known: known.reason)
def test_every_listed_difference_occurs(known: Known, found: Found) -> None:
    assert any(known.covers(step, d) for step in STEPS for d in found[step.name])


@pytest.mark.parametrize("step", GAPS, ids=lambda step: step.name)
def test_what_is_not_built_is_refused(step: Step, answers: Answers) -> None:
    assert answers[step.name][0].status in {400, 404, 405}
