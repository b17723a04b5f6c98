"""`auth/token/create`: who may make which token."""

import re
from dataclasses import dataclass

from haven.clock import Clock
from haven.core import fields
from haven.core.logical import Caller, Request, Response
from haven.core.token_entry import TokenEntry, new_token, random_text
from haven.core.token_renew import describe_auth, first_ttl
from haven.core.tokens import TokenStore
from haven.errors import RequestError, permission_denied


@dataclass(frozen=True, slots=True)
class Wish:
    """What a body asks for."""

    policies: tuple[str, ...]
    no_default_policy: bool
    no_parent: bool
    period: int
    explicit_max_ttl: int
    ttl: int
    num_uses: int
    renewable: bool
    display_name: str
    meta: dict[str, str] | None
    identifier: str

    @classmethod
    def read(cls, request: Request) -> "Wish":
        """Read it; raises `RequestError`."""
        data = request.data
        _check_type(fields.string(data, "type") or "service")
        renewable = fields.boolean(data, "renewable")
        meta = fields.mapping(data, "meta")
        num_uses = fields.integer(data, "num_uses") or 0
        if num_uses < 0:
            raise RequestError(400, "number of uses cannot be negative")
        return cls(
            policies=tuple(fields.strings(data, "policies") or ()),
            no_default_policy=fields.boolean(data, "no_default_policy") or False,
            no_parent=fields.boolean(data, "no_parent") or False,
            period=fields.duration(data, "period") or 0,
            explicit_max_ttl=fields.duration(data, "explicit_max_ttl") or 0,
            ttl=fields.duration(data, "ttl") or fields.duration(data, "lease") or 0,
            num_uses=num_uses,
            renewable=True if renewable is None else renewable,
            display_name=fields.string(data, "display_name") or "",
            meta=None if meta is None else {name: str(value) for name, value in meta.items()},
            identifier=fields.string(data, "id") or "",
        )


class TokenCreation:
    """Make tokens for callers that were allowed the path."""

    def __init__(self, tokens: TokenStore, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def create(self, request: Request) -> Response:
        """Make a child of the caller's token, or an orphan if it asks and may."""
        wish = Wish.read(request)
        caller = _checked_caller(request, wish)
        return await self._make(wish, caller, request, orphan=wish.no_parent)

    async def create_orphan(self, request: Request) -> Response:
        """Make a token without a parent."""
        wish = Wish.read(request)
        caller = _checked_caller(request, wish)
        return await self._make(wish, caller, request, orphan=True)

    async def _make(self, wish: Wish, caller: Caller, request: Request, *, orphan: bool) -> Response:
        parent = await self._tokens.get(caller.identifier)
        if parent is None or parent.num_uses:
            raise RequestError(400, "restricted use token cannot generate child tokens")
        policies = _policies(wish, caller)
        now = self._clock.wall()
        immortal = "root" in policies and not (wish.ttl or wish.period or wish.explicit_max_ttl)
        if immortal and parent.expires is not None:
            raise RequestError(400, "expiring root tokens cannot create non-expiring root tokens")
        ttl, warnings = (0, []) if immortal else first_ttl(wish.ttl, wish.period, wish.explicit_max_ttl)
        name = f"token-{_plain(wish.display_name)}" if wish.display_name else "token"
        entry = TokenEntry(
            accessor=random_text(),
            policies=policies,
            path=f"auth/token/{request.path}",
            display_name=name,
            created=now,
            ttl=ttl,
            expires=None if immortal else now + ttl,
            period=wish.period,
            explicit_max_ttl=wish.explicit_max_ttl,
            num_uses=wish.num_uses,
            renewable=wish.renewable and not immortal,
            parent="" if orphan else caller.identifier,
            meta=wish.meta,
        )
        token = wish.identifier or new_token()
        created = await self._tokens.create(token, entry)
        if created is None:
            raise permission_denied()
        return Response(auth=describe_auth(created, token, now), warnings=warnings)


def _plain(display_name: str) -> str:
    """Keep letters, digits and hyphens, like Vault."""
    return re.sub("[^a-zA-Z0-9-]", "-", display_name).strip("-")


def _check_type(kind: str) -> None:
    if kind == "batch":
        raise RequestError(400, "only service tokens are supported")
    if kind != "service":
        raise RequestError(400, "invalid 'token_type' value")


def _check_identifier(identifier: str) -> None:
    """Refuse what could be taken for a generated token."""
    if identifier.startswith("hvs."):
        raise RequestError(400, "custom token ID cannot have the 'hvs.' prefix")
    if "." in identifier:
        raise RequestError(400, "custom token ID cannot have a '.' in the value")


def _checked_caller(request: Request, wish: Wish) -> Caller:
    caller = request.caller
    if caller is None:
        raise permission_denied()
    if caller.sudo:
        _check_identifier(wish.identifier)
        return caller
    for is_asked, text in (
        (wish.identifier, "specify token id"),
        (wish.no_parent, "create orphan token"),
        (wish.period, "create periodic token"),
    ):
        if is_asked:
            raise RequestError(400, f"root or sudo privileges required to {text}")
    return caller


def _policies(wish: Wish, caller: Caller) -> tuple[str, ...]:
    """Return the new token's policies; whoever has no sudo can only pass on its own."""
    asked = {name.lower() for name in wish.policies if name}
    if not asked:
        asked = set(caller.policies)
    elif not caller.sudo and not asked - {"default"} <= set(caller.policies):
        raise RequestError(400, "child policies must be subset of parent")
    if "root" in asked:
        if not caller.is_root:
            raise RequestError(400, "root tokens may not be created without parent token being root")
        return ("root",)
    if wish.no_default_policy:
        return tuple(sorted(asked - {"default"}))
    return tuple(sorted(asked | {"default"}))
