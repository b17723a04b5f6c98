"""What the driver is told of its node, what it asks of it, and what it tells about it."""

from dataclasses import dataclass
from typing import Protocol

from haven.ha.observer import Role
from haven.ha.record import LockRecord, Road

InUse = tuple[list[str], list[str]]
"""Keys in storage that exist, and such that are asked for and do not exist."""


class Activation(Protocol):
    """What the node does when its authority changes. None of it may touch the protocol."""

    def read_ahead(self, term: int) -> None:
        """Begin to read what `prepare` of this term will need, if it comes to that; never raises."""
        ...

    async def prepare(self, term: int) -> None:
        """Load what a holder needs to serve; answer nothing yet. Raising lets another node try."""
        ...

    def retire(self) -> None:
        """Drop caches and park what waits: this node is a standby now."""
        ...

    def settle(self) -> None:
        """Take note that nothing sent under an older session can be applied any more."""
        ...

    def in_use(self) -> InUse:
        """Return the keys in storage from which this holder answers, the latest used first."""
        ...

    def expect(self, keys: InUse) -> None:
        """Take a holder's word for which keys are in use: a hint, for the case that this node succeeds it."""
        ...


@dataclass(frozen=True, slots=True)
class Membership:
    """Who this node is: `run` is new for each unsealing, because its end stands for the end of all."""

    node: str
    run: str
    api_address: str
    cluster_address: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A node's part in the cluster, from memory, for status, metrics and logs; never authority."""

    role: Role
    reason: str
    since: float
    """Seconds since the epoch of the last change of role."""
    term: int
    road: Road | None
    holder: LockRecord | None
    holds_lock: bool
    in_doubt: bool
    lease_remaining: float
