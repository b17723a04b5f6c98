"""A token as it is stored: found by a keyed hash, its own text never kept. Pure."""

import hmac
import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import orjson

from haven.core.logical import Caller
from haven.storage.base import Put

ALPHABET = string.ascii_letters + string.digits
SALT_KEY = "sys/token/salt"
SPENT = -1
"""The number of uses of a token whose last use has begun."""


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """What is known of a token. Times are seconds since the epoch, spans are seconds, 0 means none."""

    accessor: str
    policies: tuple[str, ...]
    path: str
    display_name: str
    created: float
    ttl: int = 0
    expires: float | None = None
    """None: never."""
    period: int = 0
    explicit_max_ttl: int = 0
    num_uses: int = 0
    """How many uses are left; 0 is no limit."""
    renewable: bool = False
    renewed: float | None = None
    parent: str = ""
    """The parent's identifier; "" for an orphan."""
    meta: Mapping[str, str] | None = None
    type: str = "service"
    identifier: str = field(default="", compare=False)
    """The salted hash; not part of the stored value, because it is its key."""

    @classmethod
    def decode(cls, identifier: str, raw: bytes) -> "TokenEntry":
        """Read it from storage."""
        fields = orjson.loads(raw)
        fields["policies"] = tuple(fields["policies"])
        return cls(**fields, identifier=identifier)

    def encode(self) -> bytes:
        """Write it for storage."""
        fields = asdict(self)
        del fields["identifier"]
        return orjson.dumps(fields)

    @property
    def is_root(self) -> bool:
        """Tell whether it may do everything."""
        return "root" in self.policies

    def is_valid(self, now: float) -> bool:
        """Tell whether it still opens anything."""
        return self.num_uses != SPENT and (self.expires is None or now < self.expires)

    def caller(self, *, sudo: bool) -> Caller:
        """Return what mounts are told of it."""
        return Caller(self.identifier, self.accessor, self.display_name, self.policies, sudo)

    def puts(self, salt: bytes) -> list[Put]:
        """Return what stores it with its indices, to be committed together."""
        index = orjson.dumps({"identifier": self.identifier, "accessor": self.accessor})
        puts = [
            Put(token_key(self.identifier), self.encode()),
            Put(accessor_key(salted(salt, self.accessor)), index),
        ]
        if self.parent:
            puts.append(Put(child_key(self.parent, self.identifier), b"{}"))
        return puts


def new_token() -> str:
    """Make a service token: 24 random letters and digits, 142 bits."""
    return "hvs." + random_text()


def random_text() -> str:
    """Make 24 random letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(24))


def root_token(salt: bytes, now: float) -> tuple[str, TokenEntry]:
    """Make a root token, which never expires, and its entry."""
    token = new_token()
    entry = TokenEntry(
        accessor=random_text(),
        policies=("root",),
        path="auth/token/root",
        display_name="root",
        created=now,
        identifier=salted(salt, token),
    )
    return token, entry


def salted(salt: bytes, text: str) -> str:
    """Return the keyed hash under which a token or an accessor is found."""
    return hmac.digest(salt, text.encode(), "sha256").hex()


def token_key(identifier: str) -> str:
    """Return where a token is stored."""
    return f"sys/token/id/{identifier}"


def accessor_key(hashed: str) -> str:
    """Return where an accessor's index is stored."""
    return f"sys/token/accessor/{hashed}"


def child_key(parent: str, child: str = "") -> str:
    """Return where it is noted that a token is another one's child."""
    return f"sys/token/parent/{parent}/{child}"
