"""What sealing, rekeying and root generation share: records of shares, offered shares, and who may act."""

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haven.barrier import aead, shamir
from haven.barrier.barrier import Barrier, Read
from haven.barrier.keyring import Keyring
from haven.barrier.seals import SealConfiguration, SealType, same_key, unwrap
from haven.core import layout
from haven.errors import DecryptionFailed, RequestError

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = aead.KEY_BYTES + shamir.OVERHEAD


@dataclass(frozen=True, slots=True)
class SealState:
    """The values of `sys/seal-status` that belong to the seal."""

    type: str
    initialized: bool
    sealed: bool
    threshold: int
    shares: int
    progress: int
    nonce: str
    cluster_name: str
    cluster_id: str
    recovery_seal: bool


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """Into how many shares a key is split, and how many give it back."""

    type: SealType
    shares: int
    threshold: int

    def problem(self) -> str | None:
        """Return Vault's text for what is wrong with the numbers, or None."""
        checks = (
            (self.shares < 1, "shares must be at least one"),
            (self.threshold < 1, "threshold must be at least one"),
            (
                self.shares > 1 and self.threshold == 1,
                "threshold must be greater than one for multiple shares",
            ),
            (self.shares > shamir.MAX_SHARES, "shares must be less than 256"),
            (self.threshold > shamir.MAX_SHARES, "threshold must be less than 256"),
            (self.threshold > self.shares, "threshold cannot be larger than shares"),
        )
        return next((text for wrong, text in checks if wrong), None)

    def encode(self) -> bytes:
        """Return the record as Vault stores it."""
        return json.dumps(
            {
                "type": self.type.value,
                "secret_shares": self.shares,
                "secret_threshold": self.threshold,
                "pgp_keys": None,
                "nonce": "",
                "backup": False,
                "stored_shares": 1,
            }
        ).encode()

    @classmethod
    def decode(cls, content: bytes) -> "ShareRecord":
        """Read what `encode` made."""
        data = json.loads(content)
        return cls(SealType(data["type"]), int(data["secret_shares"]), int(data["secret_threshold"]))


def split(secret: bytes, record: ShareRecord) -> list[bytes]:
    """Split a key as the record says; a single share is the key itself."""
    return [secret] if record.shares == 1 else shamir.split(secret, record.shares, record.threshold)


def encoded(shares: list[bytes]) -> dict[str, list[str]]:
    """Return shares in the two forms in which operators get them."""
    return {
        "keys": [share.hex() for share in shares],
        "keys_base64": [base64.b64encode(share).decode() for share in shares],
    }


def decode_key(body: Mapping[str, Any], otherwise: str = "") -> bytes:
    """Read the share in `key`, hex or base64; raises `RequestError`, whose text says what else will do."""
    text = body.get("key")
    if not isinstance(text, str) or not text:
        raise RequestError(400, f"'key' must be specified in request body as JSON{otherwise}")
    key = _hex(text)
    if key is None or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise RequestError(400, "'key' must be a valid hex or base64 string") from None
    return key


def check_length(key: bytes, prefix: str = "") -> None:
    """Refuse what cannot be a share; raises `RequestError`."""
    if len(key) < MIN_KEY_BYTES:
        raise RequestError(400, f"{prefix}key is shorter than minimum {MIN_KEY_BYTES} bytes")
    if len(key) > MAX_KEY_BYTES:
        raise RequestError(400, f"{prefix}key is longer than maximum {MAX_KEY_BYTES} bytes")


def _hex(text: str) -> bytes | None:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        return None


def integer(body: Mapping[str, Any], name: str) -> int:
    """Read a whole number, 0 if absent; raises `RequestError`."""
    value = body.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(400, f"failed to parse JSON input: {name} must be a whole number")
    return value


class Quorum:
    """Shares offered for one operation, under a nonce made for it."""

    def __init__(self) -> None:
        self.nonce = ""
        self._parts: list[bytes] = []

    @property
    def progress(self) -> int:
        """Return how many different shares have been offered."""
        return len(self._parts)

    def start(self) -> None:
        """Forget the shares and make a new nonce."""
        self._parts, self.nonce = [], str(uuid.uuid4())

    def reset(self) -> None:
        """Forget the shares and the nonce."""
        self._parts, self.nonce = [], ""

    def holds(self, key: bytes) -> bool:
        """Tell whether this share has been offered already."""
        return any(same_key(key, part) for part in self._parts)

    def offer(self, key: bytes, threshold: int) -> bytes | None:
        """Take a share; return the combined key at the threshold, and forget the shares then.

        Raises `shamir.ShareError` if they cannot belong together.
        """
        self._parts.append(key)
        if len(self._parts) < threshold:
            return None
        parts, self._parts = self._parts, []
        return parts[0] if threshold == 1 else shamir.combine(parts)


class Seal:
    """The configured seal and the stored records of it; opens the keyring and judges offered keys."""

    def __init__(self, configuration: SealConfiguration, barrier: Barrier) -> None:
        self.configuration = configuration
        self.record: ShareRecord | None = None
        self.recovery: ShareRecord | None = None
        self._barrier = barrier

    @property
    def static(self) -> bool:
        """Tell whether this node unseals itself."""
        return self.configuration.type is SealType.STATIC

    @property
    def holders(self) -> ShareRecord | None:
        """Return the record of the shares that people hold: of the seal's key, or of the recovery key."""
        return self.recovery if self.static else self.record

    @property
    def required(self) -> int:
        """Return how many shares authorise a rekey or a root token; 0 if nobody holds any."""
        return self.holders.threshold if self.holders else 0

    async def load(self, read: Read) -> bool:
        """Read the records; return whether the cluster is initialised."""
        content = await read(layout.SEAL_CONFIG)
        if content is None:
            return False
        recovery = await read(layout.RECOVERY_CONFIG) if self.static else None
        self.record = ShareRecord.decode(content)
        self.recovery = ShareRecord.decode(recovery) if recovery else None
        return True

    def mismatch(self) -> str:
        """Say how the stored seal differs from the configured one, "" if it does not."""
        if self.record is None or self.record.type is self.configuration.type:
            return ""
        return (
            f"the cluster's seal is {self.record.type}, this node is configured for {self.configuration.type}"
        )

    async def keyring(self, read: Read, key: bytes) -> Keyring:
        """Open the stored keyring with the key of the seal.

        Raises `DecryptionFailed` for a wrong key. A rekey may commit between the two reads, so a root
        key that does not open the keyring is read once more.
        """
        for attempt in range(2):
            root = unwrap(key, layout.UNSEAL_KEYS, await _stored(read, layout.UNSEAL_KEYS))
            try:
                return Keyring.unseal(root, await _stored(read, layout.KEYRING))
            except DecryptionFailed:
                if attempt:
                    raise
        raise AssertionError("unreachable")

    async def authorise(self, read: Read, combined: bytes) -> bool:
        """Tell whether a combined key is the one whose holders may rekey and make root tokens."""
        if self.static:
            expected = unwrap(
                self.configuration.key, layout.RECOVERY_KEY, await _stored(read, layout.RECOVERY_KEY)
            )
        else:
            blob = await _stored(read, layout.SHAMIR_KEK)
            expected = self._barrier.decrypt(layout.SHAMIR_KEK, blob)
        return same_key(expected, combined)


async def _stored(read: Read, path: str) -> bytes:
    blob = await read(path)
    if blob is None:
        raise DecryptionFailed(f"{path} is missing")
    return blob
