"""`sys/generate-root/*`: a new root token for those who hold enough shares, masked by a one-time pad.

Progress lives here, for one term of authority, and ends with it.
"""

import asyncio
import base64
import logging
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from haven.barrier.barrier import Store
from haven.barrier.shamir import ShareError
from haven.core.sealing import Quorum, Seal, check_length, decode_key
from haven.errors import RequestError

log = logging.getLogger("haven.core.generate_root")

CreateRootToken = Callable[[], Awaitable[str]]
"""Stores a new root token and returns it; it must have `OTP_LENGTH` characters."""

OTP_LENGTH = 28
"""`hvs.` and 24 characters."""

_ALPHABET = string.ascii_letters + string.digits


@dataclass
class _Attempt:
    otp: str = field(repr=False)
    offered: Quorum = field(default_factory=Quorum)


class GenerateRoot:
    """Makes root tokens under one term of authority; one attempt at a time."""

    def __init__(self, seal: Seal, store: Store, create: CreateRootToken) -> None:
        self._seal = seal
        self._store = store
        self._create = create
        self._attempt: _Attempt | None = None
        self._lock = asyncio.Lock()

    def status(self) -> dict[str, Any]:
        """Return the body of GET `sys/generate-root/attempt`; it never tells the one-time pad."""
        attempt = self._attempt
        return {
            "nonce": attempt.offered.nonce if attempt else "",
            "started": attempt is not None,
            "progress": attempt.offered.progress if attempt else 0,
            "required": self._seal.required,
            "complete": False,
            "encoded_token": "",
            "encoded_root_token": "",
            "pgp_fingerprint": "",
            "otp": "",
            "otp_length": OTP_LENGTH,
        }

    def start(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Begin an attempt; return its status, with the one-time pad if it was made here."""
        if body.get("pgp_key"):
            raise RequestError(400, "PGP keys are not supported by this server")
        given = body.get("otp") or ""
        if given and (not isinstance(given, str) or len(given.encode()) != OTP_LENGTH):
            raise RequestError(400, "OTP string is wrong length")
        if self._attempt is not None:
            raise RequestError(400, "root generation already in progress")
        if not self._seal.required:
            raise RequestError(
                400, "root generation needs recovery keys, and this cluster was made without them"
            )
        otp = given or "".join(secrets.choice(_ALPHABET) for _ in range(OTP_LENGTH))
        self._attempt = _Attempt(otp)
        self._attempt.offered.start()
        log.info("root generation started")
        return {**self.status(), "otp": "" if given else otp}

    def cancel(self, nonce: str = "") -> None:
        """End the attempt; a nonce is optional, as in Vault, but a wrong one is refused."""
        if self._attempt and nonce and nonce != self._attempt.offered.nonce:
            raise RequestError(400, "incorrect nonce supplied for this root generation operation")
        if self._attempt:
            log.info("root generation cancelled")
        self._attempt = None

    async def update(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take one share; return the status, at the threshold with the masked token."""
        key = decode_key(body)
        check_length(key, "invalid key: ")
        async with self._lock:
            attempt, required = self._accepting(body, key), self._seal.required
            try:
                combined = attempt.offered.offer(key, required)
            except ShareError as error:
                raise RequestError(400, f"failed to compute root key: {error}") from None
            if combined is None:
                return self.status()
            if not await self._seal.authorise(self._store.get, combined):
                log.warning("root generation refused reason=wrong_shares")
                raise RequestError(400, "root generation aborted: invalid key")
            return await self._authorised(attempt, required)

    def _accepting(self, body: Mapping[str, Any], key: bytes) -> _Attempt:
        attempt = self._attempt
        if attempt is None:
            raise RequestError(400, "no root generation in progress")
        nonce = attempt.offered.nonce
        if body.get("nonce") != nonce:
            raise RequestError(
                400, f'incorrect nonce supplied; nonce for this root generation operation is "{nonce}"'
            )
        if attempt.offered.holds(key):
            raise RequestError(400, "given key has already been provided during this generation operation")
        return attempt

    async def _authorised(self, attempt: _Attempt, required: int) -> dict[str, Any]:
        token = mask(await self._create(), attempt.otp)
        answer = {
            **self.status(),
            "nonce": attempt.offered.nonce,
            "started": True,
            "progress": required,
            "complete": True,
            "encoded_token": token,
            "encoded_root_token": token,
            "otp_length": 0,
        }
        if self._attempt is attempt:
            self._attempt = None
        log.info("root generation finished")
        return answer


def mask(token: str, otp: str) -> str:
    """Return token XOR pad, in base64 without padding, as `vault operator generate-root -decode` reads it."""
    left, right = token.encode(), otp.encode()
    masked = bytes(one ^ other for one, other in zip(left, right, strict=True))
    return base64.b64encode(masked).decode().rstrip("=")
