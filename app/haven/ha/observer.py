"""Tells who waits that authority may have changed: after a step, and when time alone did it."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from haven.bell import Bell
from haven.clock import Clock
from haven.ha.state import State
from haven.telemetry import Telemetry


class Role(StrEnum):
    """What an unsealed node is."""

    STANDBY = "standby"
    ACTIVATING = "activating"
    """It holds the lock and may not answer: not loaded yet, a wait owed, or its lease lapsed."""
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Observed:
    """The role as last noticed, why it came about, and since when (seconds since the epoch)."""

    role: Role
    reason: str
    since: float


class Observer:
    """Compares what matters to others before and after, and keeps a timer for what time will change."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._bell = Bell()
        self._view: object = None
        self._timer: asyncio.TimerHandle | None = None
        self.observed = Observed(Role.STANDBY, "started", clock.wall())

    @staticmethod
    def role_of(state: State, now: float) -> Role:
        """Return the node's role at this moment."""
        if state.tenure is None:
            return Role.STANDBY
        return Role.ACTIVE if state.may_read(now) else Role.ACTIVATING

    def review(self, state: State, now: float, reason: str) -> None:
        """Notify who waits if anything that they can see has changed, and arm the timer anew."""
        tenure, lock = state.tenure, state.lock
        role = self.role_of(state, now)
        view = (
            role,
            state.may_write(now),
            (tenure.session, tenure.term, tenure.ready) if tenure else None,
            (lock.index, lock.session) if lock else None,
            state.yielding is None and state.leaving is None,
        )
        if role is not self.observed.role:
            self._telemetry.transition(self.observed.role, role, reason)
            self.observed = Observed(role, reason, self._clock.wall())
        if view != self._view:
            self._view = view
            self.notify()
        self._arm(state, now)

    def notify(self) -> None:
        """Wake everybody who waits."""
        self._bell.ring()

    async def changed(self, seconds: float) -> None:
        """Wait for the next notification, or for so many seconds."""
        await self._bell.wait(seconds)

    def _arm(self, state: State, now: float) -> None:
        """Look again when the owed wait, or the lease, is over."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if state.tenure is None:
            return
        ahead = [at for at in (state.tenure.answers_from, state.tenure.lease.until) if at > now]
        if ahead:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(ahead) - now, self._look_again, state)

    def _look_again(self, state: State) -> None:
        now = self._clock.now()
        self.review(state, now, "lapsed" if not state.may_read(now) else self.observed.reason)
