"""What the tests of this folder share: HAProxy's image, and one stack, removed at the end."""

from collections.abc import Iterator

import pytest

from stack.checkout import has_docker, run
from stack.proxied_nodes import IMAGE
from stack.running import Stack


@pytest.fixture(scope="session")
def image() -> str:
    """Build HAProxy's image unless it is here, and return its name."""
    built = run("scripts/images", "haproxy")
    assert built.returncode == 0, built.stderr
    return IMAGE


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
