"""Requests around a fault as a strip of characters."""

from collections.abc import Iterable

from bench.probes import Kind, Outcome, Record

ANSWERED, WAITED, FAILED, NOTHING = ".", "o", "X", " "
SLOW_SECONDS = 0.03


def strip(records: Iterable[Record], kind: Kind, begin: float, end: float, columns: int) -> str:
    """Draw one character for each stretch of time: the worst of what became of the requests sent in it."""
    cells = [NOTHING] * columns
    for record in records:
        column = int((record.sent - begin) / (end - begin) * columns)
        if record.kind is kind and 0 <= column < columns:
            cells[column] = max(
                cells[column], _mark(record), key=(NOTHING + ANSWERED + WAITED + FAILED).index
            )
    return "".join(cells)


def _mark(record: Record) -> str:
    if record.outcome is not Outcome.DONE:
        return FAILED
    return WAITED if record.answered - record.sent > SLOW_SECONDS else ANSWERED
