"""What KV version 2 keeps: a mount's configuration, a key's metadata, its versions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from haven.core.logical import COMMIT_OPERATIONS
from haven.core.times import go_duration, rfc3339

DEFAULT_MAX_VERSIONS = 10
DISABLED = -1
"""The configured `delete_version_after` that switches it off for every key."""
MAX_TRIM = COMMIT_OPERATIONS - 2
"""How many old versions one write removes at most; the next one goes on."""


@dataclass(frozen=True, slots=True)
class Config:
    """A mount's settings, which hold for every key."""

    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: int = 0

    @classmethod
    def decode(cls, raw: bytes | None) -> "Config":
        """Read it from storage; what was never written has the defaults."""
        return cls() if raw is None else cls(**orjson.loads(raw))

    def encode(self) -> bytes:
        """Write it for storage."""
        return orjson.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key, without its value.

    `deleted` says that a client deleted it at `deletion`: it stays so on a node whose clock is
    behind that of the node that did it.
    """

    created: float
    deletion: float | None = None
    destroyed: bool = False
    deleted: bool = False

    def is_gone(self, now: float) -> bool:
        """Tell whether a read answers 404: destroyed, deleted, or its time of deletion has come."""
        return self.destroyed or self.deleted or (self.deletion is not None and self.deletion <= now)

    def describe(self) -> dict[str, Any]:
        """Return what every answer says of a version."""
        return {
            "created_time": rfc3339(self.created),
            "deletion_time": "" if self.deletion is None else rfc3339(self.deletion),
            "destroyed": self.destroyed,
        }


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is kept of a key beside the values of its versions."""

    created: float
    updated: float
    current: int = 0
    oldest: int = 0
    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: int = 0
    custom: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[int, Version] = field(default_factory=dict)

    @classmethod
    def decode(cls, raw: bytes) -> "Metadata":
        """Read it from storage."""
        fields = orjson.loads(raw)
        versions = {int(number): Version(*parts) for number, parts in fields.pop("versions").items()}
        return cls(**fields, versions=versions)

    def encode(self) -> bytes:
        """Write it for storage; a version takes few bytes."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["versions"] = {
            str(number): [version.created, version.deletion, version.destroyed, version.deleted]
            for number, version in self.versions.items()
        }
        return orjson.dumps(fields)

    def describe(self) -> dict[str, Any]:
        """Return the data of a read of the metadata."""
        return {
            "versions": {str(number): version.describe() for number, version in self.versions.items()},
            "current_version": self.current,
            "oldest_version": self.oldest,
            "created_time": rfc3339(self.created),
            "updated_time": rfc3339(self.updated),
            "max_versions": self.max_versions,
            "cas_required": self.cas_required,
            "delete_version_after": go_duration(self.delete_version_after),
            "custom_metadata": self.custom or None,
        }

    def describe_version(self, number: int) -> dict[str, Any]:
        """Return what a read or a write says of one version."""
        return {"version": number, **self.versions[number].describe(), "custom_metadata": self.custom or None}

    def deleted(self, numbers: Iterable[int], now: float) -> "Metadata":
        """Return it with versions deleted as of now; those gone already stay as they are."""
        changed = {
            number: replace(self.versions[number], deletion=now, deleted=True)
            for number in numbers
            if number in self.versions and not self.versions[number].is_gone(now)
        }
        return replace(self, versions={**self.versions, **changed})

    def undeleted(self, numbers: Iterable[int], config: Config, now: float) -> "Metadata":
        """Return it with versions alive again, unless destroyed."""
        deletion = self.deletion_of_new(config, now)
        changed = {
            number: replace(self.versions[number], deletion=deletion, deleted=False)
            for number in numbers
            if number in self.versions and not self.versions[number].destroyed
        }
        return replace(self, versions={**self.versions, **changed})

    def with_destroyed(self, numbers: Iterable[int]) -> "Metadata":
        """Return it with versions marked as destroyed; each of them must exist."""
        changed = {number: replace(self.versions[number], destroyed=True) for number in numbers}
        return replace(self, versions={**self.versions, **changed})

    def without_version(self, number: int) -> "Metadata":
        """Return it without one version."""
        return replace(self, versions={n: version for n, version in self.versions.items() if n != number})

    def added(self, config: Config, now: float) -> tuple["Metadata", list[int]]:
        """Return it with a new current version, and the numbers of those that fall off the end."""
        current = self.current + 1
        keep = max(self.max_versions, config.max_versions) or DEFAULT_MAX_VERSIONS
        last = min(current - keep, self.oldest + MAX_TRIM - 1)
        versions = {**self.versions, current: Version(now, self.deletion_of_new(config, now))}
        dropped = [number for number in versions if number <= last]
        for number in dropped:
            del versions[number]
        oldest = max(self.oldest, last + 1) if last >= 0 else self.oldest
        return replace(self, updated=now, current=current, oldest=oldest, versions=versions), dropped

    def deletion_of_new(self, config: Config, now: float) -> float | None:
        """Tell when a version made now deletes itself: the shorter of the key's and the mount's time."""
        if config.delete_version_after == DISABLED:
            return None
        spans = [span for span in (config.delete_version_after, self.delete_version_after) if span > 0]
        return now + min(spans) if spans else None


def merge_patch(target: object, patch: object) -> Any:
    """Apply a JSON merge patch (RFC 7396): null removes, an object merges, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def without_values(data: Mapping[str, Any], depth: int, level: int = 1) -> dict[str, Any]:
    """Return the keys with null in place of each value; `depth` 0 goes all the way down."""
    keys: dict[str, Any] = {}
    for name, value in data.items():
        deeper = isinstance(value, dict) and bool(value) and (depth == 0 or level < depth)
        keys[name] = without_values(value, depth, level + 1) if deeper else None
    return keys
