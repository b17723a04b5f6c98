"""An HTTP request and its answer, as one node hands them to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RawRequest:
    """An HTTP request as it can be forwarded: `target` is the raw path with its query."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_read(self) -> bool:
        """Tell whether repeating it is harmless."""
        return self.method in {"GET", "HEAD", "LIST"}


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An HTTP response as it came over the link."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
