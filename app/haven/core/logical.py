"""A request and a response as mounts see them, free of HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from haven.storage.base import Operation as StorageOperation

COMMIT_OPERATIONS = 48
"""How many operations one logical write may hold: what the smallest storage takes, with room for a fence."""
SYSTEM_TTL = 2764800
"""Seconds: the default and the largest time to live of tokens and leases (768 hours, like Vault)."""


class Verb(StrEnum):
    """What a request wants; POST and PUT are the same."""

    READ = "read"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: what is known of its token, without the token."""

    identifier: str
    """The salted hash under which the token is stored."""
    accessor: str
    display_name: str
    policies: tuple[str, ...]
    sudo: bool = False
    """Whether the policies grant sudo on the path of this very request; always so for root."""

    @property
    def is_root(self) -> bool:
        """Tell whether the token holds the root policy."""
        return "root" in self.policies


@dataclass(frozen=True, slots=True)
class Request:
    """One logical request; `path` is relative to the mount once routed."""

    verb: Verb
    path: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    mount: str = ""
    """The mount's full path, ending in a slash; "" before routing."""
    lease_ttl: int = SYSTEM_TTL
    """Seconds that the mount lets a lease live by default."""
    caller: Caller | None = None
    """Set once the token is known to be good; None on paths that need none."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a mount answers; None in place of a response means 204.

    A status of 400 and more with `data` or `warnings` is no error body: it is an envelope with that status.
    """

    data: Mapping[str, Any] | None = field(default=None, repr=False)
    warnings: Sequence[str] = ()
    auth: Mapping[str, Any] | None = field(default=None, repr=False)
    status: int = 200
    lease_duration: int = 0
    """Seconds, in the envelope; a hint of KV version 1, no lease."""


class View(Protocol):
    """Plaintext storage below one prefix: the barrier, narrowed to a mount."""

    async def get(self, key: str) -> bytes | None:
        """Return the plaintext at `key`, or None."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix`."""
        ...

    async def commit(self, operations: Sequence[StorageOperation]) -> None:
        """Encrypt and apply all operations or none, under the node's fence."""
        ...


class Engine(Protocol):
    """A secrets engine or an auth method mounted at a path."""

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request; raises `RequestError`."""
        ...

    async def exists(self, request: Request, view: View) -> bool:
        """Tell whether a write would update (True) or create: policies tell the two apart."""
        ...
