"""One stack for all tests of this folder that ask for it."""

from collections.abc import Iterator

import pytest

from stack.checkout import has_docker
from stack.running import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Start the stack once, from nothing; remove it at the end."""
    if not has_docker():
        pytest.fail("Docker does not answer: the stack cannot be tested")
    started = Stack()
    started.wipe()
    try:
        started.up()
        started.settle()
        yield started
    finally:
        started.wipe()
