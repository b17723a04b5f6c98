"""What protects the root key at rest: a key split among people (shamir) or read from a file (static)."""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from haven.barrier import aead
from haven.errors import DecryptionFailed

_WRAP_TERM = 1
"""The term field means nothing here; 1 as in Vault's keyring."""


class SealType(StrEnum):
    """How a node gets the key that opens the root key."""

    SHAMIR = "shamir"
    STATIC = "static"


class BadSealKey(ValueError):
    """The static seal key cannot be read; the text never holds it."""


@dataclass(frozen=True, slots=True)
class SealConfiguration:
    """How this process is configured to unseal; `key` only with the static seal."""

    type: SealType
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def shamir(cls) -> "SealConfiguration":
        """Unseal with shares from operators."""
        return cls(SealType.SHAMIR)

    @classmethod
    def static(cls, key: bytes) -> "SealConfiguration":
        """Unseal unattended with this 32-byte key."""
        if len(key) != aead.KEY_BYTES:
            raise BadSealKey(f"static seal key must have {aead.KEY_BYTES} bytes")
        return cls(SealType.STATIC, key)


def read_static_key(path: Path) -> bytes:
    """Read a 32-byte key: raw, 64 hex digits, or base64 (standard or URL-safe); blocks on the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadSealKey(f"cannot read the static seal key {path}: {error.strerror}") from None
    if len(content) == aead.KEY_BYTES:
        return content
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(content.decode("ascii").strip())
        except (ValueError, binascii.Error):
            continue
        if len(key) == aead.KEY_BYTES:
            return key
    raise BadSealKey(f"static seal key {path} must be 32 bytes: raw, hex or base64")


def _base64(text: str) -> bytes:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    return base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)


def wrap(key: bytes, path: str, secret: bytes) -> bytes:
    """Encrypt a secret of the seal for `path`."""
    return aead.seal(AESGCM(key), _WRAP_TERM, path, secret)


def unwrap(key: bytes, path: str, blob: bytes) -> bytes:
    """Decrypt what `wrap` made; a key of another length is a wrong key: `DecryptionFailed`."""
    if len(key) != aead.KEY_BYTES:
        raise DecryptionFailed(f"{path} does not open under this key")
    return aead.open_(AESGCM(key), path, blob)


def same_key(left: bytes, right: bytes) -> bool:
    """Compare two keys without telling by time where they differ."""
    return hmac.compare_digest(left, right)
