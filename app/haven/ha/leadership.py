"""What an unsealed node needs of leadership, whether it shares it with other nodes or runs alone."""

from dataclasses import dataclass
from typing import Protocol

from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.membership import Standing
from haven.storage.authority import Authority


@dataclass(frozen=True, slots=True)
class Peer:
    """Another unsealed node that follows this one, and how long it has said nothing (seconds)."""

    node: str
    api_address: str
    cluster_address: str
    quiet: float


class Leadership(Protocol):
    """The right to be active: won and lost in a cluster, a matter of course for a node alone."""

    @property
    def authority(self) -> Authority:
        """Return what storage asks before it answers."""
        ...

    async def start(self) -> None:
        """Begin to compete; raises `OSError` where the cluster port is taken."""
        ...

    async def stop(self) -> None:
        """End for good: answer nothing more, end sessions and links."""
        ...

    def standing(self) -> Standing:
        """Tell this node's part, from memory."""
        ...

    def may_serve(self) -> bool:
        """Tell whether this node may answer now."""
        ...

    async def leave(self, reason: str) -> bool:
        """Give authority to the best standby, or free it; call it after what ran was drained."""
        ...

    async def forward(self, request: RawRequest) -> RawResponse:
        """Have the holder answer; raises `NotActive` or `OutcomeUnknown`."""
        ...

    def peers(self) -> list[Peer]:
        """Return the nodes that follow this one."""
        ...

    async def changed(self, seconds: float) -> bool:
        """Wait until another try may end otherwise than the last one, or for so many seconds; tell which."""
        ...
