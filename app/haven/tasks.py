"""Tasks that must not die unseen, and work that must not be cancelled with its client."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger("haven.tasks")
T = TypeVar("T")


class TaskSet:
    """The tasks of one owner.

    A background task (`spawn`) runs as long as its owner: one that raises, or returns though it was
    meant to go on, is logged and reported to `died`, which ends the process. Work (`shield`) runs to its
    end whoever waits for it goes away; `drain` waits for it.
    """

    def __init__(self, died: Callable[[str], None]) -> None:
        self._died = died
        self._background: set[asyncio.Task[Any]] = set()
        self._work: set[asyncio.Task[Any]] = set()

    def spawn(
        self, name: str, coroutine: Coroutine[Any, Any, None], *, forever: bool = True
    ) -> asyncio.Task[None]:
        """Start a background task; with `forever` a plain return is a death too."""
        task = asyncio.create_task(coroutine, name=name)
        self._background.add(task)
        task.add_done_callback(lambda done: self._ended(done, forever))
        return task

    async def shield(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end even if the caller is cancelled; return its result, raise its error."""
        task = asyncio.create_task(coroutine)
        self._work.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    @property
    def working(self) -> int:
        """Tell how much shielded work runs."""
        return len(self._work)

    async def drain(self, seconds: float) -> bool:
        """Wait for the shielded work that runs now; False if some was still running after so long."""
        running = set(self._work)
        if not running:
            return True
        _, pending = await asyncio.wait(running, timeout=seconds)
        return not pending

    async def stop(self) -> None:
        """Cancel the background tasks and wait until they have ended; the caller may be one of them."""
        tasks = self._background - {asyncio.current_task()}
        self._background.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any], forever: bool) -> None:
        """Report a background task that ended of itself."""
        expected = task not in self._background
        self._background.discard(task)
        if task.cancelled():
            unexpected, error = not expected, None
        else:
            error = task.exception()
            unexpected = error is not None or (forever and not expected)
        if not unexpected:
            return
        log.critical("background task died task=%s", task.get_name(), exc_info=error)
        if not expected:
            self._died(task.get_name())

    def _finished(self, task: asyncio.Task[Any]) -> None:
        """Forget finished work; take note of its error, which nobody may be left to receive."""
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("shielded work failed error=%s", type(error).__name__)
