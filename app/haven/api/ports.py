"""What the HTTP side needs of the node; `haven.node` provides it, tests fake it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from haven.core.logical import Request, Response
from haven.ha.forwarding import RawRequest, RawResponse

__all__ = ["Holder", "Node", "RawRequest", "RawResponse", "Role", "SealStatus", "Status"]


class Role(StrEnum):
    """What a node is; the word in metrics, logs and `make status`."""

    UNINITIALISED = "uninitialised"
    SEALED = "sealed"
    STANDBY = "standby"
    ACTIVATING = "activating"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, as far as this node knows; a hint for routing, never authority."""

    node: str
    api_address: str
    cluster_address: str
    is_self: bool


@dataclass(frozen=True, slots=True)
class SealStatus:
    """What `sys/seal-status` tells."""

    type: str
    initialized: bool
    sealed: bool
    threshold: int
    shares: int
    progress: int
    nonce: str
    storage_type: str
    cluster_name: str = ""
    cluster_id: str = ""
    recovery_seal: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """A node's state, from memory: reading it never blocks and never calls Consul."""

    role: Role
    seal: SealStatus
    ha_enabled: bool
    holder: Holder | None
    term: int
    active_since: float | None
    """Seconds since the epoch at which this node became active, None on others."""
    since: float
    """Seconds since the epoch of the last change of role."""
    reason: str
    """Why the role changed last: the road, or `sealed`, `started`, `lost`, ..."""


class Node(Protocol):
    """One Haven node. Errors are those of `haven.errors`."""

    def status(self) -> Status:
        """Tell the node's state, from memory."""
        ...

    def may_serve(self) -> bool:
        """Tell whether this node answers requests itself now: unsealed, holder, activated, lease valid."""
        ...

    async def handle(self, request: Request) -> Response | None:
        """Run a logical request here; refusals are `RequestError`s.

        Raises `NotActive`, `NotApplied` or `Unavailable` only if surely nothing was committed for this
        request: it is then tried again, here or elsewhere, whatever its verb. If part of it may have been
        committed, raises `OutcomeUnknown`.
        """
        ...

    async def forward(self, request: RawRequest) -> RawResponse:
        """Send the request to the holder over the cluster link.

        Raises `NotActive` when it was surely not executed (park and try again, whatever the
        method), `Sealed` when moreover this node is about to end, and `OutcomeUnknown` when it may
        have been executed (repeat only reads).
        """
        ...

    async def changed(self, seconds: float) -> bool:
        """Wait until who may serve, or the known holder, may have changed, or for so long; tell which."""
        ...

    async def initialized(self) -> bool:
        """Tell whether the cluster has keys; asks storage until it has. Raises `Unavailable`."""
        ...

    async def initialize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Initialise the cluster; return the body of `sys/init`."""
        ...

    async def unseal(self, body: Mapping[str, Any]) -> SealStatus:
        """Take one share (`key`), or `reset`; return the status after it."""
        ...

    async def seal(self, token: str) -> None:
        """Hand over if active, then seal this node; raises `RequestError`."""
        ...

    async def step_down(self, token: str) -> None:
        """Hand over to another node if active; raises `RequestError`."""
        ...
