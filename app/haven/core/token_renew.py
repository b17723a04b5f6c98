"""How long a token lives: at creation and after a renewal. Pure."""

from typing import Any

from haven.core.logical import SYSTEM_TTL
from haven.core.times import go_duration
from haven.core.token_entry import TokenEntry
from haven.errors import RequestError


def first_ttl(requested: int, period: int, explicit_max: int) -> tuple[int, list[str]]:
    """Return a new token's time to live in seconds, and warnings if it is less than was asked for."""
    largest = min(SYSTEM_TTL, explicit_max) if explicit_max else SYSTEM_TTL
    if period:
        return (min(period, explicit_max) if explicit_max else period), []
    wanted = requested or min(SYSTEM_TTL, largest)
    if wanted <= largest:
        return wanted, []
    return largest, [_capped(wanted, largest)]


def renewed_until(entry: TokenEntry, increment: int, now: float) -> tuple[float, list[str]]:
    """Return when a token expires after a renewal, since the epoch; raises `RequestError`."""
    if entry.expires is None or not entry.renewable:
        raise RequestError(400, "lease is not renewable")
    limits = [entry.created + entry.explicit_max_ttl] if entry.explicit_max_ttl else []
    if entry.period:
        wanted = now + entry.period
    else:
        wanted = now + (increment or entry.ttl)
        limits.append(entry.created + SYSTEM_TTL)
    latest = min(limits, default=wanted)
    if wanted <= latest:
        return wanted, []
    return latest, [_capped(round(wanted - now), round(latest - now))]


def describe_auth(entry: TokenEntry, token: str, now: float) -> dict[str, Any]:
    """Return the `auth` of an answer that makes or renews a token."""
    return {
        "client_token": token,
        "accessor": entry.accessor,
        "policies": list(entry.policies),
        "token_policies": list(entry.policies),
        "metadata": entry.meta,
        "lease_duration": 0 if entry.expires is None else max(0, round(entry.expires - now)),
        "renewable": entry.renewable,
        "entity_id": "",
        "token_type": entry.type,
        "orphan": not entry.parent,
        "mfa_requirement": None,
        "num_uses": entry.num_uses,
    }


def _capped(wanted: int, largest: int) -> str:
    return (
        f'TTL of "{go_duration(wanted)}" exceeded the effective max_ttl of "{go_duration(largest)}"; '
        "TTL value is capped accordingly"
    )
