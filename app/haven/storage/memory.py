"""Storage in memory, for `dev` mode and for tests: linearizable, gone with the process."""

from collections.abc import Callable, Mapping, Sequence

from haven.errors import Fenced, NotApplied
from haven.storage.base import Delete, Fence, Limits, Operation, PutIfAbsent
from haven.storage.limits import check_commit

EMBEDDED_LIMITS = Limits(operations=512, value_bytes=1024 * 1024, commit_bytes=8 * 1024 * 1024)
"""Limits of the storages inside the process: nothing forces them, they bound memory and pauses."""


def _nobody(lock_key: str) -> str:
    return ""


class MemoryStorage:
    """Implements `haven.storage.base.Storage` in a dictionary."""

    def __init__(self, holder: Callable[[str], str] = _nobody, limits: Limits = EMBEDDED_LIMITS) -> None:
        """`holder` tells which session holds a lock key now, "" for none; fences are checked against it."""
        self.limits = limits
        self._holder = holder
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        return self._values.get(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the value of each key."""
        return {key: self._values.get(key) for key in keys}

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix`, sorted, folders with a slash."""
        below = (key.removeprefix(prefix) for key in self._values if key.startswith(prefix))
        return sorted({first_segment(name) for name in below if name})

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        """Apply all operations or none, under the fence; see `haven.storage.base.Storage`."""
        check_commit(operations, self.limits)
        if fence is not None and (holder := self._holder(fence.lock_key)) != fence.session:
            raise Fenced(holder)
        changed = dict[str, bytes | None]()
        for operation in operations:
            if isinstance(operation, PutIfAbsent) and self._now(changed, operation.key) is not None:
                raise NotApplied("a key that must not exist does")
            changed[operation.key] = None if isinstance(operation, Delete) else operation.value
        for key, value in changed.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value

    async def close(self) -> None:
        """Keep the values: another node of the same test may still use them."""

    def _now(self, changed: dict[str, bytes | None], key: str) -> bytes | None:
        """Return a key's value inside the commit: operations see those before them."""
        return changed[key] if key in changed else self._values.get(key)


def first_segment(name: str) -> str:
    """Return the name up to its first slash, and that slash."""
    head, slash, _ = name.partition("/")
    return head + slash
