"""Leadership in a cluster: the protocol's driver and the links to the other nodes, put together."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from haven.bell import Bell
from haven.clock import Clock
from haven.errors import NotActive
from haven.ha.coordinator import Coordinator
from haven.ha.driver import Member
from haven.ha.follower import Follower
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.handshake import Identity
from haven.ha.hub import Hub, RequestHandler
from haven.ha.leadership import Peer
from haven.ha.membership import Activation, InUse, Membership, Standing
from haven.ha.peers import LinkTiming
from haven.ha.record import LockRecord
from haven.ha.timing import Timing
from haven.storage.authority import Authority
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

SHARE_SECONDS = 0.25
"""How often a holder tells its followers from which keys it answers."""
STEER_SECONDS = 0.25
"""How often to look at what has no notification of its own: the candidate, and isolation."""


@dataclass(frozen=True, slots=True)
class ClusterParts:
    """What a cluster member is made of; `listen` is the cluster port's host and number."""

    coordinator: Coordinator
    clock: Clock
    timing: Timing
    telemetry: Telemetry
    random: Random
    listen: tuple[str, int]
    trust_resets: bool
    last_inbound: Callable[[], float]
    """When, on `clock`, a client or a health check last reached this node's HTTP port."""
    died: Callable[[str], None]


class Cluster:
    """Implements `haven.ha.leadership.Leadership`, and the follower's events."""

    def __init__(
        self,
        membership: Membership,
        key: bytes,
        parts: ClusterParts,
        activation: Activation,
        on_request: RequestHandler,
        link_timing: LinkTiming | None = None,
    ) -> None:
        self._parts = parts
        self._link_timing = link_timing or LinkTiming()
        self._activation = activation
        self._bell = Bell()
        self._outlook: object = None
        self._tasks = TaskSet(parts.died)
        identity = Identity(
            membership.node, membership.run, membership.api_address, membership.cluster_address
        )
        self._hub = Hub(
            identity, key, parts.clock, on_request, self._told_holder, parts.died, self._link_timing
        )
        self._follower = Follower(
            identity, key, parts.clock, self, parts.died, self._link_timing, parts.random
        )
        self._member = Member(
            membership,
            parts.coordinator,
            parts.clock,
            parts.timing,
            parts.telemetry,
            activation,
            announce_resigned=self._announce,
            died=parts.died,
            random=parts.random,
        )

    @property
    def authority(self) -> Authority:
        """Return what storage asks before it answers."""
        return self._member

    async def start(self) -> None:
        """Listen for followers, then compete."""
        await self._hub.start(*self._parts.listen)
        self._member.start()
        self._tasks.spawn("ha-steer", self._steer())
        self._tasks.spawn("ha-share", self._share())

    async def stop(self) -> None:
        """End for good. The links end last: their end stands for the end of all authority."""
        await self._tasks.stop()
        await self._member.stop()
        self._bell.ring()
        await self._hub.close()
        await self._follower.close()

    def standing(self) -> Standing:
        """Tell this node's part, from memory."""
        return self._member.status

    def may_serve(self) -> bool:
        """Tell whether this node may answer now."""
        try:
            self._member.reading()
        except NotActive:
            return False
        return True

    async def leave(self, reason: str) -> bool:
        """Hand the lock to the standby heard last, or free it."""
        candidates = self._hub.candidates()
        return await self._member.leave(candidates[0] if candidates else None, reason)

    async def forward(self, request: RawRequest) -> RawResponse:
        """Have the holder answer; raises `NotActive` or `OutcomeUnknown`."""
        return await self._follower.forward(request)

    def peers(self) -> list[Peer]:
        """Return the nodes that follow this one."""
        return [
            Peer(identity.node, identity.api_address, identity.cluster_address, quiet)
            for identity, quiet in self._hub.followers()
        ]

    async def changed(self, seconds: float) -> bool:
        """Wait until authority, the holder, or the link to it has changed, or for so long; tell which."""
        return await self._bell.wait(seconds)

    def on_death(self, run: str) -> None:
        """Pass a death on, unless a proxy between the nodes makes resets worthless as evidence."""
        if self._parts.trust_resets:
            self._member.saw_death(run)

    def on_resigned(self, run: str) -> None:
        """Pass a resignation on."""
        self._member.saw_resigned(run)

    def on_in_use(self, keys: InUse) -> None:
        """Pass on what is in use."""
        self._activation.expect(keys)

    def on_changed(self) -> None:
        """Tell the protocol who speaks, and wake who waits for a holder that answers."""
        self._member.hears(self._follower.heard())
        self._ring_if_changed()

    async def _announce(self, word: str) -> None:
        await self._hub.announce_resigned(word)

    def _told_holder(self, record: LockRecord, term: int) -> None:
        self._member.heard_holder(record, term)

    async def _steer(self) -> None:
        """Keep the links pointed at whom the protocol knows as the holder."""
        while True:
            self._follower.follow(self._member.holder(), self._member.status.term)
            self._member.hears(self._follower.heard())
            self._follower.offer(self._member.candidate())
            self._member.isolated(self._is_isolated())
            self._ring_if_changed()
            await self._member.changed(STEER_SECONDS)

    def _ring_if_changed(self) -> None:
        """Wake who waits for somebody that answers, but not for what makes no difference to them.

        During a change of holder many requests wait, and each that is woken tries again.
        """
        standing = self._member.status
        outlook = (standing.role, standing.holds_lock, standing.holder, self._follower.responsive)
        if outlook != self._outlook:
            self._outlook = outlook
            self._bell.ring()

    async def _share(self) -> None:
        """Tell the followers what is in use, while there is something."""
        while True:
            await asyncio.sleep(SHARE_SECONDS)
            keys = self._activation.in_use()
            if any(keys):
                self._hub.tell_in_use(keys)

    def _is_isolated(self) -> bool:
        now = self._parts.clock.now()
        unheard = now - self._parts.last_inbound()
        return self._hub.silent(now) and unheard >= self._link_timing.isolated
