"""One Haven node, sealed or not: what the HTTP side asks, answered from memory or by the right part."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from haven.api.ports import Holder, Role, SealStatus, Status
from haven.bell import Bell
from haven.clock import Clock
from haven.core.core import Core
from haven.core.logical import Request, Response
from haven.errors import DecryptionFailed, NotActive, RequestError, Unavailable
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.hub import RequestHandler
from haven.ha.membership import Standing
from haven.tasks import TaskSet
from haven.telemetry import NodeSample, Telemetry
from haven.unsealed import Parts, Unsealed

log = logging.getLogger("haven.node")

LOOK_SECONDS = 0.5
"""How often a node that is sealed looks whether the cluster was initialised, and tries its static key."""
SEALED_STANDBY = "vault cannot seal when in standby mode; please restart instead"


class Node:
    """Implements `haven.api.ports.Node`."""

    def __init__(self, parts: Parts, storage_type: str, unsealed: Callable[[], None]) -> None:
        """`unsealed` is called after each unsealing."""
        self._parts = parts
        self._core: Core = parts.core
        self._clock: Clock = parts.clock
        self._telemetry: Telemetry = parts.telemetry
        self._storage_type = storage_type
        self._after_unseal = unsealed
        self._bell = Bell()
        self._tasks = TaskSet(parts.died)
        self._turning = asyncio.Lock()
        self._unsealed: Unsealed | None = None
        self._sealed_by_hand = False
        self._closed_since = (parts.clock.wall(), "started")
        self._seen_role = Role.UNINITIALISED
        self.on_forwarded: RequestHandler = _nobody
        parts.telemetry.observe_node(self._sample)

    async def start(self) -> None:
        """Begin: look at the storage, and unseal if this node can do so by itself."""
        self._tasks.spawn("open", self._open_by_itself())

    async def stop(self) -> None:
        """Hand over and end; the process is about to go."""
        await self._tasks.stop()
        async with self._turning:
            if self._unsealed:
                await self._unsealed.stop("stopping")
                self._unsealed = None
        await self._parts.storage.close()

    async def hand_over(self) -> None:
        """Give the lock away while still serving: what comes meanwhile is parked and forwarded."""
        if self._unsealed:
            await self._unsealed.leave("stopping")

    # What anybody may know -----------------------------------------------------------------

    def status(self) -> Status:
        """Tell the node's state, from memory."""
        state = self._core.seal_status()
        seal = SealStatus(
            type=state.type,
            initialized=state.initialized,
            sealed=self._unsealed is None,
            threshold=state.threshold,
            shares=state.shares,
            progress=state.progress,
            nonce=state.nonce,
            storage_type=self._storage_type,
            cluster_name=state.cluster_name,
            cluster_id=state.cluster_id,
            recovery_seal=state.recovery_seal,
        )
        if self._unsealed is None:
            since, reason = self._closed_since
            role = Role.SEALED if state.initialized else Role.UNINITIALISED
            return Status(role, seal, self._ha_enabled, None, 0, None, since, reason)
        standing = self._unsealed.leadership.standing()
        role = Role(standing.role)
        return Status(
            role=role,
            seal=seal,
            ha_enabled=self._ha_enabled,
            holder=self._holder(standing),
            term=standing.term,
            active_since=standing.since if role is Role.ACTIVE else None,
            since=standing.since,
            reason=standing.reason,
        )

    def may_serve(self) -> bool:
        """Tell whether this node answers requests itself now."""
        return self._unsealed is not None and self._unsealed.may_serve()

    async def changed(self, seconds: float) -> bool:
        """Wait until who may serve, or the known holder, may have changed, or for so long; tell which."""
        bell = self._unsealed.leadership.changed if self._unsealed else self._bell.wait
        return await bell(seconds)

    # Requests ------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Response | None:
        """Run a logical request here; raises `NotActive` when surely not done for want of authority."""
        return await self._open().duty.handle(request)

    async def forward(self, request: RawRequest) -> RawResponse:
        """Send the request to the holder; raises `NotActive`, `Sealed` or `OutcomeUnknown`."""
        return await self._open().forward(request)

    async def initialized(self) -> bool:
        """Tell whether the cluster has keys; asks storage until it has. Raises `Unavailable`."""
        return await self._core.initialized()

    async def initialize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Initialise the cluster; return the body of `sys/init`."""
        answer = await self._core.initialize(body)
        await self._opened()
        return answer

    async def unseal(self, body: Mapping[str, Any]) -> SealStatus:
        """Take one share (`key`), or `reset`; return the status after it."""
        await self._core.unseal(body)
        await self._opened()
        return self.status().seal

    async def seal(self, token: str) -> None:
        """Hand over if active, then seal this node; raises `RequestError`.

        A standby has no tokens to check this one against, so it refuses, as Vault does.
        """
        if self._unsealed is None:
            return
        if not self.may_serve():
            raise RequestError(500, SEALED_STANDBY)
        await self._authorize(token, "sys/seal")
        self._sealed_by_hand = True
        await self._close("sealed")

    async def step_down(self, token: str) -> None:
        """Hand over to another node if active; raises `RequestError`."""
        await self._authorize(token, "sys/step-down")
        await self._open().leave("step-down")

    async def _authorize(self, token: str, path: str) -> None:
        try:
            await self._open().duty.authorize(token, path)
        except Unavailable as error:
            raise NotActive("the token could not be looked up") from error

    # Opening -------------------------------------------------------------------------------

    async def _open_by_itself(self) -> None:
        """Look at the storage until this node is unsealed; with the static seal, unseal it."""
        complained = ""
        while True:
            if self._unsealed is None and not self._sealed_by_hand:
                try:
                    if await self._core.initialized():
                        await self._core.auto_unseal()
                    await self._opened()
                    complained = ""
                except (Unavailable, DecryptionFailed, OSError) as error:
                    if str(error) != complained:
                        complained = str(error)
                        log.warning("event=not-unsealed retry=%.1fs error=%s", LOOK_SECONDS, error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _opened(self) -> None:
        """Note what became known of the seal, and start what an unsealed node runs."""
        async with self._turning:
            if self._core.seal_status().initialized and self._seen_role is Role.UNINITIALISED:
                self._seen_role = Role.SEALED
                self._telemetry.transition(Role.UNINITIALISED, Role.SEALED, "initialised")
            if self._core.sealed or self._unsealed:
                return
            opened = Unsealed(self._parts, self._forwarded, self._keys_lost)
            await opened.start()
            self._unsealed, self._sealed_by_hand = opened, False
            self._telemetry.transition(Role.SEALED, Role.STANDBY, "unsealed")
            self._after_unseal()
            self._bell.ring()

    async def _close(self, reason: str) -> None:
        """Hand over, end what an unsealed node runs, and forget the keys."""
        async with self._turning:
            if self._unsealed is None:
                return
            await self._unsealed.stop("sealed")
            self._unsealed = None
            self._core.seal()
            self._closed_since = (self._clock.wall(), reason)
            self._telemetry.transition(Role.STANDBY, Role.SEALED, "sealed")
            self._bell.ring()

    def _keys_lost(self) -> None:
        self._tasks.spawn("close", self._close("keys-lost"), forever=False)

    async def _forwarded(self, request: RawRequest) -> RawResponse:
        return await self.on_forwarded(request)

    def _open(self) -> Unsealed:
        if self._unsealed is None:
            raise NotActive("this node is sealed")
        return self._unsealed

    # Descriptions --------------------------------------------------------------------------

    @property
    def _ha_enabled(self) -> bool:
        return self._parts.ha_enabled

    def _holder(self, standing: Standing) -> Holder | None:
        """Return who is known to hold the lock; this node, where it does itself."""
        me = self._parts.addresses
        if standing.holds_lock:
            return Holder(me.node, me.api, me.cluster, True)
        record = standing.holder
        if record is None or record.released:
            return None
        is_self = record.node == me.node
        return Holder(record.node, record.api_address, record.cluster_address, is_self)

    def _sample(self) -> NodeSample:
        """Tell the gauges of a scrape."""
        status = self.status()
        lease = self._unsealed.leadership.standing().lease_remaining if self._unsealed else 0.0
        return NodeSample(
            role=status.role,
            initialised=status.seal.initialized,
            unsealed=not status.seal.sealed,
            active=status.role is Role.ACTIVE,
            term=status.term,
            lease_remaining=lease,
        )


async def _nobody(request: RawRequest) -> RawResponse:
    raise NotActive("nobody answers forwarded requests yet")
