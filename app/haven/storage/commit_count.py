"""How many commits a request has had acknowledged: after the first one it cannot be "surely not executed"."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_commits: ContextVar[list[int] | None] = ContextVar("commits", default=None)


@contextmanager
def count_commits() -> Iterator[list[int]]:
    """Give a list that grows with each commit acknowledged in this context."""
    commits: list[int] = []
    token = _commits.set(commits)
    try:
        yield commits
    finally:
        _commits.reset(token)


def note_commit(term: int) -> None:
    """Count a commit acknowledged in this term, where somebody counts."""
    commits = _commits.get()
    if commits is not None:
        commits.append(term)
