"""The keys of the barrier: the root key and one key per term. A changed keyring is a new object."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from haven.barrier import aead, paths
from haven.errors import DecryptionFailed

MAX_OPERATIONS = 3_865_470_566
"""Encryptions under one key: 2^32 random nonces (NIST SP 800-38D, 8.3) less a tenth, as in Vault."""

MIN_OPERATIONS = 1_000_000
MIN_INTERVAL = 24 * 3600
_NANOSECONDS = 1_000_000_000
_ROOT_TERM = 1
"""What the header of `core/keyring` says: it is encrypted under the root key, not under a term."""


class UnknownTerm(DecryptionFailed):
    """The value is encrypted under a term that this node has not learnt yet: follow, then try again."""


@dataclass(frozen=True, slots=True)
class RotationConfig:
    """When a term is replaced by itself; `interval` in seconds, 0 for never by age."""

    disabled: bool = False
    max_operations: int = MAX_OPERATIONS
    interval: int = 0


@dataclass(frozen=True, slots=True)
class TermKey:
    """The key of one term; `installed` in seconds since the epoch."""

    term: int
    value: bytearray = field(repr=False)
    installed: float
    encryptions: int = 0

    def encode(self) -> dict[str, Any]:
        """Return the key as Vault writes it in JSON."""
        return {
            "Term": self.term,
            "Version": 1,
            "Value": base64.b64encode(self.value).decode(),
            "InstallTime": datetime.fromtimestamp(self.installed, UTC).isoformat(),
            "encryptions": self.encryptions,
        }

    @classmethod
    def decode(cls, data: Mapping[str, Any]) -> "TermKey":
        """Read what `encode` made."""
        return cls(
            term=int(data["Term"]),
            value=bytearray(base64.b64decode(data["Value"])),
            installed=datetime.fromisoformat(data["InstallTime"]).timestamp(),
            encryptions=int(data.get("encryptions", 0)),
        )


def new_key() -> bytearray:
    """Make a random 256-bit key that can be overwritten later."""
    return bytearray(secrets.token_bytes(aead.KEY_BYTES))


@dataclass(frozen=True)
class Keyring:
    """The root key and the keys of all terms; it encrypts under the newest and decrypts under any."""

    root: bytearray = field(repr=False)
    keys: Mapping[int, TermKey] = field(repr=False)
    rotation: RotationConfig = RotationConfig()
    _ciphers: dict[int, AESGCM] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fresh(cls, now: float) -> "Keyring":
        """Make the keyring of a new cluster; `now` in seconds since the epoch."""
        return cls(new_key(), {1: TermKey(1, new_key(), now)})

    @cached_property
    def active(self) -> TermKey:
        """Return the key that encrypts."""
        return self.keys[max(self.keys)]

    def rotated(self, now: float) -> "Keyring":
        """Add a new term that encrypts from now on."""
        return self.with_key(TermKey(self.active.term + 1, new_key(), now))

    def with_key(self, key: TermKey) -> "Keyring":
        """Add or replace the key of one term."""
        return replace(self, keys={**self.keys, key.term: key}, _ciphers={})

    def with_root(self, root: bytearray) -> "Keyring":
        """Change the root key; data stays encrypted as it is."""
        return replace(self, root=root, _ciphers={})

    def with_rotation(self, rotation: RotationConfig) -> "Keyring":
        """Change when terms are replaced."""
        return replace(self, rotation=rotation, _ciphers={})

    def encrypt(self, path: str, plaintext: bytes) -> bytes:
        """Encrypt for `path` under the newest term."""
        term = self.active.term
        return aead.seal(self._cipher(term), term, path, plaintext)

    def decrypt(self, path: str, blob: bytes) -> bytes:
        """Decrypt what was stored at `path`; raises `UnknownTerm` or another `DecryptionFailed`."""
        return aead.open_(self._cipher(aead.term_of(blob)), path, blob)

    def _cipher(self, term: int) -> AESGCM:
        cipher = self._ciphers.get(term)
        if cipher is None:
            if term not in self.keys:
                raise UnknownTerm(f"no key for term {term}")
            cipher = self._ciphers[term] = AESGCM(self.keys[term].value)
        return cipher

    def upgrade(self) -> bytes:
        """Return the newest key encrypted under the one before it, for `core/upgrade/<the one before>`."""
        before = self.active.term - 1
        plaintext = json.dumps(self.active.encode()).encode()
        return aead.seal(self._cipher(before), before, paths.upgrade(before), plaintext)

    def with_upgrade(self, blob: bytes) -> "Keyring":
        """Learn the term that follows the newest one from what `upgrade` published."""
        path = paths.upgrade(self.active.term)
        return self.with_key(TermKey.decode(json.loads(self.decrypt(path, blob))))

    def master(self) -> bytes:
        """Return the root key encrypted under the newest term, for `core/master`."""
        key = TermKey(_ROOT_TERM, self.root, self.active.installed)
        return self.encrypt(paths.MASTER, json.dumps(key.encode()).encode())

    def root_from(self, blob: bytes) -> bytearray:
        """Read the root key from what `master` made."""
        return TermKey.decode(json.loads(self.decrypt(paths.MASTER, blob))).value

    def seal(self) -> bytes:
        """Return the whole keyring encrypted under the root key, for `core/keyring`."""
        plaintext = json.dumps(
            {
                "MasterKey": base64.b64encode(self.root).decode(),
                "Keys": [self.keys[term].encode() for term in sorted(self.keys)],
                "RotationConfig": {
                    "Disabled": self.rotation.disabled,
                    "MaxOperations": self.rotation.max_operations,
                    "Interval": self.rotation.interval * _NANOSECONDS,
                },
            }
        )
        return aead.seal(AESGCM(self.root), _ROOT_TERM, paths.KEYRING, plaintext.encode())

    @classmethod
    def unseal(cls, root: bytes | bytearray, blob: bytes) -> "Keyring":
        """Open what `seal` made; raises `DecryptionFailed` under another root key."""
        data = json.loads(aead.open_(AESGCM(root), paths.KEYRING, blob))
        rotation = data["RotationConfig"]
        keys = [TermKey.decode(key) for key in data["Keys"]]
        return cls(
            root=bytearray(base64.b64decode(data["MasterKey"])),
            keys={key.term: key for key in keys},
            rotation=RotationConfig(
                bool(rotation["Disabled"]),
                int(rotation["MaxOperations"]),
                int(rotation["Interval"]) // _NANOSECONDS,
            ),
        )

    def wipe(self, keep: "Keyring | None" = None) -> None:
        """Overwrite the keys, except those that `keep` shares with this keyring.

        Copies that the cipher library, JSON or the interpreter made cannot be reached.
        """
        kept = {id(value) for value in keep._values()} if keep else set()
        for value in self._values():
            if id(value) not in kept:
                value[:] = bytes(len(value))
        self._ciphers.clear()

    def _values(self) -> list[bytearray]:
        return [self.root, *(key.value for key in self.keys.values())]
