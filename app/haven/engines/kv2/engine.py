"""Which path of KV version 2 goes to which handler."""

from haven.clock import Clock
from haven.core.logical import Request, Response, Verb, View
from haven.engines.kv2.data import Data
from haven.engines.kv2.metadata import ConfigPath, MetadataPaths
from haven.engines.kv2.store import Store
from haven.engines.kv2.versions import Versions

ROOTS = {"metadata", "data", "delete", "undelete", "destroy"}
COMMANDS = {
    Verb.READ: "get",
    Verb.UPDATE: "put",
    Verb.PATCH: "patch",
    Verb.LIST: "list",
    Verb.DELETE: "delete",
}


class Kv2:
    """Versioned values; one object per mount, because it holds the locks of its keys."""

    def __init__(self, clock: Clock) -> None:
        self._store = Store()
        self._config = ConfigPath(self._store)
        data = Data(self._store, clock)
        versions = Versions(self._store, clock)
        self._handlers = {
            "data": data.handle,
            "subkeys": data.subkeys,
            "metadata": MetadataPaths(self._store, clock).handle,
            "delete": versions.delete,
            "undelete": versions.undelete,
            "destroy": versions.destroy,
        }

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request; raises `RequestError`."""
        if request.path == "config":
            return await self._config.handle(request, view)
        kind, slash, key = request.path.partition("/")
        handler = self._handlers.get(kind)
        if handler is None or not slash:
            return _not_versioned(request)
        return await handler(key, request, view)

    async def exists(self, request: Request, view: View) -> bool:
        """Tell whether a write to `data/` or `metadata/` meets an existing key; elsewhere it always does."""
        kind, _, key = request.path.partition("/")
        if kind not in {"data", "metadata"}:
            return True
        return await self._store.metadata(view, key) is not None


def _not_versioned(request: Request) -> Response:
    """Explain a path that only version 1 has."""
    if request.path in ROOTS:
        warning = "Non-listing operations on the root of a K/V v2 mount are not supported."
    else:
        warning = (
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API "
            "endpoints to use. If using the Vault CLI, use "
            f"'vault kv {COMMANDS[request.verb]}' for this operation."
        )
    return Response(warnings=[warning], status=404)
