"""What any node tells of itself, from memory: health, seal status, leader."""

import re
from collections.abc import Mapping
from typing import Any

from haven.api import errors, replies
from haven.api.ports import Role, SealStatus, Status
from haven.api.settings import ApiSettings
from haven.api.targets import flag
from haven.core.times import rfc3339
from haven.errors import RequestError
from haven.ha.forwarding import RawResponse

NEVER = "0001-01-01T00:00:00Z"
WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
CODES: Mapping[str, int] = {
    "activecode": 200,
    "standbycode": 429,
    "sealedcode": 503,
    "uninitcode": 501,
    "drsecondarycode": 472,
    "performancestandbycode": 473,
    "haunhealthycode": 474,
    "removedcode": 530,
}
"""The last four name states that no node here has; their values are checked all the same, as Vault does."""


def health(status: Status, wall: float, query: Mapping[str, str], settings: ApiSettings) -> RawResponse:
    """Answer `sys/health`; `wall` is in seconds since the epoch. Raises `RequestError` for a bad parameter.

    A node that is activating counts as standby: it holds the lock and answers nothing yet.
    """
    codes = {name: _code(query, name, default) for name, default in CODES.items()}
    standby_ok = "standbyok" in query and flag(query["standbyok"])
    if "perfstandbyok" in query:
        flag(query["perfstandbyok"])
    match status.role:
        case Role.UNINITIALISED:
            code = codes["uninitcode"]
        case Role.SEALED:
            code = codes["sealedcode"]
        case Role.ACTIVE:
            code = codes["activecode"]
        case Role.STANDBY | Role.ACTIVATING:
            code = codes["activecode"] if standby_ok else codes["standbycode"]
    return replies.reply(code, _health_body(status, wall, settings))


def _code(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a status from the query; raises `RequestError` for one that cannot end an exchange."""
    text = query.get(name)
    if text is None:
        return default
    if not WHOLE.fullmatch(text) or not 200 <= int(text) <= 999:
        raise RequestError(400)
    return int(text)


def _health_body(status: Status, wall: float, settings: ApiSettings) -> Mapping[str, Any]:
    seal = status.seal
    replication = "unknown" if seal.sealed else "disabled"
    return {
        "initialized": seal.initialized,
        "sealed": seal.sealed,
        "standby": status.role is not Role.ACTIVE,
        "performance_standby": False,
        "replication_performance_mode": replication,
        "replication_dr_mode": replication,
        "server_time_utc": int(wall),
        "version": settings.version,
        **_cluster(seal),
    }


def seal_status(seal: SealStatus, settings: ApiSettings) -> RawResponse:
    """Answer `sys/seal-status`."""
    body = {
        "type": seal.type,
        "initialized": seal.initialized,
        "sealed": seal.sealed,
        "t": seal.threshold,
        "n": seal.shares,
        "progress": seal.progress,
        "nonce": seal.nonce,
        "version": settings.version,
        "build_date": settings.build_date,
        "migration": False,
        **_cluster(seal),
        "recovery_seal": seal.recovery_seal,
        "storage_type": seal.storage_type,
    }
    return replies.reply(200, body)


def leader(status: Status) -> RawResponse:
    """Answer `sys/leader`; sealed nodes of a highly available cluster refuse."""
    if status.ha_enabled and status.seal.sealed:
        return replies.errors(503, [errors.SEALED])
    holder = status.holder if status.ha_enabled else None
    is_self = status.ha_enabled and status.role is Role.ACTIVE
    since = status.active_since if is_self else None
    body = {
        "ha_enabled": status.ha_enabled,
        "is_self": is_self,
        "active_time": NEVER if since is None else rfc3339(since),
        "leader_address": holder.api_address if holder else "",
        "leader_cluster_address": holder.cluster_address if holder else "",
        "performance_standby": False,
        "performance_standby_last_remote_wal": 0,
    }
    return replies.reply(200, body)


def _cluster(seal: SealStatus) -> Mapping[str, str]:
    """Name the cluster where it is known: only unsealed nodes know it."""
    if seal.sealed or not seal.cluster_id:
        return {}
    return {"cluster_name": seal.cluster_name, "cluster_id": seal.cluster_id}
