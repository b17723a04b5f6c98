"""Who is let in to run on this node, and what a hand-over waits for."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from haven.errors import NotActive
from haven.tasks import TaskSet

T = TypeVar("T")


class Admission:
    """The door to the node's own work.

    A hand-over closes it to writes and then drains: writes let in before run to their end, whoever
    waits for them, and what comes meanwhile is surely not executed here (the gate parks it). Reads go
    on until the lock moves, and are not waited for: one that is overtaken gets `NotActive` from
    storage and is asked again elsewhere.
    """

    def __init__(self, work: TaskSet) -> None:
        self._work = work
        self._reads = self._writes = True

    @property
    def is_open(self) -> bool:
        """Tell whether requests are let in, be it only reads."""
        return self._reads

    @property
    def running(self) -> int:
        """Tell how many writes run."""
        return self._work.working

    def open(self) -> None:
        """Let requests in."""
        self._reads = self._writes = True

    def close_to_writes(self) -> None:
        """Let no write in any more; those inside go on."""
        self._writes = False

    def close(self) -> None:
        """Let no request in any more; those inside go on."""
        self._reads = self._writes = False

    async def drain(self, seconds: float) -> bool:
        """Wait until the writes inside have ended; False if some had not after so long."""
        return await self._work.drain(seconds)

    async def read(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a read, cancelled with its caller; raises `NotActive` if closed."""
        _refuse_unless(self._reads)
        return await work()

    async def write(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a write to its end even if its caller is cancelled; raises `NotActive` if closed."""
        _refuse_unless(self._writes)
        return await self._work.shield(work())


def _refuse_unless(is_open: bool) -> None:
    if not is_open:
        raise NotActive("this node is handing over")
