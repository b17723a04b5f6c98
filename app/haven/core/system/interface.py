"""`sys/internal/ui/mounts`: the mounts that a token can see, also for those without one."""

from typing import Any

from haven.core.authorize import acl_of
from haven.core.logical import Request, Response, Verb
from haven.core.mount_store import MountStore
from haven.core.mounts import AUTH, SECRETS, MountEntry
from haven.core.policies import PolicyStore
from haven.core.policy_acl import Acl
from haven.core.refusals import unsupported_operation
from haven.core.system.describe import describe_mount
from haven.core.tokens import TokenStore
from haven.errors import RequestError, permission_denied

SHORT = ("type", "description", "options")
UNSEEN = (
    'preflight capability check returned 403, please ensure client\'s policies grant access to path "{}/"'
)


class Interface:
    """Answer a client that looks for its way around; the CLI asks it before each `kv` command."""

    def __init__(self, mounts: MountStore, tokens: TokenStore, policies: PolicyStore) -> None:
        self._mounts = mounts
        self._tokens = tokens
        self._policies = policies

    async def mounts(self, path: str, request: Request) -> Response:
        """Answer the list, or the one mount that a path belongs to."""
        if request.verb is not Verb.READ:
            raise unsupported_operation()
        token = await self._tokens.find(request.token)
        if path:
            acl = None if token is None else await acl_of(self._policies, token)
            return await self._one(path, acl, known=token is not None)
        if token is None:
            return await self._list(None, known=False)
        return await self._list(await acl_of(self._policies, token), known=True)

    async def _one(self, path: str, acl: Acl | None, *, known: bool) -> Response:
        entry = (await self._mounts.table()).match(f"{path}/")
        if not known:
            raise permission_denied()
        if entry is None or not _sees(entry, acl):
            raise RequestError(403, UNSEEN.format(path))
        return Response(data={**describe_mount(entry), "path": entry.full_path})

    async def _list(self, acl: Acl | None, *, known: bool) -> Response:
        table = await self._mounts.table()
        data: dict[str, dict[str, Any]] = {}
        for name in (AUTH, SECRETS):
            data[name] = {}
            for entry in table.serving(name):
                is_public = entry.config.get("listing_visibility") == "unauth"
                if known and (is_public or _sees(entry, acl)):
                    data[name][entry.path] = describe_mount(entry)
                elif is_public:
                    described = describe_mount(entry)
                    data[name][entry.path] = {field: described[field] for field in SHORT}
        return Response(data=data)


def _sees(entry: MountEntry, acl: Acl | None) -> bool:
    """Tell whether a token may do anything at the mount; `acl` None is root's."""
    return acl is None or acl.reaches(entry.full_path)
