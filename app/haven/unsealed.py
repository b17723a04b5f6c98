"""An unsealed node: it competes for leadership, activates when it has it, retires when it loses it."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from haven.activation import Duty
from haven.api.admission import Admission
from haven.clock import Clock
from haven.core.core import Core
from haven.errors import DecryptionFailed, NotActive, NotApplied, OutcomeUnknown, Sealed, Unavailable
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.hub import RequestHandler
from haven.ha.leadership import Leadership, Peer
from haven.ha.membership import Activation, InUse, Membership
from haven.storage.active import ActiveStore
from haven.storage.base import Storage
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

log = logging.getLogger("haven.node")

DRAIN_SECONDS = 2.0
"""How long a hand-over waits for the writes that were let in (DESIGN.md 3.4)."""
FOLLOW_SECONDS = 5.0
"""How often a standby looks for rotated keys."""
UPKEEP_FIRST_SECONDS = 1.0
"""How long upkeep leaves the first moments of an activation to those who waited for it."""
UPKEEP_SECONDS = 300.0
UPKEEP_RETRY_SECONDS = 5.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where clients and other nodes reach this one."""

    node: str
    api: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What an unsealed node is made of."""

    core: Core
    storage: Storage
    clock: Clock
    telemetry: Telemetry
    admission: Admission
    addresses: Addresses
    ha_enabled: bool
    lead: Callable[[Membership, bytes, Activation, RequestHandler], Leadership]
    """Makes the leadership of one unsealing, with the key that only unsealed nodes have."""
    parked: Callable[[], int]
    """Tells how many requests wait on this node for one that may answer."""
    died: Callable[[str], None]


class Unsealed:
    """One unsealing, from the first key to the seal; implements `haven.ha.membership.Activation`."""

    def __init__(self, parts: Parts, on_request: RequestHandler, keys_lost: Callable[[], None]) -> None:
        """`keys_lost` is told when this node can only go on after it has been unsealed again."""
        self._parts = parts
        self._keys_lost = keys_lost
        self._duty: Duty | None = None
        self._in_use: InUse = ([], [])
        self._ahead: tuple[int, ActiveStore] | None = None
        self._forwarding = 0
        self._ending = False
        self._tasks = TaskSet(parts.died)
        addresses = parts.addresses
        run = secrets.token_hex(8)
        membership = Membership(addresses.node, run, addresses.api, addresses.cluster)
        self.leadership = parts.lead(membership, parts.core.link_key(), self, on_request)

    async def start(self) -> None:
        """Begin to compete."""
        await self.leadership.start()
        self._tasks.spawn("follow-keys", self._follow_keys())

    async def stop(self, reason: str) -> None:
        """Hand over what there is to hand over, let the next holder answer what is with it, then end."""
        if await self.leave(reason):
            await self._wait_while(self._parts.parked)
        self._ending = True
        await self._wait_while(lambda: self._forwarding)
        self._parts.admission.close()
        await self._parts.admission.drain(DRAIN_SECONDS)
        await self._tasks.stop()
        await self.leadership.stop()
        self.retire()
        self._parts.admission.open()

    # Activation ----------------------------------------------------------------------------

    def read_ahead(self, term: int) -> None:
        """Begin to read what this term will need: the lock was seen to be this node's."""
        self._ahead = (term, self._store())

    async def prepare(self, term: int) -> None:
        """Load what a holder needs; answer nothing yet."""
        self.retire()
        parts = self._parts
        ahead, store = self._ahead or (0, None)
        self._ahead = None
        if store is None or ahead != term:
            store = self._store()
        try:
            await parts.core.follow(store.get)
        except DecryptionFailed as error:
            self._lose_keys(error)
            raise
        self._duty = duty = await Duty.load(parts.core, store, parts.clock, self.me, self.leadership.peers)
        duty.serve()
        self._tasks.spawn("upkeep", self._keep_up(duty), forever=False)

    def _store(self) -> ActiveStore:
        """Make the store of one activation, which begins to read; only after the lock was this node's."""
        parts = self._parts
        store = ActiveStore(parts.storage, self.leadership.authority, parts.telemetry)
        existing, absent = self._in_use
        first = Duty.first_keys(static_seal=parts.core.seal_status().recovery_seal)
        store.expect(((*first, *existing), absent))
        return store

    def retire(self) -> None:
        """Drop what the activation had loaded: this node is a standby now."""
        if self._duty:
            self._duty.end()
            self._duty = None

    def settle(self) -> None:
        """Do nothing: whoever waits for a settlement asks the authority."""

    def in_use(self) -> InUse:
        """Return the keys in storage from which this node answers, while it does."""
        return self._duty.in_use() if self._duty else ([], [])

    def expect(self, keys: InUse) -> None:
        """Note what the holder answers from: if this node succeeds it, that is asked for first."""
        self._in_use = keys

    # Requests ------------------------------------------------------------------------------

    @property
    def duty(self) -> Duty:
        """Return what serves now; raises `NotActive`."""
        if self._duty is None:
            raise NotActive("this node is not active")
        return self._duty

    def may_serve(self) -> bool:
        """Tell whether this node may answer now."""
        return self._duty is not None and self.leadership.may_serve()

    async def forward(self, request: RawRequest) -> RawResponse:
        """Have the holder answer; raises `NotActive`, `OutcomeUnknown`, or `Sealed` when about to end.

        The end of the links would leave the outcome unknown, and there is nothing here to wait for.
        """
        if self._ending:
            raise Sealed
        self._forwarding += 1
        try:
            return await self.leadership.forward(request)
        finally:
            self._forwarding -= 1

    async def leave(self, reason: str) -> bool:
        """Hand over if this node holds the lock: stop admitting writes, drain, then move the lock.

        True when another node, or nobody, is known to hold it now. The requests that come
        meanwhile are parked and go on to the next holder.
        """
        if not self._parts.ha_enabled or not self.leadership.standing().holds_lock:
            return False
        admission = self._parts.admission
        admission.close_to_writes()
        try:
            if not await admission.drain(DRAIN_SECONDS):
                log.warning("event=hand-over writes_cut_off=%d", admission.running)
            admission.close()
            return await self.leadership.leave(reason)
        finally:
            admission.open()

    def me(self) -> Peer:
        """Describe this node."""
        addresses = self._parts.addresses
        return Peer(addresses.node, addresses.api, addresses.cluster, 0.0)

    # Background ----------------------------------------------------------------------------

    async def _wait_while(self, left: Callable[[], int]) -> None:
        """Wait, not for ever, until no request is left that still needs the links."""
        deadline = self._parts.clock.now() + DRAIN_SECONDS
        while left() and self._parts.clock.now() < deadline:
            await self.leadership.changed(LOOK_SECONDS)

    async def _keep_up(self, duty: Duty) -> None:
        """Finish what an earlier activation left undone, then care for the keys, while this one lasts."""
        pause = UPKEEP_FIRST_SECONDS
        while self._duty is duty:
            await asyncio.sleep(pause)
            try:
                await duty.keep_up()
                pause = UPKEEP_SECONDS
            except (NotActive, NotApplied, OutcomeUnknown, Unavailable) as error:
                pause = UPKEEP_RETRY_SECONDS
                log.info("event=upkeep retry=%.0fs error=%s", pause, type(error).__name__)

    async def _follow_keys(self) -> None:
        """Learn of rotated and rekeyed keys while another node is active."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            if self.leadership.standing().holds_lock:
                continue
            try:
                await self._parts.core.follow(self._parts.storage.get)
            except Unavailable:
                continue  # the next look will do
            except DecryptionFailed as error:
                self._lose_keys(error)

    def _lose_keys(self, error: DecryptionFailed) -> None:
        """Give up: both a rotation and a rekey went by unseen, and only new shares can help."""
        log.error("event=keys-lost action=unseal-this-node-again error=%s", error)
        self._keys_lost()
