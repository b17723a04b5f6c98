"""What the server and the application ask of each other.

The worker puts a `Hooks` into the lifespan's state, `scope["state"]["haven"]`; the application takes it in
its start-up handler with `of(scope)`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

log = logging.getLogger("haven.server")
STATE_KEY = "haven"


class Hooks:
    """The application's hand-over for the server, and the process's end for the application."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self.fail = fail
        """Hand over, stop and end the process with status 1; the text says why. Returns at once."""
        self._hand_over: Callable[[], Awaitable[None]] | None = None

    def on_hand_over(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback` awaited when the process is to stop, while it still serves; set it once."""
        self._hand_over = callback

    async def hand_over(self) -> None:
        """Give up the lock, as the application knows to do."""
        if self._hand_over is not None:
            await self._hand_over()


def of(scope: Mapping[str, Any]) -> Hooks:
    """Return the worker's hooks; under another server (a test client) ones that only log."""
    hooks = scope.get("state", {}).get(STATE_KEY)
    return hooks if isinstance(hooks, Hooks) else Hooks(_only_log)


def _only_log(reason: str) -> None:
    log.critical("process cannot be ended by its server reason=%s", reason)
