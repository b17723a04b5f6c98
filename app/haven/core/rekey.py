"""`sys/rekey/*`: new shares, and with them a new root key; the data keys stay.

Everything changes in one commit, and the new shares are valid only after it: if it is refused, the
old shares go on. If its outcome stays unknown, one of the two sets is valid, and an operator who asked
for verification holds both. Progress lives here, for one term of authority, and ends with it.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haven.barrier.barrier import Store
from haven.barrier.keyring import new_key
from haven.barrier.seals import SealType, same_key
from haven.barrier.shamir import ShareError
from haven.core.rekey_target import Target
from haven.core.sealing import Quorum, Seal, ShareRecord, check_length, decode_key, encoded, integer
from haven.errors import RequestError

log = logging.getLogger("haven.core.rekey")


@dataclass
class _Attempt:
    """A rekey under way; `pending` is the new key that waits for its verification."""

    record: ShareRecord
    verify: bool
    offered: Quorum = field(default_factory=Quorum)
    verified: Quorum = field(default_factory=Quorum)
    pending: bytes | None = field(default=None, repr=False)


class Rekey:
    """Renews one target under one term of authority; one rekey at a time."""

    def __init__(self, target: Target, seal: Seal, store: Store) -> None:
        self._target = target
        self._seal = seal
        self._store = store
        self._attempt: _Attempt | None = None
        self._lock = asyncio.Lock()

    def status(self) -> dict[str, Any]:
        """Return the body of GET `sys/rekey/init`."""
        attempt = self._attempt
        body: dict[str, Any] = {
            "nonce": attempt.offered.nonce if attempt else "",
            "started": attempt is not None,
            "t": attempt.record.threshold if attempt else 0,
            "n": attempt.record.shares if attempt else 0,
            "progress": attempt.offered.progress if attempt else 0,
            "required": self._seal.required,
            "pgp_fingerprints": None,
            "backup": False,
            "verification_required": attempt.verify if attempt else False,
        }
        if attempt and attempt.verified.nonce:
            body["verification_nonce"] = attempt.verified.nonce
        return body

    def start(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a rekey; return its status."""
        record, verify = self._wanted(body)
        if self._attempt is not None:
            raise RequestError(400, "rekey already in progress")
        if not self._seal.required:
            raise RequestError(400, "rekeying needs recovery keys, and this cluster was made without them")
        self._attempt = _Attempt(record, verify)
        self._attempt.offered.start()
        log.info("rekey started shares=%d threshold=%d verify=%s", record.shares, record.threshold, verify)
        return self.status()

    def _wanted(self, body: Mapping[str, Any]) -> tuple[ShareRecord, bool]:
        pgp_keys, shares = body.get("pgp_keys") or [], integer(body, "secret_shares")
        verify = bool(body.get("require_verification"))
        if body.get("backup") and not pgp_keys:
            raise RequestError(
                400,
                "cannot request a backup of the new keys without providing PGP keys for encryption",
            )
        if pgp_keys and len(pgp_keys) != shares:
            raise RequestError(400, "incorrect number of PGP keys for rekey")
        if pgp_keys:
            raise RequestError(400, "PGP keys are not supported by this server")
        record = ShareRecord(SealType.SHAMIR, shares, integer(body, "secret_threshold"))
        return self._target.wanted(record, verify), verify

    def cancel(self, nonce: str = "") -> None:
        """End the rekey; a nonce is optional, as in Vault, but a wrong one is refused."""
        if self._attempt and nonce and nonce != self._attempt.offered.nonce:
            raise RequestError(400, "incorrect nonce supplied for this rekey operation")
        if self._attempt:
            log.info("rekey cancelled")
        self._attempt = None

    async def update(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take one present share; return the status, or at the threshold the new shares."""
        key = decode_key(body)
        check_length(key)
        async with self._lock:
            attempt = self._accepting(body, key)
            try:
                combined = attempt.offered.offer(key, self._seal.required)
            except ShareError as error:
                raise RequestError(400, f"failed to compute root key: {error}") from None
            if combined is None:
                return self.status()
            if not await self._seal.authorise(self._store.get, combined):
                log.warning("rekey refused reason=wrong_shares")
                raise RequestError(400, "root key verification failed: invalid key")
            return await self._authorised(attempt)

    def _accepting(self, body: Mapping[str, Any], key: bytes) -> _Attempt:
        attempt = self._attempt
        if attempt is None:
            raise RequestError(400, f"no {self._target.name} rekey in progress")
        if attempt.pending is not None:
            raise RequestError(
                400,
                "rekey operation already finished; verification must be performed; "
                f'nonce for the verification operation is "{attempt.verified.nonce}"',
            )
        _check_nonce(body, attempt.offered, "rekey")
        if attempt.offered.holds(key):
            raise RequestError(400, "given key has already been provided during this generation operation")
        return attempt

    async def _authorised(self, attempt: _Attempt) -> dict[str, Any]:
        """Make the new shares; install them at once unless they are to be verified first."""
        key = bytes(new_key())
        shares = self._target.shares(key, attempt.record)
        answer: dict[str, Any] = {
            "nonce": attempt.offered.nonce,
            "complete": True,
            **encoded(shares),
            "pgp_fingerprints": None,
            "backup": False,
            "verification_required": attempt.verify,
        }
        if attempt.verify:
            attempt.pending = key
            attempt.verified.start()
            return {**answer, "verification_nonce": attempt.verified.nonce}
        await self._install(attempt, key)
        return answer

    def verification(self) -> dict[str, Any]:
        """Return the body of GET `sys/rekey/verify`."""
        attempt = self._attempt
        if attempt is None:
            raise RequestError(400, "no rekey configuration found")
        return {
            "nonce": attempt.verified.nonce,
            "started": attempt.pending is not None,
            "t": attempt.record.threshold,
            "n": attempt.record.shares,
            "progress": attempt.verified.progress,
        }

    def restart_verification(self) -> dict[str, Any]:
        """Forget the new shares that were offered; return the status under a new nonce."""
        if self._attempt is not None:
            self._attempt.verified.start()
        return self.verification()

    async def verify(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take one new share; at the threshold the rekey is committed."""
        key = decode_key(body)
        check_length(key)
        async with self._lock:
            attempt = self._attempt
            if attempt is None:
                raise RequestError(400, "no rekey in progress")
            if attempt.pending is None:
                raise RequestError(400, "no rekey verification in progress")
            _check_nonce(body, attempt.verified, "verify")
            if attempt.verified.holds(key):
                raise RequestError(400, "given key has already been provided during this verify operation")
            nonce = attempt.verified.nonce
            if not await self._verified(attempt, attempt.pending, key):
                return self.verification()
            return {"nonce": nonce, "complete": True}

    async def _verified(self, attempt: _Attempt, pending: bytes, key: bytes) -> bool:
        """Install the pending key if the threshold is reached with it; else the nonce changes."""
        try:
            combined = attempt.verified.offer(key, attempt.record.threshold)
            if combined is None:
                return False
            if not same_key(combined, pending):
                raise RequestError(400, "rekey verification failed; incorrect key shares supplied")
            await self._install(attempt, pending)
        except ShareError as error:
            attempt.verified.start()
            raise RequestError(400, f"failed to compute key for verification: {error}") from None
        except Exception:
            attempt.verified.start()
            raise
        return True

    async def _install(self, attempt: _Attempt, key: bytes) -> None:
        record = attempt.record
        await self._target.install(key, record)
        if self._attempt is attempt:
            self._attempt = None
        log.info(
            "rekeyed target=%s shares=%d threshold=%d", self._target.name, record.shares, record.threshold
        )


def _check_nonce(body: Mapping[str, Any], quorum: Quorum, operation: str) -> None:
    if body.get("nonce") != quorum.nonce:
        raise RequestError(
            400, f'incorrect nonce supplied; nonce for this {operation} operation is "{quorum.nonce}"'
        )
