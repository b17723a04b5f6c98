"""An event loop whose time jumps to the next timer instead of waiting: hours run in milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Asks the real selector without waiting; where nothing is ready, time jumps."""

    def __init__(self, loop: "VirtualLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits and no timer runs: this would hang")
        if not ready:
            self._loop.virtual_now += timeout or 0.0
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 seconds; also a `Clock`."""

    def __init__(self) -> None:
        self.virtual_now = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.virtual_now

    def now(self) -> float:
        return self.virtual_now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.virtual_now


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run to the end in virtual time; leftover tasks are cancelled."""
    try:
        return loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
