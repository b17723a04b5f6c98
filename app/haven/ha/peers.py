"""What a node concludes about a peer from their link: pure values, no I/O.

A silence proves nothing: it may be a partition, and the peer may still be active. Only the end
of a connection, seen by this side, and a definite word from the same address afterwards show
that the peer's process is gone (DESIGN.md 3.4).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """Durations of the link, in seconds; none of them bears on the safety of the protocol."""

    tick: float = 0.05
    """How often a link looks at the time."""
    ping: float = 0.25
    """How often each side says something."""
    silent: float = 1.0
    """How long a peer may say nothing before it counts as not responsive."""
    isolated: float = 1.5
    """How long all followers must have been silent before an active node counts as cut off from them."""
    handshake: float = 1.0
    """How long connecting, or proving oneself, may take."""
    answer: float = 30.0
    """How long a forwarded request may stay unanswered by a peer that speaks: longer than a holder lets one
    wait (5 s for the end of a doubt, 10 s for a settlement), so that only what is stuck comes to it."""
    first_retry: float = 0.02
    """Time from the first try to connect to the second."""
    urgent_retry: float = 0.004
    """The same after a link has ended: a killed process may still take a connection for a millisecond
    and then reset it, and its address answers for 60-80 ms only."""
    most_retry: float = 0.5
    """The longest time between two tries to connect."""
    linger: float = 15.0
    """How long a link to a predecessor is kept, to tell it of its successor and take late answers."""
    repeat: float = 0.5
    """How long to wait for a note to be taken before it is sent again."""


class LinkEnd(StrEnum):
    """How a link ended."""

    EOF = "eof"
    RESET = "reset"
    LOST = "lost"
    """The kernel gave up on the peer: a timeout or no route. As good as silence."""
    BROKEN = "broken"
    """Bytes that do not open, or a failure on this side."""
    GOODBYE = "goodbye"
    """The peer had said that it would go."""
    CLOSED = "closed"
    """This side closed it."""


class Dialled(StrEnum):
    """What trying to connect found."""

    SAME_RUN = "same-run"
    OTHER_RUN = "other-run"
    """The same node in another process, proved by a handshake at the same address."""
    REFUSED = "refused"
    NOTHING = "nothing"
    """A timeout, an unreachable address, a stranger: no evidence of anything."""


class Quiet:
    """How long nothing was heard from a peer, in seconds.

    Time in which this process itself did not run does not count: after a pause of one's own,
    what the peer said meanwhile is still waiting to be read.
    """

    def __init__(self, now: float, step: float) -> None:
        self._step = step
        self._seen = now
        self._seconds = 0.0

    def heard(self, now: float) -> None:
        """Note that the peer said something."""
        self._seen = now
        self._seconds = 0.0

    def tick(self, now: float) -> None:
        """Note that this process runs; call it at least every `step`."""
        self._seconds = self.seconds(now)
        self._seen = max(self._seen, now)

    def seconds(self, now: float) -> float:
        """Return how long the peer has been quiet."""
        return self._seconds + min(max(0.0, now - self._seen), self._step)


class DeathJudge:
    """Whether the followed run is dead: its link ended, and a try begun after that found it gone.

    Both must be seen while the run is followed, in this order; what was found by a try begun
    before the link ended does not count, nor does a link that ended with a goodbye, in
    silence, or by this side. A new link to the same run takes everything back.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._suspect = False
        self.dead = False

    def established(self) -> None:
        """Note a link to the run."""
        self._epoch += 1
        self._suspect = False

    def ended(self, how: LinkEnd) -> None:
        """Note the end of the link that stood last."""
        self._epoch += 1
        self._suspect = how in {LinkEnd.EOF, LinkEnd.RESET}

    def dialling(self) -> int:
        """Return what to hand to `dialled` with the result of a try that begins now."""
        return self._epoch

    def dialled(self, begun: int, found: Dialled) -> bool:
        """Note what a try at the address of the last link found; tell whether the run is dead."""
        gone = found in {Dialled.REFUSED, Dialled.OTHER_RUN}
        if self._suspect and gone and begun == self._epoch:
            self.dead = True
        return self.dead


def pauses(first: float, most: float, random: Random) -> Iterator[float]:
    """Return the times between tries to connect: growing, each shortened by chance up to a half."""
    pause = first
    while True:
        yield pause * (1 - random.random() / 2)
        pause = min(pause * 1.5, most)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or of a URL; raises `ValueError`."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("a cluster address needs a host and a port")
    return parts.hostname, parts.port
