"""What storage must know of authority: the right to read and to write, and how doubt is settled."""

from dataclasses import dataclass
from typing import Protocol

from haven.storage.base import Fence


@dataclass(frozen=True, slots=True)
class Warrant:
    """The authority under which one request runs: a term, and the fence of its writes (None without HA)."""

    term: int
    fence: Fence | None


class Authority(Protocol):
    """Derived from the lock and the lease each time it is asked (DESIGN.md 3.3)."""

    def reading(self) -> Warrant:
        """Return the warrant to answer reads now; raises `NotActive`."""
        ...

    async def writing(self) -> Warrant:
        """Return the warrant to hand a write to storage; waits while in doubt; raises `NotActive`."""
        ...

    def holds(self, warrant: Warrant) -> bool:
        """Tell whether this node may answer now for what ran under `warrant`: no change of holder between."""
        ...

    def doubt(self, warrant: Warrant) -> None:
        """Report an unknown or fenced write under this warrant's session."""
        ...

    async def settled(self, warrant: Warrant) -> bool:
        """Wait until nothing sent under `warrant` can be applied any more.

        True: a refence committed and this node still answers, so reading the keys tells what was
        applied. False: authority was lost, the outcome stays unknown to this node.
        """
        ...
