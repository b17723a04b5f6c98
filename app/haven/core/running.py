"""What serves requests during one activation: token, policy, route, engine."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

from haven.clock import Clock
from haven.core.authorize import authorize, routed
from haven.core.logical import Engine, Request, Response, Verb, View
from haven.core.mount_store import MountStore
from haven.core.policies import PolicyStore
from haven.core.router import Factory, Router
from haven.core.system.engine import System
from haven.core.token_auth import TokenAuth
from haven.core.token_entry import TokenEntry
from haven.core.tokens import TokenStore
from haven.core.view import NarrowView
from haven.errors import RequestError, Unavailable, permission_denied
from haven.tasks import TaskSet

log = logging.getLogger("haven.core")
T = TypeVar("T")

SystemHandler = Callable[[Request], Awaitable[Response | None]]
"""Answers requests to `sys/<prefix>` and below it; their path is relative to `sys/`."""
OPEN_PREFIX = "sys/internal/ui/mounts"
"""A path that answers, as all below it, without a token too, and judges one by itself."""


class Running:
    """The core of one activation. Drop it at the end of the term: it remembers mounts and locks.

    Run each write to its end even if its client goes away (`TaskSet.shield`): it holds the lock
    of what it changes until storage has answered.
    """

    def __init__(self, mounts: MountStore, router: Router, tokens: TokenStore, policies: PolicyStore) -> None:
        self._mounts = mounts
        self._router = router
        self._tokens = tokens
        self._policies = policies
        self._counted = TaskSet(log.error)

    @classmethod
    async def activate(
        cls,
        view: View,
        clock: Clock,
        engines: Mapping[str, Factory],
        system_extensions: Mapping[str, SystemHandler] | None = None,
    ) -> "Running":
        """Read what serving needs, two keys; writes nothing.

        `engines` is `haven.engines.catalog.ENGINES`; `system_extensions` answer what is below
        `sys/<prefix>`. Raises `Unavailable` or `NotActive`.
        """
        mounts = await MountStore.load(view)
        cubbyhole = (await mounts.table()).get("cubbyhole/")
        if cubbyhole is None:
            raise Unavailable("the mount table has no cubbyhole")
        tokens = await TokenStore.load(view, clock, NarrowView(view, cubbyhole.storage_prefix))
        policies = PolicyStore(view)
        auth: dict[str, Factory] = {"token": partial(_made, TokenAuth(tokens, clock))}
        router = Router(mounts, view, clock, engines, auth)
        system = System(mounts, router, tokens, policies, system_extensions or {})
        router.add_factory("system", partial(_made, system))
        return cls(mounts, router, tokens, policies)

    async def tidy(self) -> None:
        """Finish removals that an earlier term left undone; run it in the background once serving."""
        await self._mounts.finish()
        await self._tokens.finish()

    async def authorize(self, token: str, path: str, verb: Verb = Verb.UPDATE) -> None:
        """Check a token for what is served outside of the mounts, such as `sys/seal`; raises 403."""
        request = Request(verb, path, token=token)
        await self._as_caller(token, lambda entry: authorize(self._policies, entry, request, None))

    async def create_root_token(self) -> str:
        """Store a new root token and return it, for `sys/generate-root`."""
        return await self._tokens.create_root()

    async def handle(self, request: Request) -> Response | None:
        """Answer one request; raises `RequestError`, `NotActive` and what storage raises."""
        request = _normalised(request)
        if _is_open(request.path):
            entry = await self._tokens.find(request.token)
            return await self._dispatch(request, entry, is_open=True)
        return await self._as_caller(
            request.token, lambda entry: self._dispatch(request, entry, is_open=False)
        )

    async def _as_caller(self, token: str, act: Callable[[TokenEntry], Awaitable[T]]) -> T:
        """Act with a valid token, and count the use if its uses are limited; raises 403."""
        entry = await self._tokens.find(token)
        if entry is None:
            raise permission_denied()
        if not entry.num_uses:
            return await act(entry)
        # A read with such a token writes: its client must not cancel that half-way.
        return await self._counted.shield(self._count(token, act))

    async def _count(self, token: str, act: Callable[[TokenEntry], Awaitable[T]]) -> T:
        entry = await self._tokens.use(token)
        if entry is None:
            raise permission_denied()
        try:
            return await act(entry)
        finally:
            if entry.num_uses == 1:
                await self._tokens.revoke(entry.identifier)

    async def _dispatch(
        self, request: Request, entry: TokenEntry | None, *, is_open: bool
    ) -> Response | None:
        route = await self._router.route(request.path)
        # Nothing may come between: a mount that is being removed waits for those who use it.
        with self._router.using(route.entry) if route else nullcontext():
            caller = None
            if entry is not None:
                sudo = entry.is_root if is_open else await authorize(self._policies, entry, request, route)
                caller = entry.caller(sudo=sudo)
            _check_path(request)
            if route is None:
                raise RequestError(404, f'no handler for route "{request.path}". route entry not found.')
            return await route.engine.handle(routed(request, route, caller), route.view)


def _made(engine: Engine, options: Mapping[str, str], clock: Clock) -> Engine:
    """Be the factory of a type of which there is only one."""
    return engine


def _is_open(path: str) -> bool:
    return path == OPEN_PREFIX or path.startswith(f"{OPEN_PREFIX}/")


def _normalised(request: Request) -> Request:
    """Give a LIST its closing slash, by which policies and storage know a folder."""
    if request.verb is Verb.LIST and not request.path.endswith("/"):
        return Request(request.verb, request.path + "/", request.data, request.query, request.token)
    return request


def _check_path(request: Request) -> None:
    """Refuse what storage must never see; the path is decoded, and policies saw the same text."""
    if ".." in request.path:
        raise RequestError(400, "relative paths not supported")
    if not request.path.isprintable():
        raise RequestError(400, "path contains unprintable characters")
    if request.path.endswith("/") and request.verb in {Verb.UPDATE, Verb.PATCH}:
        raise RequestError(400, "cannot write to a path ending in '/'")
