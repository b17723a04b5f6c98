"""The cubbyhole: a private drawer for each token, removed with it."""

from haven.core.codec import decode_value, encode_value
from haven.core.logical import Request, Response, Verb, View
from haven.core.refusals import listing, unsupported_operation
from haven.core.view import NarrowView
from haven.errors import RequestError, not_found, permission_denied
from haven.storage.base import Delete, Put


class Cubbyhole:
    """Values that only the token that wrote them can see."""

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request from the caller's own drawer; raises `RequestError`."""
        drawer = _drawer(request, view)
        if request.verb is Verb.READ:
            raw = await drawer.get(request.path) if request.path else None
            if raw is None:
                raise not_found()
            return Response(data=decode_value(raw))
        if request.verb is Verb.LIST:
            return listing(await drawer.list(request.path), request)
        if request.verb is Verb.UPDATE:
            await _write(request, drawer)
            return None
        if request.verb is Verb.DELETE:
            await drawer.commit([Delete(request.path)])
            return None
        raise unsupported_operation()

    async def exists(self, request: Request, view: View) -> bool:
        """Tell whether the caller's drawer holds a value at the path."""
        return await _drawer(request, view).get(request.path) is not None


def _drawer(request: Request, view: View) -> NarrowView:
    if request.caller is None:
        raise permission_denied()
    return NarrowView(view, f"{request.caller.identifier}/")


async def _write(request: Request, drawer: NarrowView) -> None:
    if not request.path:
        raise RequestError(400, "missing path")
    if not request.data:
        raise RequestError(400, "missing data fields")
    await drawer.commit([Put(request.path, encode_value(dict(request.data)))])
