"""Faults on the running stack while clients work: nobody is lied to, nothing fails that need not.

Pauses are printed beside their budgets; only a generous bound is asserted. The rest of the catalogue
is for `make chaos`.
"""

import pytest

from chaos.catalogue import CATALOGUE, QUICK
from chaos.conduct import conduct
from stack.running import Stack

SEED = 1
CHOSEN = [pytest.param(name, marks=() if name in QUICK else pytest.mark.chaos, id=name) for name in CATALOGUE]


@pytest.mark.parametrize("name", CHOSEN)
async def test_a_fault_costs_what_was_promised(
    stack: Stack, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await conduct(stack, CATALOGUE[name], SEED)
    with capsys.disabled():
        print(f"\n{result.line()}")
    assert not result.wrong, "\n".join([*result.wrong, stack.report()])
