"""Decide whether a history of one secret is linearizable.

Wing and Gong's search with Lowe's memoisation (Testing for Linearizability, 2017): try each
operation that was invoked before the first pending one returned; remember every pair of
(operations placed, state) that led nowhere. An operation of unknown outcome may be placed
anywhere after its invocation, or nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from chaos.secret_model import Operation, Outcome, Secret, apply


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether there is a legal order; if not, the operations around where the search got stuck."""

    linearizable: bool
    stuck_at: tuple[Operation, ...] = ()


def check(history: Sequence[Operation], initial: Secret = Secret()) -> Verdict:  # noqa: B008 (immutable)
    """Return the verdict on the history of one secret; refused operations are left out."""
    operations = sorted(
        (operation for operation in history if operation.outcome is not Outcome.REFUSED),
        key=lambda operation: operation.invoked,
    )
    return _Search(operations).run(initial)


class _Search:
    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._ends = [inf if operation.optional else operation.returned for operation in operations]
        self._demanded = sum(1 << i for i, operation in enumerate(operations) if not operation.optional)
        self._best = -1
        self._stuck: tuple[Operation, ...] = ()

    def run(self, initial: Secret) -> Verdict:
        seen: set[tuple[int, Secret]] = set()
        stack: list[tuple[int, Secret]] = [(0, initial)]
        while stack:
            placed, state = stack.pop()
            if placed & self._demanded == self._demanded:
                return Verdict(True)
            if (placed, state) in seen:
                continue
            seen.add((placed, state))
            candidates = self._candidates(placed)
            self._remember(placed, candidates)
            harmless = next((i for i in candidates if self._only_observes(i, state)), None)
            if harmless is not None:  # it changes nothing: placed now, it is in nobody's way
                stack.append((placed | 1 << harmless, state))
                continue
            # The last pushed is tried first: demanded operations in the order of their return.
            for i in sorted(candidates, key=lambda i: -self._ends[i]):
                after = apply(state, self._operations[i])
                if after is not None:
                    stack.append((placed | 1 << i, after))
        return Verdict(False, self._stuck)

    def _only_observes(self, i: int, state: Secret) -> bool:
        operation = self._operations[i]
        return operation.observes and apply(state, operation) == state

    def _candidates(self, placed: int) -> list[int]:
        """Return what may come next: invoked before the earliest pending return."""
        found: list[int] = []
        earliest = inf
        first = (~placed & (placed + 1)).bit_length() - 1
        for i in range(first, len(self._operations)):
            operation = self._operations[i]
            if placed >> i & 1:
                continue
            if operation.invoked > earliest:
                break
            found.append(i)
            earliest = min(earliest, self._ends[i])
        return [i for i in found if self._operations[i].invoked <= earliest]

    def _remember(self, placed: int, candidates: list[int]) -> None:
        depth = placed.bit_count()
        if depth > self._best:
            self._best = depth
            self._stuck = tuple(self._operations[i] for i in candidates)
