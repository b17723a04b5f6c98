"""May this token do this? Its policies, the verb, and the paths that need sudo."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from haven.core.logical import SYSTEM_TTL, Caller, Request, Verb
from haven.core.policies import PolicyStore
from haven.core.policy_acl import Acl
from haven.core.policy_rules import Rule
from haven.core.refusals import denied
from haven.core.router import Route
from haven.core.token_entry import TokenEntry

SUDO_PATHS = {
    "auth/token/accessors",
    "auth/token/create-orphan",
    "auth/token/revoke-orphan",
    "auth/token/tidy",
    "sys/audit",
    "sys/leases",
    "sys/remount",
    "sys/rotate",
    "sys/rotate/keyring",
    "sys/seal",
    "sys/step-down",
}
SUDO_PREFIXES = (
    "auth/token/accessors/",
    "sys/audit/",
    "sys/auth/",
    "sys/config/auditing/",
    "sys/leases/lookup/",
    "sys/leases/revoke-force/",
    "sys/leases/revoke-prefix/",
    "sys/raw",
    "sys/revoke-force/",
    "sys/revoke-prefix/",
    "sys/rotate/recovery/",
    "sys/rotate/root/",
)
CAPABILITIES = {
    Verb.READ: "read",
    Verb.LIST: "list",
    Verb.DELETE: "delete",
    Verb.PATCH: "patch",
    Verb.UPDATE: "update",
}


def needs_sudo(path: str) -> bool:
    """Tell whether a path is kept for root and for holders of sudo on it (V114 `logical_system.go`)."""
    return path.removesuffix("/") in SUDO_PATHS or path.startswith(SUDO_PREFIXES)


async def authorize(policies: PolicyStore, token: TokenEntry, request: Request, route: Route | None) -> bool:
    """Check a request by the token's policies; raises 403. Return whether they grant sudo on its path."""
    if token.is_root:
        return True
    acl = await policies.acl(token.policies)
    rule = acl.rule(request.path, is_list=request.verb is Verb.LIST)
    has_sudo = rule is not None and "sudo" in rule.capabilities
    capability = await _capability(token, request, rule, route)
    if not acl.allows(rule, capability, _parameters(request)):
        raise denied()
    if needs_sudo(request.path) and not has_sudo:
        raise denied()
    return has_sudo


async def acl_of(policies: PolicyStore, token: TokenEntry) -> Acl | None:
    """Return what a token may do; None for root, which may do everything."""
    return None if token.is_root else await policies.acl(token.policies)


async def _capability(token: TokenEntry, request: Request, rule: Rule | None, route: Route | None) -> str:
    """Name what the request needs; whether a write creates is asked only where it makes a difference."""
    if request.verb is not Verb.UPDATE or rule is None or route is None:
        return CAPABILITIES[request.verb]
    if ("create" in rule.capabilities) == ("update" in rule.capabilities):
        return "update"
    exists = await route.engine.exists(routed(request, route, token.caller(sudo=False)), route.view)
    return "update" if exists else "create"


def routed(request: Request, route: Route, caller: Caller | None) -> Request:
    """Return the request as the mount sees it."""
    entry = route.entry
    lease = entry.config.get("default_lease_ttl") or SYSTEM_TTL
    return replace(request, path=route.path, mount=entry.full_path, caller=caller, lease_ttl=lease)


def _parameters(request: Request) -> Mapping[str, Any]:
    return request.data if request.verb in {Verb.UPDATE, Verb.PATCH} else request.query
