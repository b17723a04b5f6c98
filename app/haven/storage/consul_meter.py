"""Time each Consul call, by what it was for and how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager

from haven.clock import BootClock, Clock
from haven.errors import NotApplied, OutcomeUnknown
from haven.telemetry import Telemetry


class ConsulMeter:
    """Feeds `haven_consul_call_seconds`."""

    def __init__(self, telemetry: Telemetry, clock: Clock | None = None) -> None:
        self._telemetry = telemetry
        self._clock = clock or BootClock()

    @contextmanager
    def call(self, operation: str) -> Iterator[None]:
        """Record the call made inside: ok, refused, unknown, or unavailable for anything else."""
        started = self._clock.now()
        outcome = "unavailable"
        try:
            yield
            outcome = "ok"
        except NotApplied:
            outcome = "refused"
            raise
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        finally:
            self._telemetry.consul_call(operation, outcome, self._clock.now() - started)
