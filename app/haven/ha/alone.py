"""Leadership of a node whose storage cannot coordinate: it is active as soon as it has loaded."""

import asyncio
import logging
from collections.abc import Callable

from haven.bell import Bell
from haven.clock import Clock
from haven.errors import NotActive
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.leadership import Peer
from haven.ha.membership import Activation, Standing
from haven.ha.observer import Role
from haven.storage.authority import Authority, Warrant
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

log = logging.getLogger("haven.ha")

TERM = 1
RETRY_SECONDS = 1.0


class Alone:
    """Implements `haven.ha.leadership.Leadership` and the authority of a single node."""

    def __init__(
        self, clock: Clock, telemetry: Telemetry, activation: Activation, died: Callable[[str], None]
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._activation = activation
        self._tasks = TaskSet(died)
        self._bell = Bell()
        self._role = Role.STANDBY
        self._since = clock.wall()

    @property
    def authority(self) -> Authority:
        """Return what storage asks before it answers."""
        return self

    async def start(self) -> None:
        """Load, in the background: the storage may take a while to answer."""
        self._turn(Role.ACTIVATING)
        self._tasks.spawn("activate", self._activate(), forever=False)

    async def stop(self) -> None:
        """Answer nothing more."""
        self._turn(Role.STANDBY)
        await self._tasks.stop()
        self._activation.retire()

    def standing(self) -> Standing:
        """Tell this node's part."""
        holds = self._role is not Role.STANDBY
        return Standing(
            role=self._role,
            reason="alone",
            since=self._since,
            term=TERM if holds else 0,
            road=None,
            holder=None,
            holds_lock=holds,
            in_doubt=False,
            lease_remaining=0.0,
        )

    def may_serve(self) -> bool:
        """Tell whether it has loaded and not stopped."""
        return self._role is Role.ACTIVE

    async def leave(self, reason: str) -> bool:
        """Tell that there is nobody to leave to."""
        return False

    async def forward(self, request: RawRequest) -> RawResponse:
        """Refuse: there is no other node."""
        raise NotActive("this node runs alone")

    def peers(self) -> list[Peer]:
        """Return nobody."""
        return []

    async def changed(self, seconds: float) -> bool:
        """Wait until it has loaded or stopped, or for so many seconds; tell which."""
        return await self._bell.wait(seconds)

    def reading(self) -> Warrant:
        """Return the warrant of a node alone; raises `NotActive` before it has loaded."""
        if not self.may_serve():
            raise NotActive("this node may not answer now")
        return Warrant(TERM, None)

    async def writing(self) -> Warrant:
        """Return the same as `reading`."""
        return self.reading()

    def holds(self, warrant: Warrant) -> bool:
        """Tell whether it still runs."""
        return self.may_serve()

    def doubt(self, warrant: Warrant) -> None:
        """Do nothing: storage within the process has no late writes."""

    async def settled(self, warrant: Warrant) -> bool:
        """Tell whether it still runs: what was sent has been applied or never will be."""
        return self.may_serve()

    async def _activate(self) -> None:
        began = self._clock.now()
        while True:
            try:
                await self._activation.prepare(TERM)
            except Exception as error:  # whatever it is, the next try may work
                log.warning("activation failed error=%s", type(error).__name__, exc_info=True)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        self._telemetry.activated(self._clock.now() - began)
        self._turn(Role.ACTIVE)

    def _turn(self, role: Role) -> None:
        if role is self._role:
            return
        self._telemetry.transition(self._role, role, "alone")
        self._role, self._since = role, self._clock.wall()
        self._bell.ring()
