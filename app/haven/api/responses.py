"""From a logical response to an HTTP one: Vault's envelope."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from haven.api import replies
from haven.api.requests import UNSEAL_KEY_ROUTE
from haven.core.logical import Request, Response, Verb
from haven.ha.forwarding import RawResponse

INJECTED_ROUTE = re.compile(
    r"sys/(?:"
    r"(?:audit|auth|mounts|policy|config/auditing/request-headers)(?:/.*)?|audit-hash/.*|"
    r"config/cors|capabilities(?:-accessor|-self)?|ha-status|key-status|remount|rotate|wrapping/wrap|"
    r"rekey/(?:backup|recovery-key-backup)|rotate/(?:root/backup|recovery/backup|keyring)"
    r")"
)
"""Routes that give their data at the top level too, as they did before there was an envelope."""


def answer(request: Request, response: Response | None, new_id: Callable[[], str]) -> RawResponse:
    """Render a result; None is 204, or 404 where the request asked for something."""
    if _is_nothing(request, response):
        return replies.errors(404)
    if response is None or response.status == 204:
        return replies.empty()
    if UNSEAL_KEY_ROUTE.fullmatch(request.path):
        return replies.reply(response.status, dict(response.data or {}))
    return replies.reply(response.status, _envelope(request, response, new_id()))


def _is_nothing(request: Request, response: Response | None) -> bool:
    """Tell whether a read or a list found nothing."""
    if request.verb is Verb.READ:
        return response is None
    if request.verb is not Verb.LIST:
        return False
    if response is None:
        return True
    if not response.data:
        return not response.warnings
    return "keys" in response.data and not response.data["keys"]


def _envelope(request: Request, response: Response, request_id: str) -> Mapping[str, Any]:
    """Wrap a result in the keys that every logical answer has."""
    data = None if response.data is None else dict(response.data)
    injected = data if data and INJECTED_ROUTE.fullmatch(request.path.rstrip("/")) else {}
    return {
        **injected,
        "request_id": request_id,
        "lease_id": "",
        "renewable": False,
        "lease_duration": response.lease_duration,
        "data": data,
        "wrap_info": None,
        "warnings": list(response.warnings) or None,
        "auth": None if response.auth is None else dict(response.auth),
    }
