"""What a storage backend is: reads, and one atomic, fenced write verb."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Put:
    """Set `key` to `value`."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove `key`; removing what is not there is no error."""

    key: str


@dataclass(frozen=True, slots=True)
class PutIfAbsent:
    """Set `key` only if it does not exist; else the whole commit raises `NotApplied`."""

    key: str
    value: bytes


Operation = Put | Delete | PutIfAbsent


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of authority for a write: `session` must hold `lock_key`, or nothing is applied."""

    lock_key: str
    session: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one commit may hold: operations, and bytes of one value and of all values."""

    operations: int
    value_bytes: int
    commit_bytes: int


class Storage(Protocol):
    """A key-value store of ciphertext; keys are slash-separated, without a leading slash."""

    @property
    def limits(self) -> Limits:
        """Tell what one commit may hold."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the value, linearizably, or None; raises `Unavailable`."""
        ...

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the value of each key, linearizably, if not all as of one instant; raises `Unavailable`."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix` ("" or ending in "/"), sorted, folders with a slash."""
        ...

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        """Apply all operations or none.

        Raises `Fenced`, `ValueTooLarge` or another `NotApplied` when surely nothing was
        applied, and `OutcomeUnknown` when that cannot be known.
        """
        ...

    async def close(self) -> None:
        """Release connections and files."""
        ...
