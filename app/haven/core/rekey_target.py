"""What a rekey renews: the root key with the shares that open it, or the recovery key."""

from typing import Protocol

from haven.barrier.barrier import Barrier, KeyChange, Store
from haven.barrier.keyring import Keyring, new_key
from haven.barrier.seals import SealType, wrap
from haven.core import layout
from haven.core.sealing import Seal, ShareRecord, split
from haven.errors import RequestError
from haven.storage.base import Operation, Put


class Target(Protocol):
    """One kind of rekey; the present shares that authorise it are the same for all."""

    @property
    def name(self) -> str:
        """Return the word in error texts."""
        ...

    def wanted(self, record: ShareRecord, verify: bool) -> ShareRecord:
        """Return what to make of the numbers asked for; raises `RequestError`."""
        ...

    def shares(self, key: bytes, record: ShareRecord) -> list[bytes]:
        """Return the shares of the new key for the operators."""
        ...

    async def install(self, key: bytes, record: ShareRecord) -> None:
        """Make the new key the valid one, in one commit; after an error nothing changed in memory."""
        ...


def _checked(record: ShareRecord) -> ShareRecord:
    if record.threshold > record.shares:
        raise RequestError(400, "provided threshold greater than the total shares")
    problem = record.problem()
    if problem:
        raise RequestError(400, f"invalid rekey seal configuration: {problem}")
    return record


class BarrierTarget:
    """Renews the root key; with the shamir seal also the key whose shares open it."""

    name = "barrier"

    def __init__(self, barrier: Barrier, seal: Seal, store: Store) -> None:
        self._barrier = barrier
        self._seal = seal
        self._store = store

    def wanted(self, record: ShareRecord, verify: bool) -> ShareRecord:
        """Check the numbers; with the static seal there are no shares to count or to verify."""
        if not self._seal.static:
            return _checked(record)
        if verify:
            raise RequestError(
                400,
                "requiring verification not supported when rekeying the barrier key with recovery keys",
            )
        return ShareRecord(SealType.STATIC, 1, 1)

    def shares(self, key: bytes, record: ShareRecord) -> list[bytes]:
        """Split the key; nobody gets the static seal's."""
        return [] if self._seal.static else split(key, record)

    async def install(self, key: bytes, record: ShareRecord) -> None:
        """Commit the new root key, what opens it, and the new record: all of it or nothing."""
        wrapping = self._seal.configuration.key if self._seal.static else key

        def alter(keyring: Keyring) -> KeyChange:
            renewed = keyring.with_root(new_key())
            unseal_keys = wrap(wrapping, layout.UNSEAL_KEYS, bytes(renewed.root))
            operations: list[Operation] = [Put(layout.UNSEAL_KEYS, unseal_keys)]
            if not self._seal.static:
                operations += [
                    Put(layout.SHAMIR_KEK, renewed.encrypt(layout.SHAMIR_KEK, key)),
                    Put(layout.SEAL_CONFIG, record.encode()),
                ]
            return KeyChange(renewed, operations)

        await self._barrier.change(self._store, alter)
        self._seal.record = record


class RecoveryTarget:
    """Renews the recovery key of the static seal; the root key stays."""

    name = "recovery"

    def __init__(self, seal: Seal, store: Store) -> None:
        self._seal = seal
        self._store = store

    def wanted(self, record: ShareRecord, verify: bool) -> ShareRecord:
        """Check the numbers."""
        return _checked(record)

    def shares(self, key: bytes, record: ShareRecord) -> list[bytes]:
        """Split the key."""
        return split(key, record)

    async def install(self, key: bytes, record: ShareRecord) -> None:
        """Commit the new recovery key and its record."""
        recovery_key = wrap(self._seal.configuration.key, layout.RECOVERY_KEY, key)
        await self._store.commit(
            [Put(layout.RECOVERY_KEY, recovery_key), Put(layout.RECOVERY_CONFIG, record.encode())]
        )
        self._seal.recovery = record
