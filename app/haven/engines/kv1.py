"""The secrets engine KV version 1: one value per path, overwritten as a whole."""

from collections.abc import Mapping
from typing import Any

from haven.core.codec import decode_value, encode_value
from haven.core.logical import Request, Response, Verb, View
from haven.core.refusals import listing, unsupported_operation
from haven.core.times import parse_duration
from haven.errors import RequestError, not_found
from haven.storage.base import Delete, Put


class Kv1:
    """Values as they came; a read says how long it may be kept, but there is no lease."""

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request; raises `RequestError`."""
        if request.verb is Verb.READ:
            return await self._read(request, view)
        if request.verb is Verb.LIST:
            return listing(await view.list(request.path), request)
        if request.verb is Verb.UPDATE:
            await self._write(request, view)
            return None
        if request.verb is Verb.DELETE:
            await view.commit([Delete(request.path)])
            return None
        raise unsupported_operation()

    async def exists(self, request: Request, view: View) -> bool:
        """Tell whether there is a value at the path."""
        return await view.get(request.path) is not None

    async def _read(self, request: Request, view: View) -> Response:
        raw = await view.get(request.path) if request.path else None
        if raw is None:
            raise not_found()
        data = decode_value(raw)
        return Response(data=data, lease_duration=_lease_hint(data, request.lease_ttl))

    async def _write(self, request: Request, view: View) -> None:
        if not request.path:
            raise RequestError(400, "missing path")
        if not request.data:
            raise RequestError(400, "missing data fields")
        await view.commit([Put(request.path, encode_value(dict(request.data)))])


def _lease_hint(data: Mapping[str, Any], default: int) -> int:
    """Return the secret's own `ttl` in seconds if it reads as one, else the mount's default."""
    try:
        return parse_duration(data.get("ttl", data.get("lease")))
    except ValueError:
        return default
