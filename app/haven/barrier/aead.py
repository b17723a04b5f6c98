"""The format of one ciphertext: AES-256-GCM with the storage path as associated data.

`term` (4 bytes, big-endian) | version (1 byte, 2 = bound to its path) | nonce (12) | ciphertext and tag (16).
Bound to its path, a value cannot be moved to another key by whoever can write to the storage.
"""

import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from haven.errors import DecryptionFailed

KEY_BYTES = 32
VERSION = 2

_HEADER = struct.Struct(">IB")
_NONCE_BYTES = 12
_TAG_BYTES = 16

OVERHEAD = _HEADER.size + _NONCE_BYTES + _TAG_BYTES
"""Bytes that a ciphertext is longer than its plaintext."""


def seal(cipher: AESGCM, term: int, path: str, plaintext: bytes) -> bytes:
    """Encrypt a value for `path` under the key of `term`, with a random nonce."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _HEADER.pack(term, VERSION) + nonce + cipher.encrypt(nonce, plaintext, path.encode())


def term_of(blob: bytes) -> int:
    """Return the term that a ciphertext says it is encrypted under; raises `DecryptionFailed`."""
    if len(blob) < OVERHEAD:
        raise DecryptionFailed("ciphertext is too short")
    term, version = _HEADER.unpack_from(blob)
    if version != VERSION:
        raise DecryptionFailed(f"ciphertext has the unknown version {version}")
    return int(term)


def open_(cipher: AESGCM, path: str, blob: bytes) -> bytes:
    """Decrypt what `seal` made; raises `DecryptionFailed` for a wrong key, a wrong path or a changed byte."""
    term_of(blob)
    body = _HEADER.size + _NONCE_BYTES
    try:
        return cipher.decrypt(blob[_HEADER.size : body], blob[body:], path.encode())
    except InvalidTag:
        raise DecryptionFailed(f"{path} does not open under this key") from None
