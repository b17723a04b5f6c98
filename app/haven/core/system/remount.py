"""`sys/remount`: move a mount to another path, with its data, which does not move."""

import uuid
from collections import OrderedDict
from dataclasses import replace

from haven.core import fields
from haven.core.logical import Request, Response, Verb
from haven.core.mount_store import MountStore
from haven.core.mounts import AUTH, PROTECTED, SECRETS, MountTable
from haven.core.refusals import unsupported_operation
from haven.core.router import Router
from haven.errors import RequestError

REMEMBERED = 64
"""How many finished moves can be asked about; Vault forgets them with the active node too."""
WARNING = "The mount has been moved; ask for the returned migration_id at sys/remount/status."


class Remount:
    """Move mounts; a move is one change of the mount table, done before the answer."""

    def __init__(self, mounts: MountStore, router: Router) -> None:
        self._mounts = mounts
        self._router = router
        self._done: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def start(self, request: Request) -> Response:
        """Move a mount and answer with the id under which `status` knows it."""
        if request.verb is not Verb.UPDATE:
            raise unsupported_operation()
        source, target = _path(request, "from"), _path(request, "to")
        if source in PROTECTED or target in PROTECTED:
            raise RequestError(400, f'cannot remount "{source if source in PROTECTED else target}"')
        if source.startswith("auth/") != target.startswith("auth/"):
            raise RequestError(400, "cannot remount between the auth and the secret mounts")

        def moved(table: MountTable) -> MountTable:
            entry = table.get(source)
            if entry is None:
                raise RequestError(400, f'no matching mount at "{source}"')
            if (taken := table.without(entry.uuid).conflict(target)) is not None:
                raise RequestError(400, f'path already in use at "{taken}"')
            kind = AUTH if target.startswith("auth/") else SECRETS
            return table.with_entry(replace(entry, table=kind, path=target.removeprefix("auth/")))

        await self._mounts.change(moved)
        identifier = str(uuid.uuid4())
        self._done[identifier] = (source, target)
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        return Response(data={"migration_id": identifier}, warnings=[WARNING])

    async def status(self, identifier: str, request: Request) -> Response:
        """Tell what became of a move."""
        if request.verb is not Verb.READ:
            raise unsupported_operation()
        if identifier not in self._done:
            raise RequestError(404, f"Tracking ID {identifier} not found")
        source, target = self._done[identifier]
        info = {"source_mount": source, "target_mount": target, "status": "success"}
        return Response(data={"migration_id": identifier, "migration_info": info})


def _path(request: Request, name: str) -> str:
    path = (fields.string(request.data, name) or "").strip("/")
    if not path:
        raise RequestError(400, "both 'from' and 'to' path must be specified as a string")
    if ".." in path or not path.isprintable() or path.startswith("sys/"):
        raise RequestError(400, f"invalid path in '{name}'")
    return f"{path}/"
