"""`sys/capabilities`: what a token may do at given paths."""

from haven.core import fields
from haven.core.authorize import acl_of
from haven.core.logical import Request, Response, Verb
from haven.core.policies import PolicyStore
from haven.core.refusals import multiple, unsupported_operation
from haven.core.token_entry import TokenEntry
from haven.core.tokens import TokenStore
from haven.errors import RequestError, permission_denied


class Capabilities:
    """Answer for the caller, for another token, or for the token of an accessor."""

    def __init__(self, tokens: TokenStore, policies: PolicyStore) -> None:
        self._tokens = tokens
        self._policies = policies

    async def of_self(self, request: Request) -> Response:
        """Answer `capabilities-self`."""
        if request.caller is None:
            raise permission_denied()
        return await self._answer(request, await self._tokens.find(request.token))

    async def of_token(self, request: Request) -> Response:
        """Answer `capabilities`."""
        token = fields.string(request.data, "token")
        if not token:
            raise RequestError(400, "token is required")
        return await self._answer(request, await self._tokens.find(token))

    async def of_accessor(self, request: Request) -> Response:
        """Answer `capabilities-accessor`."""
        accessor = fields.string(request.data, "accessor")
        if not accessor:
            raise RequestError(400, "accessor is required")
        return await self._answer(request, await self._tokens.find_accessor(accessor))

    async def _answer(self, request: Request, entry: TokenEntry | None) -> Response:
        if request.verb is not Verb.UPDATE:
            raise unsupported_operation()
        paths = fields.strings(request.data, "paths") or fields.strings(request.data, "path")
        if not paths:
            raise RequestError(400, "paths must be supplied")
        if entry is None:
            raise RequestError(400, multiple(["invalid token"]))
        acl = await acl_of(self._policies, entry)
        found = {path: ["root"] if acl is None else acl.capabilities(path) for path in paths}
        data: dict[str, list[str]] = dict(found)
        if len(paths) == 1:
            data["capabilities"] = found[paths[0]]
        return Response(data=data)
