"""What can be set about the HTTP side."""

from dataclasses import dataclass

from haven.version import VERSION


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The HTTP side's settings; times in seconds, sizes in bytes."""

    max_body: int = 32 << 20
    """Largest request body, like Vault's; a larger one gets 413."""
    body_seconds: float = 30.0
    """A request's whole body must have arrived within this time, so that a drip cannot hold a connection."""
    redirect: bool = False
    """Answer 307 with the holder's address instead of forwarding; clients must then reach every node."""
    unauthenticated_metrics: bool = False
    """Serve `sys/metrics` without a token, on sealed nodes too."""
    version: str = VERSION
    """What `sys/health` and `sys/seal-status` give as version."""
    build_date: str = ""
    """What `sys/seal-status` gives as build date."""

    def __post_init__(self) -> None:
        for name in ("max_body", "body_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
