"""How two nodes prove to each other that they are unsealed, and agree on keys of one connection.

Three messages: hello (dialler), challenge (listener), proof (dialler). Each side proves that it
has the cluster's link key by an HMAC-SHA256 over everything said so far, both nonces, both
identities and its own role, so a message repeated, or sent back to its author, proves nothing.
The keys of the connection also take in an X25519 exchange made for it alone: who records
traffic and learns the link key later still cannot read it.

The listener proves itself first: a dialler that finds another run than it looked for knows so
for certain, and hangs up without becoming that run's follower.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

import orjson
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from haven.errors import HavenError

MAGIC = b"haven-link/1"
NONCE = 32
PUBLIC = 32
MAC = 32
LIMIT = 2048
"""The most bytes that a message may have before its sender has proved anything."""
MINIMUM_KEY = 32
DIALLER = b"dialler"
LISTENER = b"listener"


class HandshakeFailed(HavenError):
    """The other side proved nothing, or is this very node; the text holds no key material."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node says it is: `run` is new for each time that a process is unsealed."""

    node: str
    run: str
    api_address: str
    cluster_address: str

    def to_bytes(self) -> bytes:
        """Return the identity as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Identity":
        """Return the identity; raises `HandshakeFailed`."""
        try:
            identity = cls(**orjson.loads(raw))
        except (ValueError, TypeError) as error:
            raise HandshakeFailed("identity cannot be read") from error
        if not all(isinstance(getattr(identity, name.name), str) for name in fields(cls)):
            raise HandshakeFailed("identity cannot be read")
        return identity


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The AES-256 keys of one connection, as this side uses them."""

    sending: bytes = field(repr=False)
    receiving: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Half:
    """What one side contributes: its nonce, its public key of this connection, its identity."""

    nonce: bytes
    public: bytes
    identity: bytes

    def to_bytes(self) -> bytes:
        return self.nonce + self.public + self.identity

    @classmethod
    def from_bytes(cls, raw: bytes) -> "_Half":
        if not NONCE + PUBLIC < len(raw) <= LIMIT:
            raise HandshakeFailed("message of a wrong size")
        return cls(raw[:NONCE], raw[NONCE : NONCE + PUBLIC], raw[NONCE + PUBLIC :])


class _Side:
    """What both roles share."""

    def __init__(self, key: bytes, identity: Identity, random: Callable[[int], bytes]) -> None:
        if len(key) < MINIMUM_KEY:
            raise ValueError(f"the link key needs at least {MINIMUM_KEY} bytes")
        self._key = key
        self._identity = identity
        self._private = X25519PrivateKey.generate()
        self._own = _Half(random(NONCE), self._private.public_key().public_bytes_raw(), identity.to_bytes())

    def _meet(self, other: _Half) -> Identity:
        """Return who the other side says it is; raises `HandshakeFailed` where that is this node."""
        identity = Identity.from_bytes(other.identity)
        if identity.run == self._identity.run or other.nonce == self._own.nonce:
            raise HandshakeFailed("this node reached itself")
        return identity

    def _mac(self, role: bytes, transcript: bytes) -> bytes:
        key = HKDF(SHA256(), 32, salt=None, info=MAGIC + b" proof").derive(self._key)
        return hmac.digest(key, role + transcript, "sha256")

    def _session_key(self, other: _Half, transcript: bytes, sender: bytes) -> bytes:
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(other.public))
        except ValueError as error:
            raise HandshakeFailed("public key of no use") from error
        salt = hashlib.sha256(transcript).digest()
        return HKDF(SHA256(), 32, salt=salt, info=MAGIC + b" from " + sender).derive(self._key + shared)


class Dialler(_Side):
    """The side that connects. Use each object for one connection."""

    def __init__(
        self, key: bytes, identity: Identity, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        super().__init__(key, identity, random)

    def hello(self) -> bytes:
        """Return the first message."""
        return MAGIC + self._own.to_bytes()

    def answer(self, challenge: bytes) -> tuple[Identity, bytes, SessionKeys]:
        """Return who listens, the third message and the keys; raises `HandshakeFailed`."""
        mac, other = challenge[:MAC], _Half.from_bytes(challenge[MAC:])
        identity = self._meet(other)
        transcript = _transcript(self._own, other)
        if not hmac.compare_digest(mac, self._mac(LISTENER, transcript)):
            raise HandshakeFailed("the listener does not have this cluster's key")
        keys = SessionKeys(
            self._session_key(other, transcript, DIALLER), self._session_key(other, transcript, LISTENER)
        )
        return identity, self._mac(DIALLER, transcript), keys


class Listener(_Side):
    """The side that is connected to. Use each object for one connection."""

    def __init__(
        self, key: bytes, identity: Identity, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        super().__init__(key, identity, random)
        self._other: _Half | None = None

    def challenge(self, hello: bytes) -> bytes:
        """Return the second message; raises `HandshakeFailed`."""
        if not hello.startswith(MAGIC):
            raise HandshakeFailed("not this protocol")
        other = _Half.from_bytes(hello[len(MAGIC) :])
        self._meet(other)
        self._other = other
        return self._mac(LISTENER, _transcript(other, self._own)) + self._own.to_bytes()

    def accept(self, proof: bytes) -> tuple[Identity, SessionKeys]:
        """Return who dialled, and the keys; raises `HandshakeFailed`."""
        other, self._other = self._other, None
        if other is None:
            raise HandshakeFailed("proof without a challenge")
        transcript = _transcript(other, self._own)
        if not hmac.compare_digest(proof, self._mac(DIALLER, transcript)):
            raise HandshakeFailed("the dialler does not have this cluster's key")
        keys = SessionKeys(
            self._session_key(other, transcript, LISTENER), self._session_key(other, transcript, DIALLER)
        )
        return self._meet(other), keys


def _transcript(dialler: _Half, listener: _Half) -> bytes:
    """Join all that was said, each part with its length, so that no two conversations look alike."""
    parts = [MAGIC]
    for role, half in ((DIALLER, dialler), (LISTENER, listener)):
        parts += [role, half.nonce, half.public, half.identity]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
