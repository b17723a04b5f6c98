"""A request and a response as mounts see them, free of HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from haven.storage.base import Operation as StorageOperation


class Verb(StrEnum):
    """What a request wants; POST and PUT are the same."""

    READ = "read"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Request:
    """One logical request; `path` is relative to the mount once routed."""

    verb: Verb
    path: str
    data: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What a mount answers; None in place of a response means 204."""

    data: Mapping[str, Any] | None = None
    warnings: Sequence[str] = ()
    auth: Mapping[str, Any] | None = None
    status: int = 200


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
    """A secrets engine mounted at a path."""

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request; raises `RequestError`."""
        ...
