"""The auth method at `auth/token/`: look up, renew and revoke tokens, and make new ones."""

from collections.abc import Awaitable, Callable
from typing import Any

from haven.clock import Clock
from haven.core import fields
from haven.core.logical import Request, Response, Verb, View
from haven.core.refusals import listing, multiple, unsupported_operation, unsupported_path
from haven.core.times import rfc3339
from haven.core.token_create import TokenCreation
from haven.core.token_entry import TokenEntry
from haven.core.token_renew import describe_auth, renewed_until
from haven.core.tokens import TokenStore
from haven.errors import RequestError, not_found, permission_denied

Handler = Callable[[Request], Awaitable[Response | None]]


class TokenAuth:
    """Requests about tokens; whoever reaches one of them has been allowed its path."""

    def __init__(self, tokens: TokenStore, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        creation = TokenCreation(tokens, clock)
        self._handlers: dict[tuple[str, Verb], Handler] = {
            ("create", Verb.UPDATE): creation.create,
            ("create-orphan", Verb.UPDATE): creation.create_orphan,
            ("lookup", Verb.UPDATE): self._lookup,
            ("lookup", Verb.READ): self._lookup,
            ("lookup-self", Verb.READ): self._lookup_self,
            ("lookup-self", Verb.UPDATE): self._lookup_self,
            ("lookup-accessor", Verb.UPDATE): self._lookup_accessor,
            ("accessors", Verb.LIST): self._accessors,
            ("renew", Verb.UPDATE): self._renew,
            ("renew-self", Verb.UPDATE): self._renew_self,
            ("renew-accessor", Verb.UPDATE): self._renew_accessor,
            ("revoke", Verb.UPDATE): self._revoke,
            ("revoke-self", Verb.UPDATE): self._revoke_self,
            ("revoke-accessor", Verb.UPDATE): self._revoke_accessor,
            ("revoke-orphan", Verb.UPDATE): self._revoke_orphan,
            ("roles", Verb.LIST): _no_roles,
        }

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request; raises `RequestError`."""
        name = request.path.removesuffix("/")
        handler = self._handlers.get((name, request.verb))
        if handler is not None:
            return await handler(request)
        if any(name == known for known, _ in self._handlers):
            raise unsupported_operation()
        raise unsupported_path()

    async def exists(self, request: Request, view: View) -> bool:
        """Tell True: writes here need the capability `update`."""
        return True

    async def _lookup(self, request: Request) -> Response:
        token = fields.string(request.data, "token") or fields.string(request.query, "token") or ""
        if not token:
            return await self._lookup_self(request)
        entry = await self._tokens.find(token)
        if entry is None:
            raise RequestError(403, "bad token")
        return Response(data=self._describe(entry, token))

    async def _lookup_self(self, request: Request) -> Response:
        # By its last use a token is no longer valid for anything else, but can still see itself.
        entry = await self._tokens.find_even_spent(request.token)
        if entry is None:
            raise permission_denied()
        return Response(data=self._describe(entry, request.token))

    async def _lookup_accessor(self, request: Request) -> Response:
        entry = await self._by_accessor(request)
        return Response(data=self._describe(entry, ""))

    async def _accessors(self, request: Request) -> Response:
        return listing(await self._tokens.accessors(), request)

    async def _renew(self, request: Request) -> Response:
        token = fields.string(request.data, "token") or ""
        if not token:
            raise RequestError(400, "missing token ID")
        entry = await self._tokens.find(token)
        if entry is None:
            raise RequestError(400, "token not found")
        return await self._renewed(entry, token, request)

    async def _renew_self(self, request: Request) -> Response:
        entry = await self._tokens.find(request.token)
        if entry is None:
            raise RequestError(400, "token not found")
        return await self._renewed(entry, request.token, request)

    async def _renew_accessor(self, request: Request) -> Response:
        return await self._renewed(await self._by_accessor(request), "", request)

    async def _renewed(self, entry: TokenEntry, token: str, request: Request) -> Response:
        increment = fields.duration(request.data, "increment") or 0
        now = self._clock.wall()
        expires, warnings = renewed_until(entry, increment, now)
        renewed = await self._tokens.renew(entry.identifier, expires)
        if renewed is None:
            raise RequestError(400, "token not found")
        return Response(auth=describe_auth(renewed, token, now), warnings=warnings)

    async def _revoke(self, request: Request) -> None:
        token = fields.string(request.data, "token") or ""
        if not token:
            raise RequestError(400, "missing token ID")
        await self._tokens.revoke(self._tokens.identify(token))

    async def _revoke_self(self, request: Request) -> None:
        await self._tokens.revoke(self._tokens.identify(request.token))

    async def _revoke_accessor(self, request: Request) -> Response | None:
        entry = await self._tokens.find_accessor(_accessor(request))
        if entry is None:
            return Response(warnings=["No token found with this accessor"])
        await self._tokens.revoke(entry.identifier)
        return None

    async def _revoke_orphan(self, request: Request) -> None:
        token = fields.string(request.data, "token") or ""
        if not token:
            raise RequestError(400, "missing token ID")
        entry = await self._tokens.find(token)
        if entry is None:
            raise RequestError(400, "token to revoke not found")
        await self._tokens.revoke(entry.identifier, orphan=True)

    async def _by_accessor(self, request: Request) -> TokenEntry:
        entry = await self._tokens.find_accessor(_accessor(request))
        if entry is None:
            raise RequestError(400, multiple(["invalid accessor"]))
        return entry

    def _describe(self, entry: TokenEntry, token: str) -> dict[str, Any]:
        now = self._clock.wall()
        data: dict[str, Any] = {
            "accessor": entry.accessor,
            "creation_time": int(entry.created),
            "creation_ttl": entry.ttl,
            "display_name": entry.display_name,
            "entity_id": "",
            "expire_time": None,
            "explicit_max_ttl": entry.explicit_max_ttl,
            "id": token,
            "meta": entry.meta,
            "num_uses": max(entry.num_uses, 0),
            "orphan": not entry.parent,
            "path": entry.path,
            "policies": list(entry.policies),
            "ttl": 0,
            "type": entry.type,
        }
        if entry.period:
            data["period"] = entry.period
        if entry.expires is not None:
            data["expire_time"] = rfc3339(entry.expires)
            data["issue_time"] = rfc3339(entry.created)
            data["renewable"] = entry.renewable
            data["ttl"] = max(0, round(entry.expires - now))
        if entry.renewed is not None:
            data["last_renewal"] = rfc3339(entry.renewed)
            data["last_renewal_time"] = int(entry.renewed)
        return data


def _accessor(request: Request) -> str:
    accessor = fields.string(request.data, "accessor") or ""
    if not accessor:
        raise RequestError(400, multiple(["missing accessor"]))
    return accessor


async def _no_roles(request: Request) -> Response:
    raise not_found()
