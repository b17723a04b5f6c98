"""Who may answer now: the unbroken chain of passes, and the lease that rests on it.

Both are values: an event gives a new one. Times are seconds of the protocol's clock
(`CLOCK_BOOTTIME`), always taken *before* the request that they stand for was sent.
"""

from dataclasses import dataclass, replace

from haven.ha.timing import Timing


@dataclass(frozen=True, slots=True)
class PassChain:
    """The passes of one check: each must be answered before the one before it runs out.

    A reply later than that may follow an expiry that nobody saw, whose consequence is
    still on its way; so the chain is broken for good, and the session is in doubt.
    """

    last: float
    broken: bool = False

    def passed(self, sent: float, replied: float, timing: Timing) -> "PassChain":
        """Return the chain after a pass sent and answered at these times."""
        if self.broken or replied >= self.last + timing.lease:
            return replace(self, broken=True)
        return replace(self, last=max(self.last, sent))

    def sound(self, now: float, timing: Timing) -> bool:
        """Tell whether the check cannot have expired by now."""
        return not self.broken and now < self.last + timing.lease


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to answer, until a moment; a lapsed lease is never extended."""

    until: float

    @classmethod
    def granted(cls, chain: PassChain, timing: Timing) -> "Lease":
        """Return the lease of a lock just taken: it counts from the last pass before that."""
        return cls(chain.last + timing.lease)

    def holds(self, now: float) -> bool:
        """Tell whether the holder may answer at this moment."""
        return now < self.until

    def confirmed(self, chain: PassChain, sent: float, now: float, timing: Timing) -> "Lease":
        """Return the lease after a consistent read, sent and answered then, named this session.

        It counts from the last pass, or from the read if that was sent earlier: the read
        says nothing of a loss after it.
        """
        if not self.holds(now) or not chain.sound(now, timing):
            return self
        return Lease(max(self.until, min(chain.last, sent) + timing.lease))
