"""`metadata/` and `config`: the settings of a key and of the mount."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from haven.clock import Clock
from haven.core import fields
from haven.core.logical import Request, Response, Verb, View
from haven.core.refusals import listing, unsupported_operation
from haven.core.times import go_duration
from haven.engines.kv2.custom import checked_custom_metadata
from haven.engines.kv2.model import DISABLED, Config, Metadata, merge_patch
from haven.engines.kv2.store import Store
from haven.errors import RequestError, not_found

CAS_MANDATED = '"cas_required" set to false, but is mandated by backend config. This value will be ignored.'


class MetadataPaths:
    """Answer requests for metadata."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def handle(self, key: str, request: Request, view: View) -> Response | None:
        """Answer a request below `metadata/`."""
        if request.verb is Verb.LIST:
            return listing(await view.list(f"metadata/{key}"), request)
        if request.verb is Verb.READ:
            metadata = await self._store.metadata(view, key)
            if metadata is None:
                raise not_found()
            return Response(data=metadata.describe())
        if request.verb is Verb.DELETE:
            async with self._store.locks.hold(key):
                await self._store.erase(view, key)
            return None
        if not key:
            raise RequestError(400, "missing path")
        return await self._change(key, request, view)

    async def _change(self, key: str, request: Request, view: View) -> Response | None:
        """Set (POST) or merge (PATCH) the settings of a key; PATCH needs the key to exist."""
        is_patch = request.verb is Verb.PATCH
        changes = _changes(request.data)
        custom = fields.mapping(request.data, "custom_metadata")
        if custom is not None:
            checked = checked_custom_metadata(custom, drop_null=is_patch)
        elif not changes and not is_patch:
            return None
        async with self._store.locks.hold(key):
            config = await self._store.config(view)
            metadata = await self._store.metadata(view, key)
            if metadata is None and is_patch:
                raise not_found()
            now = self._clock.wall()
            metadata = metadata or Metadata(created=now, updated=now)
            if custom is not None:
                nulls = {name: None for name, value in custom.items() if value is None} if is_patch else {}
                changes["custom"] = (
                    merge_patch(metadata.custom, {**checked, **nulls}) if is_patch else checked
                )
            await self._store.save(view, key, replace(metadata, **changes))
        ignored = config.cas_required and changes.get("cas_required") is False
        return Response(warnings=[CAS_MANDATED]) if ignored else None


class ConfigPath:
    """Answer requests for the mount's settings."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request for `config`."""
        if request.verb is Verb.READ:
            return Response(data=_describe(await self._store.config(view)))
        if request.verb is not Verb.UPDATE:
            raise unsupported_operation()
        changes = _changes(request.data, signed=True)
        if changes:
            async with self._store.locks.hold(""):  # no key is empty
                config = await self._store.config(view)
                await self._store.save_config(view, replace(config, **changes))
        return None


def _describe(config: Config) -> dict[str, Any]:
    return {
        "max_versions": config.max_versions,
        "cas_required": config.cas_required,
        "delete_version_after": go_duration(config.delete_version_after),
    }


def _changes(data: Mapping[str, Any], *, signed: bool = False) -> dict[str, Any]:
    """Return the settings that a body gives; with `signed` a negative time means `DISABLED`."""
    after = fields.duration(data, "delete_version_after", signed=signed)
    versions = fields.integer(data, "max_versions")
    if versions is not None and versions < 0:
        raise RequestError(400, "max_versions cannot be negative")
    given = {
        "max_versions": versions,
        "cas_required": fields.boolean(data, "cas_required"),
        "delete_version_after": None if after is None else max(after, DISABLED),
    }
    return {name: value for name, value in given.items() if value is not None}
