"""`sys/mounts` and `sys/auth`: list, enable, disable and tune."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from haven.core import fields
from haven.core.logical import Request, Response, Verb
from haven.core.mount_store import MountStore
from haven.core.mounts import AUTH, PROTECTED, MountEntry, MountTable
from haven.core.refusals import unsupported_operation
from haven.core.router import Router
from haven.core.system.describe import describe_mount, describe_tuning
from haven.core.system.tuning import TUNED, check_ttls, description_of, settings_of
from haven.errors import RequestError

ALIASES = {"kv-v1": ("kv", {"version": "1"}), "kv-v2": ("kv", {"version": "2"}), "generic": ("kv", {})}
SINGLE = {"system", "cubbyhole", "token"}
UNTUNABLE = 'tune of path "{}" failed: no mount entry found'
NO_MOUNT = {"secret": "No secret engine mount at", "auth": "No auth engine at"}


class Mounts:
    """Requests for one table of mounts."""

    def __init__(self, table: str, mounts: MountStore, router: Router) -> None:
        self._table = table
        self._mounts = mounts
        self._router = router

    async def handle(self, path: str, request: Request) -> Response | None:
        """Answer below `sys/mounts` or `sys/auth`."""
        if not path:
            return await self._list(request)
        if path.endswith("/tune"):
            return await self._tune(path.removesuffix("tune"), request)
        if request.verb is Verb.READ:
            return Response(data=describe_mount(await self._existing(f"{path}/")))
        if request.verb is Verb.UPDATE:
            await self._enable(f"{path}/", request.data)
            return None
        if request.verb is Verb.DELETE:
            await self._disable(f"{path}/")
            return None
        raise unsupported_operation()

    async def _list(self, request: Request) -> Response:
        if request.verb not in {Verb.READ, Verb.LIST}:
            raise unsupported_operation()
        table = await self._mounts.table()
        return Response(data={entry.path: describe_mount(entry) for entry in table.serving(self._table)})

    async def _enable(self, path: str, data: Mapping[str, Any]) -> None:
        kind, options = self._type_of(data)
        config = settings_of(fields.mapping(data, "config") or {})
        check_ttls(config)
        rest = {
            "description": description_of(data) or "",
            "options": options,
            "local": fields.boolean(data, "local") or False,
            "seal_wrap": fields.boolean(data, "seal_wrap") or False,
            "config": config,
        }
        entry = MountEntry.new(self._table, path, kind, **rest)
        if self._table != AUTH and (entry.full_path in PROTECTED or path.startswith(("auth/", "sys/"))):
            raise RequestError(403, f'cannot mount "{path}"')
        if ".." in path:
            raise RequestError(400, "path cannot contain parent references")

        def added(table: MountTable) -> MountTable:
            if (taken := table.conflict(entry.full_path)) is not None:
                shown = taken.removeprefix("auth/") if self._table == AUTH else taken
                raise RequestError(400, f"path is already in use at {shown}")
            return table.with_entry(entry)

        await self._mounts.change(added)

    def _type_of(self, data: Mapping[str, Any]) -> tuple[str, Mapping[str, str] | None]:
        """Return the type and options that a body asks for."""
        kind = fields.string(data, "type")
        if not kind:
            raise RequestError(400, "backend type must be specified as a string")
        given = fields.mapping(data, "options")
        options = None if given is None else {k: str(v) for k, v in given.items() if v is not None}
        if kind in ALIASES and self._table != AUTH:
            kind, implied = ALIASES[kind]
            options = {**(options or {}), **implied} or None
        if kind == "token" and self._table == AUTH:
            raise RequestError(400, "token credential backend cannot be instantiated")
        if kind in SINGLE:
            raise RequestError(403, f'mount type of "{kind}" is not mountable')
        if self._router.factory(self._table, kind) is None:
            raise RequestError(400, f"plugin not found in the catalog: {kind}")
        if kind == "kv" and (options or {}).get("version", "1") not in {"1", "2"}:
            raise RequestError(400, "unsupported version of the kv secrets engine")
        return kind, options

    async def _disable(self, path: str) -> None:
        entry = (await self._mounts.table()).get(self._full(path))
        if self._full(path) in PROTECTED:
            told = (
                "token credential backend cannot be disabled"
                if self._table == AUTH
                else f'cannot unmount "{path}"'
            )
            raise RequestError(400, told)
        if entry is not None and entry.table == self._table:
            await self._mounts.stop(entry)
            await self._router.emptied(entry)
            await self._mounts.purge(entry)

    async def _tune(self, path: str, request: Request) -> Response | None:
        if request.verb is Verb.READ:
            entry = await self._existing(path, 'cannot fetch sysview for path "{}"')
            return Response(data=describe_tuning(entry))
        if request.verb is not Verb.UPDATE:
            raise unsupported_operation()
        entry = await self._existing(path, UNTUNABLE)
        _refuse_other_version(entry, fields.mapping(request.data, "options") or {})
        settings = settings_of(request.data)
        description = description_of(request.data)

        def tuned(table: MountTable) -> MountTable:
            current = table.get(entry.full_path)
            if current is None:
                raise RequestError(400, UNTUNABLE.format(entry.full_path))
            config = {**current.config, **settings}
            check_ttls(config, TUNED)
            text = current.description if description is None else description
            return table.with_entry(replace(current, config=config, description=text))

        await self._mounts.change(tuned)
        return None

    async def _existing(self, path: str, refusal: str = "") -> MountEntry:
        entry = (await self._mounts.table()).get(self._full(path))
        if entry is None or entry.table != self._table:
            told = refusal.format(self._full(path)) if refusal else f"{NO_MOUNT[self._table]} {path}"
            raise RequestError(400, told)
        return entry

    def _full(self, path: str) -> str:
        return f"auth/{path}" if self._table == AUTH else path


def _refuse_other_version(entry: MountEntry, options: Mapping[str, Any]) -> None:
    """Refuse to turn a KV mount into one of another version: its data would be unreadable."""
    current = (entry.options or {}).get("version", "1")
    if entry.type == "kv" and str(options.get("version", current)) != current:
        raise RequestError(400, "changing the version of a mounted kv secrets engine is not supported")
