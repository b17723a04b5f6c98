"""The settings of a mount, read from a body. Pure."""

from collections.abc import Mapping
from typing import Any

from haven.core import fields
from haven.core.logical import SYSTEM_TTL
from haven.errors import RequestError

LISTS = (
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
)
VISIBILITIES = {"", "hidden", "unauth"}
TOKEN_TYPES = {"default-service", "default-batch", "service", "batch"}
MAX_TTL = 10 * 365 * 86400
"""Seconds: no mount may promise more, so that sums of times stay sane."""


def settings_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a body gives; raises `RequestError`."""
    settings: dict[str, Any] = {}
    for name in ("default_lease_ttl", "max_lease_ttl"):
        if (seconds := _ttl(data, name)) is not None:
            settings[name] = seconds
    if (no_cache := fields.boolean(data, "force_no_cache")) is not None:
        settings["force_no_cache"] = no_cache
    settings.update({name: value for name in LISTS if (value := fields.strings(data, name)) is not None})
    _choice(settings, data, "listing_visibility", VISIBILITIES)
    _choice(settings, data, "token_type", TOKEN_TYPES)
    return settings


GIVEN = "given default lease TTL greater than given max lease TTL"
TUNED = "backend max lease TTL of {largest} would be less than backend default lease TTL of {default}"


def check_ttls(settings: Mapping[str, Any], refusal: str = GIVEN) -> None:
    """Refuse a default time to live beyond the largest one, the system's if the mount has none."""
    default, largest = settings.get("default_lease_ttl", 0), settings.get("max_lease_ttl", 0)
    if default <= (largest or SYSTEM_TTL):
        return
    if largest:
        raise RequestError(400, refusal.format(default=default, largest=largest))
    raise RequestError(400, "given default lease TTL greater than system max lease TTL")


def description_of(data: Mapping[str, Any]) -> str | None:
    """Return the description that a body gives, None if it gives none."""
    return fields.string(data, "description")


def _ttl(data: Mapping[str, Any], name: str) -> int | None:
    if data.get(name) in ("", "system"):
        return 0
    seconds = fields.duration(data, name)
    if seconds is not None and seconds > MAX_TTL:
        raise RequestError(400, f"{name} is too large")
    return seconds


def _choice(settings: dict[str, Any], data: Mapping[str, Any], name: str, choices: set[str]) -> None:
    value = fields.string(data, name)
    if value is None:
        return
    if value not in choices:
        raise RequestError(400, f"invalid {name} {value}")
    settings[name] = value
