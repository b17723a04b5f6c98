"""A long table of requests asked of Haven and of a real OpenBao: the same answers, but for what is listed."""

from collections.abc import Mapping

import pytest

from api.known_differences import KNOWN
from api.requests_table import STEPS
from support.comparison import Difference, Known, Side, Step, differences
from support.lone_servers import OpenBao
from support.native_cluster import NativeNode

Found = Mapping[str, list[Difference]]


@pytest.fixture(scope="module")
def found(fresh_node: NativeNode, openbao: OpenBao) -> Found:
    """All differences by step."""
    ours, theirs = Side(fresh_node.address), Side(openbao.address)
    return {step.name: differences(ours.play(step), theirs.play(step)) for step in STEPS}


def test_every_step_has_a_name_of_its_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_same_answer(step: Step, found: Found) -> None:
    unlisted = [d for d in found[step.name] if not any(known.covers(step, d) for known in KNOWN)]
    assert not unlisted, "\n".join(map(str, [f"{step.method} {step.path}", *unlisted]))


@pytest.mark.parametrize("known", [known for known in KNOWN if known.always], ids=lambda known: known.reason)
def test_every_listed_difference_occurs(known: Known, found: Found) -> None:
    assert any(known.covers(step, d) for step in STEPS for d in found[step.name])
