"""One stack for all tests of this folder: started when the first one asks for it, removed at the end."""

from collections.abc import Iterator

import pytest

from stack.checkout import has_docker
from stack.running import Stack


@pytest.fixture(scope="session")
def stack_session() -> Iterator[Stack]:
    """The stack in whatever state; what an earlier run left is gone."""
    if not has_docker():
        pytest.fail("Docker does not answer: the stack cannot be tested")
    stack = Stack()
    stack.wipe()
    try:
        yield stack
    finally:
        stack.wipe()


@pytest.fixture
def stack(stack_session: Stack) -> Stack:
    """The stack, started and serving."""
    if not stack_session.runs:
        stack_session.up()
    stack_session.settle()
    return stack_session


@pytest.fixture
def no_stack(stack_session: Stack) -> Stack:
    """The stack before its first start: no container, no data."""
    stack_session.wipe()
    return stack_session
