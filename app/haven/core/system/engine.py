"""Which path below `sys/` goes to which handler."""

from collections.abc import Awaitable, Callable, Mapping

from haven.core.logical import Request, Response, View
from haven.core.mount_store import MountStore
from haven.core.mounts import AUTH, SECRETS
from haven.core.policies import PolicyStore
from haven.core.refusals import unsupported_path
from haven.core.router import Router
from haven.core.system.capabilities import Capabilities
from haven.core.system.interface import Interface
from haven.core.system.mounts import Mounts
from haven.core.system.policies import Policies
from haven.core.system.remount import Remount
from haven.core.tokens import TokenStore

Handler = Callable[[Request], Awaitable[Response | None]]
Below = Callable[[str, Request], Awaitable[Response | None]]


class System:
    """The engine at `sys/`. What belongs to the node, such as `rotate`, is handed in as extensions."""

    def __init__(
        self,
        mounts: MountStore,
        router: Router,
        tokens: TokenStore,
        policies: PolicyStore,
        extensions: Mapping[str, Handler],
    ) -> None:
        capabilities = Capabilities(tokens, policies)
        remount = Remount(mounts, router)
        # The longest prefix decides.
        self._extensions = sorted(extensions.items(), key=lambda item: len(item[0]), reverse=True)
        self._exact: dict[str, Handler] = {
            "capabilities": capabilities.of_token,
            "capabilities-accessor": capabilities.of_accessor,
            "capabilities-self": capabilities.of_self,
            "remount": remount.start,
        }
        policy_paths, interface = Policies(policies), Interface(mounts, tokens, policies)
        self._below: list[tuple[str, Below]] = [
            ("mounts", Mounts(SECRETS, mounts, router).handle),
            ("auth", Mounts(AUTH, mounts, router).handle),
            ("policies/acl", policy_paths.handle),
            ("policy", policy_paths.handle_old),
            ("internal/ui/mounts", interface.mounts),
            ("remount/status", remount.status),
        ]

    async def handle(self, request: Request, view: View) -> Response | None:
        """Answer a request; raises `RequestError`."""
        path = request.path.removesuffix("/")
        for prefix, extension in self._extensions:
            if path == prefix or path.startswith(f"{prefix}/"):
                return await extension(request)
        if (exact := self._exact.get(path)) is not None:
            return await exact(request)
        for prefix, below in self._below:
            if path == prefix or path.startswith(f"{prefix}/"):
                return await below(path[len(prefix) + 1 :], request)
        raise unsupported_path()

    async def exists(self, request: Request, view: View) -> bool:
        """Tell True: below `sys/` every write needs the capability `update`."""
        return True
