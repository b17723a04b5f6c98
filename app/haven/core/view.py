"""Views: storage narrowed to a prefix, and the removal of all that is below one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from haven.core.logical import COMMIT_OPERATIONS, View
from haven.storage.base import Delete, Operation


class NarrowView:
    """A view of what lies below `prefix`; keys are relative to it."""

    def __init__(self, view: View, prefix: str) -> None:
        self._view = view
        self._prefix = prefix

    async def get(self, key: str) -> bytes | None:
        """Return the plaintext at the key, or None."""
        return await self._view.get(self._prefix + key)

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below the prefix, folders with a slash."""
        return await self._view.list(self._prefix + prefix)

    async def commit(self, operations: Sequence[Operation]) -> None:
        """Apply all operations or none."""
        await self._view.commit(
            [replace(operation, key=self._prefix + operation.key) for operation in operations]
        )


async def walk(view: View, prefix: str = "") -> AsyncIterator[str]:
    """Yield every key below the prefix, depth first."""
    folders = [prefix]
    while folders:
        folder = folders.pop()
        for name in await view.list(folder):
            if name.endswith("/"):
                folders.append(folder + name)
            else:
                yield folder + name


async def remove_all(view: View, prefix: str = "") -> None:
    """Remove every key below the prefix, in bounded commits; if cut short, call it again."""
    batch: list[Operation] = []
    async for key in walk(view, prefix):
        batch.append(Delete(key))
        if len(batch) == COMMIT_OPERATIONS:
            await view.commit(batch)
            batch = []
    if batch:
        await view.commit(batch)
