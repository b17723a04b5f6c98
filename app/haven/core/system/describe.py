"""A mount as `sys/mounts` and its relatives print it. Pure."""

from typing import Any

from haven.core.logical import SYSTEM_TTL
from haven.core.mounts import AUTH, MountEntry

OPTIONAL = (
    "listing_visibility",
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
)


def describe_mount(entry: MountEntry) -> dict[str, Any]:
    """Return all that a list of mounts says of one."""
    config: dict[str, Any] = {
        "default_lease_ttl": entry.config.get("default_lease_ttl", 0),
        "max_lease_ttl": entry.config.get("max_lease_ttl", 0),
        "force_no_cache": entry.config.get("force_no_cache", False),
    }
    config.update({name: entry.config[name] for name in OPTIONAL if entry.config.get(name)})
    if entry.table == AUTH:
        config["token_type"] = entry.config.get("token_type", "default-service")
    return {
        "type": entry.type,
        "description": entry.description,
        "accessor": entry.accessor,
        "local": entry.local,
        "seal_wrap": entry.seal_wrap,
        "external_entropy_access": False,
        "options": entry.options,
        "uuid": entry.uuid,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "config": config,
    }


def describe_tuning(entry: MountEntry) -> dict[str, Any]:
    """Return what `tune` says of a mount; times in seconds, the system's where none is set."""
    data: dict[str, Any] = {
        "default_lease_ttl": entry.config.get("default_lease_ttl") or SYSTEM_TTL,
        "max_lease_ttl": entry.config.get("max_lease_ttl") or SYSTEM_TTL,
        "force_no_cache": entry.config.get("force_no_cache", False),
        "description": entry.description,
    }
    data.update({name: entry.config[name] for name in OPTIONAL if entry.config.get(name)})
    if entry.table == AUTH:
        data["token_type"] = entry.config.get("token_type", "default-service")
    if entry.options:
        data["options"] = entry.options
    return data
