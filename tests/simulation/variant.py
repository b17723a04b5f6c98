"""What a run plays: the protocol as it is, or one that was broken on purpose."""

from collections.abc import Callable
from dataclasses import dataclass

from haven.ha import protocol
from haven.ha.messages import Event
from haven.ha.state import State

Rule = Callable[[State, Event, float], protocol.Step]


@dataclass(frozen=True)
class Variant:
    """The protocol's step, and what the code around it does with it; the defaults are right."""

    rule: Rule = protocol.step
    fenced: bool = True
    """Every write carries the fence."""
    conditional: bool = True
    """A lock transaction carries its conditions."""
    early_writes: bool = False
    """Writes are acknowledged while the lease before may still run."""
    timeout_is_death: bool = False
    """A peer that says nothing for a second is reported dead."""
    settles: bool = True
    """An unknown write is settled by reading its key after a refence, not before."""
    calls_unknown_failed: bool = False
    """An unknown write is reported as not applied."""
    keeps_cache: bool = False
    """The cache outlives a change of term."""
    reuses_checks: bool = False
    """Check ids come round again."""
    clock_stops: bool = False
    """The clock stands still while the process is suspended."""


RIGHT = Variant()
