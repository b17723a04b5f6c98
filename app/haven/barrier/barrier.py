"""The barrier: everything stored passes through it, and nothing opens while it is sealed.

It follows changes of keys that another node made: a rotation is found in `core/keyring` under the
same root key; a rekey is found through `core/master`, which is encrypted under the newest term, and
the way to that term through `core/upgrade/<n>`. Changes of this node's own are one commit, and
memory changes only after it. One lock keeps changes and following apart, so keys never go back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from haven.barrier import aead, paths
from haven.barrier.keyring import Keyring, UnknownTerm
from haven.errors import DecryptionFailed, Sealed
from haven.storage.base import Operation, Put

log = logging.getLogger("haven.barrier")

Read = Callable[[str], Awaitable[bytes | None]]
"""Reads ciphertext at a storage key, linearizably."""

_FOLLOW_ATTEMPTS = 3
"""A rekey may commit between our reads; each attempt reads again."""


class Store(Protocol):
    """Ciphertext storage that adds the node's authority to what it is asked."""

    async def get(self, key: str) -> bytes | None:
        """Return the value at `key`, or None."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix`."""
        ...

    async def commit(self, operations: Sequence[Operation]) -> None:
        """Apply all operations or none."""
        ...


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A new keyring, and what has to be committed together with it."""

    keyring: Keyring
    operations: Sequence[Operation] = field(default=(), repr=False)


def persisted(keyring: Keyring) -> list[Operation]:
    """Return the writes that store a keyring."""
    return [Put(paths.KEYRING, keyring.seal()), Put(paths.MASTER, keyring.master())]


class Barrier:
    """Holds the keyring while the node is unsealed."""

    def __init__(self) -> None:
        self._keyring: Keyring | None = None
        self._lock = asyncio.Lock()
        self._stored: bytes | None = None
        self._uncounted = 0

    @property
    def sealed(self) -> bool:
        """Tell whether there are no keys."""
        return self._keyring is None

    @property
    def keyring(self) -> Keyring:
        """Return the keys; raises `Sealed`."""
        if self._keyring is None:
            raise Sealed
        return self._keyring

    @property
    def encryptions(self) -> int:
        """Return how often the newest key encrypted, as far as this node knows."""
        return self.keyring.active.encryptions + self._uncounted

    @property
    def uncounted(self) -> int:
        """Return the encryptions since the keyring was stored last."""
        return self._uncounted

    def unseal(self, keyring: Keyring) -> None:
        """Take over the keys."""
        self._adopt(keyring, None)

    def seal(self) -> None:
        """Overwrite the keys as far as Python can, and forget them."""
        if self._keyring is not None:
            self._keyring.wipe()
        self._keyring, self._stored, self._uncounted = None, None, 0

    def encrypt(self, path: str, plaintext: bytes) -> bytes:
        """Encrypt for `path`; raises `Sealed`."""
        blob = self.keyring.encrypt(path, plaintext)
        self._uncounted += 1
        return blob

    def decrypt(self, path: str, blob: bytes) -> bytes:
        """Decrypt what was stored at `path`; raises `Sealed`, `UnknownTerm` or `DecryptionFailed`."""
        return self.keyring.decrypt(path, blob)

    async def follow(self, read: Read, recover: Callable[[], Awaitable[Keyring]] | None = None) -> bool:
        """Learn what another node changed; tell whether there was anything.

        `recover` opens the keyring without the keys held. Without it this raises `DecryptionFailed`
        if the newest keys cannot be reached from those held: a rotation and a rekey were both missed,
        and the way to them has been removed.
        """
        async with self._lock:
            try:
                return await self._follow(read)
            except DecryptionFailed:
                if recover is None:
                    raise
            held = self.keyring
            log.warning("keys not reachable from those held, opening them with the seal")
            return self._take(held, await recover(), None)

    async def change(self, store: Store, alter: Callable[[Keyring], KeyChange]) -> None:
        """Commit a change of the newest keyring and adopt it; after an error nothing changed in memory."""
        async with self._lock:
            await self._follow(store.get)
            before, counted = self.keyring, self._uncounted
            active = replace(before.active, encryptions=self.encryptions)
            change = alter(before.with_key(active))
            writes = persisted(change.keyring)
            await store.commit([*writes, *change.operations])
            # Sealed meanwhile: the change is stored, and the next unseal will read it.
            if self._keyring is not before:
                change.keyring.wipe()
                return
            uncounted = self._uncounted - counted
            self._adopt(change.keyring, writes[0].value if isinstance(writes[0], Put) else None)
            self._uncounted = uncounted if change.keyring.active.term == active.term else 0

    def _adopt(self, keyring: Keyring, stored: bytes | None) -> None:
        if self._keyring is not None:
            self._keyring.wipe(keep=keyring)
        self._keyring, self._stored, self._uncounted = keyring, stored, 0

    async def _follow(self, read: Read) -> bool:
        held = self.keyring
        for _ in range(_FOLLOW_ATTEMPTS):
            blob = await read(paths.KEYRING)
            if blob is None:
                raise DecryptionFailed(f"{paths.KEYRING} is missing")
            if blob == self._stored:
                return False
            latest = await self._open(read, held, blob)
            if latest is not None:
                return self._take(held, latest, blob)
            if self._keyring is not held:
                raise Sealed
        raise DecryptionFailed(f"{paths.KEYRING} does not open under the root key of {paths.MASTER}")

    def _take(self, held: Keyring, latest: Keyring, blob: bytes | None) -> bool:
        if self._keyring is not held:
            latest.wipe()
            raise Sealed
        before, after = held.active.term, latest.active.term
        changed = before != after or held.root != latest.root or held.rotation != latest.rotation
        uncounted = self._uncounted if before == after else 0
        self._adopt(latest, blob)
        self._uncounted = uncounted
        if changed:
            log.info("keys followed before_term=%d term=%d", before, after)
        return changed

    async def _open(self, read: Read, held: Keyring, blob: bytes) -> Keyring | None:
        """Open the stored keyring with the root key held, or else with the one in `core/master`."""
        try:
            return Keyring.unseal(held.root, blob)
        except DecryptionFailed:
            log.info("root key changed, following term=%d", held.active.term)
        try:
            return Keyring.unseal(await _new_root(read, held), blob)
        except UnknownTerm:
            if self._keyring is not held:
                raise Sealed from None
            raise
        except DecryptionFailed:
            return None


async def _new_root(read: Read, held: Keyring) -> bytearray:
    """Read the root key from `core/master`, walking the upgrades to its term if need be."""
    blob = await read(paths.MASTER)
    if blob is None:
        raise DecryptionFailed(f"{paths.MASTER} is missing")
    while aead.term_of(blob) not in held.keys:
        step = await read(paths.upgrade(held.active.term))
        if step is None:
            raise UnknownTerm(f"no way from term {held.active.term} to term {aead.term_of(blob)}")
        held = held.with_upgrade(step)
    return held.root_from(blob)
