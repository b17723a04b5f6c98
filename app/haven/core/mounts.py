"""The mount table: what is mounted where. Pure; `MountStore` in `mount_store` keeps it."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import orjson

SECRETS = "secret"
AUTH = "auth"
PROTECTED = {"sys/", "cubbyhole/", "auth/token/"}
"""Full paths that can be neither disabled nor taken."""


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One mount. `path` is relative to its table and ends in a slash."""

    table: str
    path: str
    type: str
    uuid: str
    accessor: str
    description: str = ""
    options: Mapping[str, str] | None = None
    local: bool = False
    seal_wrap: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    deleting: bool = False
    """Disabled: it serves nothing, and its data is still being removed."""

    @classmethod
    def new(cls, table: str, path: str, kind: str, **rest: Any) -> Self:
        """Make an entry with a fresh uuid and accessor."""
        prefix = "auth_" if table == AUTH else ""
        accessor = f"{prefix}{kind}_{uuid.uuid4().hex[:8]}"
        return cls(table, path, kind, str(uuid.uuid4()), accessor, **rest)

    @property
    def full_path(self) -> str:
        """Return the path as requests have it."""
        return f"auth/{self.path}" if self.table == AUTH else self.path

    @property
    def storage_prefix(self) -> str:
        """Return where the mount keeps its data."""
        return f"{'auth' if self.table == AUTH else 'logical'}/{self.uuid}/"


class MountTable:
    """All mounts, by full path. Immutable: a change makes a new table."""

    def __init__(self, entries: tuple[MountEntry, ...]) -> None:
        self.entries = entries
        self._serving = {entry.full_path: entry for entry in entries if not entry.deleting}

    @classmethod
    def decode(cls, raw: bytes) -> "MountTable":
        """Read it from storage."""
        return cls(tuple(MountEntry(**item) for item in orjson.loads(raw)["entries"]))

    def encode(self) -> bytes:
        """Write it for storage."""
        return orjson.dumps({"entries": [asdict(entry) for entry in self.entries]})

    def serving(self, table: str) -> Iterator[MountEntry]:
        """Yield the mounts of one table that serve, by path."""
        for entry in sorted(self._serving.values(), key=lambda entry: entry.path):
            if entry.table == table:
                yield entry

    def get(self, full_path: str) -> MountEntry | None:
        """Return the mount at exactly this full path, if it serves."""
        return self._serving.get(full_path)

    def match(self, path: str) -> MountEntry | None:
        """Return the mount with the longest path that the request path begins with."""
        end = len(path)
        while end > 0:
            end = path.rfind("/", 0, end)
            if end < 0:
                return None
            if (entry := self._serving.get(path[: end + 1])) is not None:
                return entry
        return None

    def conflict(self, full_path: str) -> str | None:
        """Return the path of a mount that lies above, at or below this one, if any."""
        for path in self._serving:
            if path.startswith(full_path) or full_path.startswith(path):
                return path
        return None

    def removing(self) -> list[MountEntry]:
        """Return the mounts whose data is still being removed."""
        return [entry for entry in self.entries if entry.deleting]

    def with_entry(self, entry: MountEntry) -> "MountTable":
        """Return the table with the entry added, or put in place of the one with its uuid."""
        rest = tuple(other for other in self.entries if other.uuid != entry.uuid)
        return MountTable((*rest, entry))

    def without(self, entry_uuid: str) -> "MountTable":
        """Return the table without an entry."""
        return MountTable(tuple(entry for entry in self.entries if entry.uuid != entry_uuid))
