"""Wait for a condition instead of sleeping for a guess."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    probe: Callable[[], Awaitable[T]], holds: Callable[[T], bool], seconds: float = 60.0
) -> T:
    """Probe again and again until what it returns holds; return that."""
    deadline = time.monotonic() + seconds
    while not holds(seen := await probe()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        await asyncio.sleep(0.02)
    return seen
