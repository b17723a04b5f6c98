"""The token store: look up, use, create, renew and revoke."""

from dataclasses import replace
from typing import Any

import orjson

from haven.clock import Clock
from haven.core.locks import KeyLocks
from haven.core.logical import COMMIT_OPERATIONS, View
from haven.core.token_entry import (
    SALT_KEY,
    SPENT,
    TokenEntry,
    accessor_key,
    child_key,
    root_token,
    salted,
    token_key,
)
from haven.core.view import NarrowView, remove_all
from haven.errors import RequestError, Unavailable
from haven.storage.base import Delete, Operation, Put


class TokenStore:
    """Tokens of one cluster; `drawers` is the view in which each token has its cubbyhole."""

    def __init__(self, view: View, salt: bytes, clock: Clock, drawers: View) -> None:
        self._view = view
        self._salt = salt
        self._clock = clock
        self._drawers = drawers
        self._locks = KeyLocks()
        self._last_uses: set[str] = set()

    @classmethod
    async def load(cls, view: View, clock: Clock, drawers: View) -> "TokenStore":
        """Read the salt; raises `Unavailable` if there is none."""
        salt = await view.get(SALT_KEY)
        if salt is None:
            raise Unavailable("the token salt is missing")
        return cls(view, salt, clock, drawers)

    def identify(self, token: str) -> str:
        """Return the identifier under which a token would be stored."""
        return salted(self._salt, token)

    async def find(self, token: str) -> TokenEntry | None:
        """Return a token's entry if it is valid now."""
        return await self.get(self.identify(token)) if token else None

    async def get(self, identifier: str) -> TokenEntry | None:
        """Return the entry of an identifier if the token, and with it every ancestor, is valid now."""
        entry = await self._valid(identifier)
        ancestor = entry
        while ancestor is not None and ancestor.parent:
            ancestor = await self._valid(ancestor.parent)
        return None if ancestor is None else entry

    async def find_even_spent(self, token: str) -> TokenEntry | None:
        """Return the entry of a token that is just being used for the last time, too."""
        identifier = self.identify(token)
        return await (self._stored(identifier) if identifier in self._last_uses else self.get(identifier))

    async def find_accessor(self, accessor: str) -> TokenEntry | None:
        """Return the entry of the token that an accessor speaks of, if valid now."""
        raw = await self._view.get(accessor_key(salted(self._salt, accessor)))
        return None if raw is None else await self.get(orjson.loads(raw)["identifier"])

    async def accessors(self) -> list[str]:
        """Return the accessors of all tokens."""
        found = []
        for hashed in await self._view.list(accessor_key("")):
            if (raw := await self._view.get(accessor_key(hashed))) is not None:
                found.append(str(orjson.loads(raw)["accessor"]))
        return sorted(found)

    async def use(self, token: str) -> TokenEntry | None:
        """Count one use of a token that has a limited number; return its entry as it was before.

        After the last use it is `SPENT`: the request under way goes on, and `revoke` must follow.
        """
        entry = await self.find(token)
        if entry is None or entry.num_uses == 0:
            return entry
        async with self._locks.hold(entry.identifier):
            entry = await self.find(token)
            if entry is not None and entry.num_uses:
                operations: list[Operation] = [_put(replace(entry, num_uses=entry.num_uses - 1 or SPENT))]
                if entry.num_uses == 1:
                    self._last_uses.add(entry.identifier)
                    operations.append(_revoking(entry.identifier))
                await self._view.commit(operations)
        return entry

    async def create(self, token: str, entry: TokenEntry) -> TokenEntry | None:
        """Store a new token with its indices in one commit; None if its parent is no longer valid.

        Raises `RequestError` if there is such a token.
        """
        entry = replace(entry, identifier=self.identify(token))
        if not entry.parent:
            return await self._created(entry)
        # Under the parent's lock: a revocation must not miss a child that is just being made.
        async with self._locks.hold(entry.parent):
            return None if await self.get(entry.parent) is None else await self._created(entry)

    async def _created(self, entry: TokenEntry) -> TokenEntry:
        async with self._locks.hold(entry.identifier):
            if await self._stored(entry.identifier) is not None:
                raise RequestError(400, "cannot create a token with a duplicate ID")
            await self._view.commit(entry.puts(self._salt))
        return entry

    async def create_root(self) -> str:
        """Store a new root token, which never expires, and return it."""
        token, entry = root_token(self._salt, self._clock.wall())
        await self._view.commit(entry.puts(self._salt))
        return token

    async def renew(self, identifier: str, expires: float) -> TokenEntry | None:
        """Set when a token expires; None if it is no longer valid."""
        async with self._locks.hold(identifier):
            entry = await self.get(identifier)
            if entry is not None:
                entry = replace(entry, expires=expires, renewed=self._clock.wall())
                await self._view.commit([_put(entry)])
        return entry

    async def revoke(self, identifier: str, *, orphan: bool = False) -> None:
        """Remove a token, its drawer and its children; with `orphan` the children live on as orphans.

        The token, and with it its children, stops working in one commit that also notes the
        revocation: `finish` ends one that was cut short after it.
        """
        async with self._locks.hold(identifier):
            entry = await self._stored(identifier)
            if entry is None:
                return
            if orphan:
                # Before it stops working: a child is only valid as long as its parent is.
                for child in await self._view.list(child_key(identifier)):
                    await self._change(child, parent="")
            await self._view.commit([_put(replace(entry, num_uses=SPENT)), _revoking(identifier)])
        await self._remove(identifier)
        self._last_uses.discard(identifier)

    async def finish(self) -> None:
        """End the revocations of earlier terms that were cut short."""
        for identifier in await self._view.list(_revoking_key("")):
            if identifier not in self._last_uses:
                await self._remove(identifier)

    async def _remove(self, identifier: str) -> None:
        """Spend the whole family from the top, so that nobody can add to it; erase it from the leaves."""
        order: list[tuple[str, list[str]]] = []
        pending = [identifier]
        while pending:
            current = pending.pop()
            await self._change(current, num_uses=SPENT)
            children = await self._view.list(child_key(current))
            order.append((current, children))
            pending.extend([child for child in children if await self._is_child(child, current)])
        for current, children in reversed(order):
            await self._erase(current, children)
        await self._view.commit([Delete(_revoking_key(identifier))])

    async def _is_child(self, identifier: str, parent: str) -> bool:
        """Tell whether a noted child is still one: a revocation may have made it an orphan."""
        entry = await self._stored(identifier)
        return entry is not None and entry.parent == parent

    async def _change(self, identifier: str, **changes: Any) -> None:
        async with self._locks.hold(identifier):
            if (entry := await self._stored(identifier)) is not None:
                await self._view.commit([_put(replace(entry, **changes))])

    async def _erase(self, identifier: str, children: list[str]) -> None:
        """Remove what is stored of a token, its own entry last, with its indices in one commit."""
        await remove_all(NarrowView(self._drawers, f"{identifier}/"))
        keys = [child_key(identifier, child) for child in children]
        while keys:
            await self._view.commit([Delete(key) for key in keys[:COMMIT_OPERATIONS]])
            keys = keys[COMMIT_OPERATIONS:]
        if (entry := await self._stored(identifier)) is None:
            return
        operations: list[Operation] = [
            Delete(token_key(identifier)),
            Delete(accessor_key(salted(self._salt, entry.accessor))),
        ]
        if entry.parent:
            operations.append(Delete(child_key(entry.parent, identifier)))
        await self._view.commit(operations)

    async def _valid(self, identifier: str) -> TokenEntry | None:
        entry = await self._stored(identifier)
        return entry if entry is not None and entry.is_valid(self._clock.wall()) else None

    async def _stored(self, identifier: str) -> TokenEntry | None:
        raw = await self._view.get(token_key(identifier))
        return None if raw is None else TokenEntry.decode(identifier, raw)


def _put(entry: TokenEntry) -> Put:
    return Put(token_key(entry.identifier), entry.encode())


def _revoking(identifier: str) -> Put:
    """Note that a token must be removed, whatever becomes of this term."""
    return Put(_revoking_key(identifier), b"{}")


def _revoking_key(identifier: str) -> str:
    return f"sys/token/revoking/{identifier}"
