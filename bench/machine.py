"""What the machine does beside the measurement."""

from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
STEAL = 7
"""The field of /proc/stat's first line that counts time which the host gave to other guests (proc(5))."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Time of all cores since the start, in ticks."""

    total: int
    stolen: int

    @classmethod
    def now(cls) -> "Processor":
        """Read the kernel's counters."""
        return cls.read(STAT.read_text())

    @classmethod
    def read(cls, text: str) -> "Processor":
        """Take the first line's fields; those of guests are in user time already."""
        fields = [int(field) for field in text.split("\n", 1)[0].split()[1:9]]
        return cls(sum(fields), fields[STEAL])

    def stolen_since(self, before: "Processor") -> float:
        """Return which share of the time the host has kept from this machine."""
        return (self.stolen - before.stolen) / max(1, self.total - before.total)
