"""The system paths that belong to the node rather than to a mount: keys, shares, root tokens, peers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from haven.clock import Clock
from haven.core.generate_root import GenerateRoot
from haven.core.logical import Request, Response, Verb
from haven.core.refusals import unsupported_operation, unsupported_path
from haven.core.rekey import Rekey
from haven.core.rotation import Rotation
from haven.core.running import SystemHandler
from haven.core.times import rfc3339
from haven.errors import RequestError
from haven.ha.leadership import Peer
from haven.version import VERSION

BACKUPS = ("rekey/backup", "rekey/recovery-key-backup", "rotate/root/backup", "rotate/recovery/backup")
WITH_TOKEN = {
    "generate-root-token": "sys/generate-root",
    "rotate/root": "sys/rekey",
    "rotate/recovery": "sys/rekey-recovery-key",
}
"""OpenBao's paths below `sys/` for what `ShareDuties` do: its command line shows a token."""
Call = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]
"""Takes a body, gives the body of the answer, or None for 204."""


class SystemDuties:
    """Key rotation, key status and the list of nodes: for tokens, so `Running` checks them first."""

    def __init__(
        self, rotation: Rotation, clock: Clock, me: Callable[[], Peer], peers: Callable[[], list[Peer]]
    ) -> None:
        self._rotation = rotation
        self._clock = clock
        self._me = me
        self._peers = peers

    def handlers(self) -> dict[str, SystemHandler]:
        """Return who answers what is below `sys/<prefix>`."""
        return {
            **{prefix: _no_backup for prefix in BACKUPS},
            "rotate": self._rotate,
            "key-status": self._key_status,
            "ha-status": self._ha_status,
        }

    async def _rotate(self, request: Request) -> Response | None:
        match request.path.removesuffix("/"), request.verb:
            case "rotate" | "rotate/keyring", Verb.UPDATE:
                await self._rotation.rotate()
                return None
            case "rotate/config" | "rotate/keyring/config", Verb.READ:
                return Response(self._rotation.config())
            case "rotate/config" | "rotate/keyring/config", Verb.UPDATE:
                await self._rotation.configure(request.data)
                return None
            case "rotate" | "rotate/keyring" | "rotate/config" | "rotate/keyring/config", _:
                raise unsupported_operation()
        raise unsupported_path()

    async def _key_status(self, request: Request) -> Response:
        _require(request, Verb.READ)
        return Response(self._rotation.key_status())

    async def _ha_status(self, request: Request) -> Response:
        _require(request, Verb.READ)
        me, now = self._me(), self._clock.wall()
        nodes = [_described(me, active=True, echo=None)]
        nodes += [_described(peer, active=False, echo=rfc3339(now - peer.quiet)) for peer in self._peers()]
        return Response({"nodes": sorted(nodes, key=lambda node: str(node["api_address"]))})


class ShareDuties:
    """Rekey and root tokens: for holders of shares, so no token is asked for at Vault's paths."""

    def __init__(self, rekey: Rekey, recovery_rekey: Rekey | None, generate_root: GenerateRoot) -> None:
        self._calls = {
            **_rekeying("sys/rekey", rekey),
            **_rekeying("sys/rekey-recovery-key", recovery_rekey),
            ("sys/generate-root/attempt", Verb.READ): _told(generate_root.status),
            ("sys/generate-root/attempt", Verb.UPDATE): _began(generate_root.start),
            ("sys/generate-root/attempt", Verb.DELETE): _ended(generate_root.cancel),
            ("sys/generate-root/update", Verb.UPDATE): generate_root.update,
        }
        self._paths = {path for path, _ in self._calls}

    def handlers(self) -> dict[str, SystemHandler]:
        """Return who answers the same below `sys/<prefix>` to those who show a token."""
        return {prefix: self._shown for prefix in WITH_TOKEN}

    async def _shown(self, request: Request) -> Response | None:
        for prefix, known in WITH_TOKEN.items():
            if request.path.startswith(f"{prefix}/"):
                same = replace(request, path=known + request.path.removeprefix(prefix))
                if self.answers(same):
                    return await self.handle(same)
        raise unsupported_path()

    def answers(self, request: Request) -> bool:
        """Tell whether the path is one of these."""
        return request.path in self._paths

    async def handle(self, request: Request) -> Response | None:
        """Answer; raises `RequestError`."""
        call = self._calls.get((request.path, request.verb))
        if call is None:
            raise RequestError(405, "unsupported operation")
        body = await call(request.data)
        return None if body is None else Response(body)


def _rekeying(prefix: str, rekey: Rekey | None) -> dict[tuple[str, Verb], Call]:
    if rekey is None:
        paths = (f"{prefix}/{name}" for name in ("init", "update", "verify"))
        return {
            (path, verb): _unsupported for path in paths for verb in (Verb.READ, Verb.UPDATE, Verb.DELETE)
        }
    return {
        (f"{prefix}/init", Verb.READ): _told(rekey.status),
        (f"{prefix}/init", Verb.UPDATE): _began(rekey.start),
        (f"{prefix}/init", Verb.DELETE): _ended(rekey.cancel),
        (f"{prefix}/update", Verb.UPDATE): rekey.update,
        (f"{prefix}/verify", Verb.READ): _told(rekey.verification),
        (f"{prefix}/verify", Verb.UPDATE): rekey.verify,
        (f"{prefix}/verify", Verb.DELETE): _told(rekey.restart_verification),
    }


async def _no_backup(request: Request) -> Response | None:
    """Answer for backups of encrypted shares, of which there are none, as there is no PGP."""
    if request.path.removesuffix("/") not in BACKUPS:
        raise unsupported_path()
    if request.verb is Verb.DELETE:
        return None
    _require(request, Verb.READ)
    raise RequestError(400, "no backed-up keys found")


def _require(request: Request, verb: Verb) -> None:
    if request.verb is not verb:
        raise unsupported_operation()


def _described(peer: Peer, *, active: bool, echo: str | None) -> dict[str, object]:
    """Describe a node as `sys/ha-status` does."""
    return {
        "hostname": peer.node,
        "api_address": peer.api_address,
        "cluster_address": peer.cluster_address,
        "active_node": active,
        "last_echo": echo,
        "version": VERSION,
    }


async def _unsupported(body: Mapping[str, Any]) -> None:
    raise RequestError(400, "recovery rekeying not supported")


def _told(tell: Callable[[], Mapping[str, Any]]) -> Call:
    async def call(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return tell()

    return call


def _began(begin: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Call:
    async def call(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return begin(body)

    return call


def _ended(end: Callable[[str], None]) -> Call:
    async def call(body: Mapping[str, Any]) -> None:
        end(str(body.get("nonce", "")))

    return call
