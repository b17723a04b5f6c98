"""Plaintext storage below one prefix, as engines see it (`core.logical.View`)."""

from collections.abc import Sequence

from haven.barrier.barrier import Barrier, Store
from haven.barrier.keyring import UnknownTerm
from haven.storage.base import Delete, Operation, Put


class BarrierView:
    """Narrows the barrier and a term's store to the keys below `prefix` ("" or ending in "/")."""

    def __init__(self, barrier: Barrier, store: Store, prefix: str) -> None:
        self._barrier = barrier
        self._store = store
        self._prefix = prefix

    async def get(self, key: str) -> bytes | None:
        """Return the plaintext at `key`, or None; follows a rotation that another node made."""
        path = self._prefix + key
        blob = await self._store.get(path)
        if blob is None:
            return None
        try:
            return self._barrier.decrypt(path, blob)
        except UnknownTerm:
            await self._barrier.follow(self._store.get)
            return self._barrier.decrypt(path, blob)

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix`."""
        return await self._store.list(self._prefix + prefix)

    async def commit(self, operations: Sequence[Operation]) -> None:
        """Encrypt and apply all operations or none."""
        await self._store.commit([self._encrypted(operation) for operation in operations])

    def _encrypted(self, operation: Operation) -> Operation:
        path = self._prefix + operation.key
        if isinstance(operation, Delete):
            return Delete(path)
        kind = Put if isinstance(operation, Put) else type(operation)
        return kind(path, self._barrier.encrypt(path, operation.value))
