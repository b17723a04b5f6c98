"""One node's keys: sealed at start, initialised once per cluster, unsealed by shares or by itself.

It knows nothing of who is active. What changes the keys (rotation, rekey, root tokens) is made anew for
each term of authority, over that term's store.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from haven.barrier.barrier import Barrier, Read, Store
from haven.barrier.keyring import Keyring
from haven.barrier.seals import SealConfiguration
from haven.barrier.shamir import ShareError
from haven.barrier.view import BarrierView
from haven.clock import Clock
from haven.core import layout
from haven.core.generate_root import CreateRootToken, GenerateRoot
from haven.core.initialize import ALREADY, InitialEntries, parse, prepare, store
from haven.core.rekey import Rekey
from haven.core.rekey_target import BarrierTarget, RecoveryTarget
from haven.core.rotation import Rotation
from haven.core.sealing import Quorum, Seal, SealState, check_length, decode_key
from haven.errors import DecryptionFailed, HavenError, RequestError, Sealed
from haven.storage.base import Storage

log = logging.getLogger("haven.core")

_LINK_INFO = b"haven cluster link 1"


class Core:
    """The seal, the barrier and the identity of the cluster, for one process."""

    def __init__(
        self, storage: Storage, seal: SealConfiguration, clock: Clock, entries: InitialEntries
    ) -> None:
        self.barrier = Barrier()
        self._storage = storage
        self._clock = clock
        self._entries = entries
        self._seal = Seal(seal, self.barrier)
        self._shares = Quorum()
        self._lock = asyncio.Lock()
        self._initialized = False
        self._cluster = {"name": "", "id": ""}
        self._link_secret = bytearray()

    @property
    def sealed(self) -> bool:
        """Tell whether this node holds no keys."""
        return self.barrier.sealed

    @property
    def cluster_name(self) -> str:
        """Return the cluster's name, "" while sealed."""
        return self._cluster["name"]

    @property
    def cluster_id(self) -> str:
        """Return the cluster's id, "" while sealed."""
        return self._cluster["id"]

    def link_key(self) -> bytes:
        """Return the key that only unsealed nodes have; it outlives rotation and rekey. Raises `Sealed`."""
        if self.sealed:
            raise Sealed
        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LINK_INFO)
        return derivation.derive(bytes(self._link_secret))

    def seal_status(self) -> SealState:
        """Tell the state of the seal from memory; `initialized()` refreshes it while uninitialised."""
        holders = self._seal.holders
        return SealState(
            type=self._seal.configuration.type.value,
            initialized=self._initialized,
            sealed=self.sealed,
            threshold=holders.threshold if holders else 0,
            shares=holders.shares if holders else 0,
            progress=self._shares.progress,
            nonce=self._shares.nonce,
            cluster_name=self.cluster_name,
            cluster_id=self.cluster_id,
            recovery_seal=self._seal.static,
        )

    async def initialized(self) -> bool:
        """Tell whether the cluster has keys, from memory once it has; raises `Unavailable`."""
        if self._initialized:
            return True
        if await self._storage.get(layout.KEYRING) is None:
            return False
        if not await self._seal.load(self._storage.get):
            raise DecryptionFailed("barrier reports initialized but no seal configuration found")
        self._initialized = True
        return True

    async def initialize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Initialise the cluster; return the body of `sys/init`. With the static seal, unseal as well.

        Raises `RequestError`, and storage errors; after `OutcomeUnknown` the cluster may exist with keys
        that nobody has, and its storage must be emptied.
        """
        async with self._lock:
            if await self.initialized():
                raise RequestError(400, ALREADY)
            request = parse(body, self._seal.configuration.type)
            cluster = prepare(request, self._seal.configuration, self._clock.wall(), self._entries)
            await store(cluster, self._storage)
            self._seal.record, self._seal.recovery = request.seal, request.recovery
            self._initialized = True
            log.info("initialised seal=%s", self._seal.configuration.type)
        try:
            await self.auto_unseal()
        except HavenError as error:
            # The keys below exist only in this answer: it must not be lost for that.
            log.warning("not unsealed after initialisation reason=%s", type(error).__name__)
        return dict(cluster.answer)

    async def unseal(self, body: Mapping[str, Any]) -> None:
        """Take one share, or forget those taken (`reset`); raises `RequestError` and `Unavailable`."""
        if body.get("reset"):
            if not self.sealed:
                raise RequestError(400, "vault is unsealed")
            self._shares.reset()
            return
        key = decode_key(body, ", or 'reset' set to true")
        if body.get("migrate"):
            raise RequestError(500, "can't perform a seal migration, no migration seal found")
        async with self._lock:
            if not await self.initialized():
                raise RequestError(400, "Vault is not initialized")
            check_length(key, "invalid key: ")
            if self.sealed:
                await self._offer(key)

    async def _offer(self, key: bytes) -> None:
        if self._seal.mismatch():
            raise RequestError(400, self._seal.mismatch())
        if self._seal.static:
            raise RequestError(400, "invalid key: this node unseals itself with its static seal key")
        # Another node may have rekeyed since; the threshold has to be today's.
        await self._seal.load(self._storage.get)
        if self._shares.holds(key):
            return
        if not self._shares.nonce:
            self._shares.start()
        try:
            combined = self._shares.offer(key, self._seal.required)
        except ShareError as error:
            self._shares.reset()
            raise RequestError(400, f"invalid key: failed to compute combined key: {error}") from None
        if combined is None:
            return
        self._shares.reset()
        try:
            keyring = await self._seal.keyring(self._storage.get, combined)
        except DecryptionFailed as error:
            log.warning("unseal refused reason=%r", str(error))
            raise RequestError(400, "Unseal failed, invalid key") from None
        await self._open(keyring)

    async def auto_unseal(self) -> bool:
        """Unseal with the static key; return whether this node is unsealed now.

        False with the shamir seal and before initialisation. Raises `DecryptionFailed` if the key is
        not this cluster's, and `Unavailable`: both are worth another try.
        """
        async with self._lock:
            if not self.sealed:
                return True
            if not self._seal.static or not await self.initialized():
                return False
            if self._seal.mismatch():
                raise DecryptionFailed(self._seal.mismatch())
            await self._open(await self._static_keyring())
            return True

    async def _static_keyring(self) -> Keyring:
        return await self._seal.keyring(self._storage.get, self._seal.configuration.key)

    async def _open(self, keyring: Keyring) -> None:
        """Read what is needed of an unsealed node, then take over the keys."""
        plain = {}
        for path in (layout.CLUSTER_INFO, layout.LINK_KEY):
            blob = await self._storage.get(path)
            if blob is None:
                raise DecryptionFailed(f"{path} is missing")
            plain[path] = keyring.decrypt(path, blob)
        self._cluster = json.loads(plain[layout.CLUSTER_INFO])
        self._link_secret = bytearray(plain[layout.LINK_KEY])
        self.barrier.unseal(keyring)
        log.info("unsealed term=%d", keyring.active.term)

    def seal(self) -> None:
        """Forget all keys, at once; sealing a sealed node does nothing."""
        if not self.sealed:
            log.info("sealed")
        self.barrier.seal()
        self._shares.reset()
        self._link_secret[:] = bytes(len(self._link_secret))
        self._cluster = {"name": "", "id": ""}

    async def follow(self, read: Read) -> bool:
        """Learn of rotations and rekeys by other nodes; tell whether there was one.

        To be called before a term's first answer, and every few seconds on a standby. Raises
        `DecryptionFailed` if this node can only go on after it has been unsealed again (never with the
        static seal), and `Unavailable`.
        """
        recover = self._static_keyring if self._seal.static else None
        changed = await self.barrier.follow(read, recover)
        await self._seal.load(read)
        return changed

    def view(self, term_store: Store, prefix: str) -> BarrierView:
        """Return plaintext storage below `prefix`, over a term's store."""
        return BarrierView(self.barrier, term_store, prefix)

    def rotation(self, term_store: Store) -> Rotation:
        """Return `sys/rotate` and `sys/key-status` for one term."""
        return Rotation(self.barrier, self._clock, term_store)

    def rekey(self, term_store: Store) -> Rekey:
        """Return `sys/rekey` for one term; its progress ends with it."""
        target = BarrierTarget(self.barrier, self._seal, term_store)
        return Rekey(target, self._seal, term_store)

    def recovery_rekey(self, term_store: Store) -> Rekey | None:
        """Return `sys/rekey-recovery-key` for one term; None with a seal that has no recovery key."""
        if not self._seal.static:
            return None
        return Rekey(RecoveryTarget(self._seal, term_store), self._seal, term_store)

    def generate_root(self, term_store: Store, create: CreateRootToken) -> GenerateRoot:
        """Return `sys/generate-root` for one term; its progress ends with it."""
        return GenerateRoot(self._seal, term_store, create)
