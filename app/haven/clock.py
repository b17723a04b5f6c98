"""The one place that reads time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Time as the protocol needs it."""

    def now(self) -> float:
        """Return seconds that go on while the machine is suspended."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch, for logs and bodies only."""
        ...


class BootClock:
    """`CLOCK_BOOTTIME`: unlike `CLOCK_MONOTONIC` it counts a suspended machine's time."""

    def now(self) -> float:
        """Return seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()
