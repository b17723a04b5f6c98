"""The protocol's durations, validated together: no combination may break a rule."""

from dataclasses import dataclass


class UnsafeTiming(ValueError):
    """The durations would break a safety rule; the text holds the inequality."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds. See docs/ha-protocol.md for what each protects."""

    check_ttl: float = 1.5
    """How long Consul lets a session live after the last pass it received."""
    margin: float = 0.3
    """How much earlier than that the holder stops: covers clock-rate skew and Consul's own timer."""
    beat: float = 0.3
    """Time between two passes."""
    call_deadline: float = 0.4
    """How long one Consul call may take before the session counts as in doubt."""
    retreat: float = 1.0
    """How long a node that gave the lock up without a successor leaves it to others."""
    retry: float = 0.05
    """How long at least lies between two lock transactions when several in a row have failed."""

    def __post_init__(self) -> None:
        for name in ("check_ttl", "margin", "beat", "call_deadline", "retreat", "retry"):
            if getattr(self, name) <= 0:
                raise UnsafeTiming(f"{name} > 0 is required, got {getattr(self, name)}")
        if self.margin >= self.check_ttl / 2:
            raise UnsafeTiming(f"margin < check_ttl / 2 is required, got {self.margin} and {self.check_ttl}")
        if self.beat + self.call_deadline >= self.lease:
            raise UnsafeTiming(
                "beat + call_deadline < check_ttl - margin is required,"
                f" got {self.beat} + {self.call_deadline} and {self.check_ttl} - {self.margin}"
            )

    @property
    def lease(self) -> float:
        """Return how long a pass lets its holder answer, in seconds from before it was sent."""
        return self.check_ttl - self.margin
