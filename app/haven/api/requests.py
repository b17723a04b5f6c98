"""From an HTTP request to a logical one."""

import re
from collections.abc import Mapping

from haven.api import bodies, targets
from haven.core.logical import Request, Verb
from haven.errors import RequestError
from haven.ha.forwarding import RawRequest

PREFIX = "/v1/"
STEP_DOWN = "sys/step-down"
VERBS: Mapping[str, Verb] = {
    "GET": Verb.READ,
    "LIST": Verb.LIST,
    "POST": Verb.UPDATE,
    "PUT": Verb.UPDATE,
    "PATCH": Verb.PATCH,
    "DELETE": Verb.DELETE,
}
MERGE_PATCH = "application/merge-patch+json"
ROOT_NAMESPACES = frozenset({"", "/", "root", "root/"})

UNSEAL_KEY_ROUTE = re.compile(
    r"sys/(?:rekey(?:-recovery-key)?/(?:init|update|verify)|generate-root/(?:attempt|update))"
)
"""Endpoints that holders of unseal keys use without a token; they answer their result without an envelope."""
UNSEAL_KEY_FIELDS: Mapping[str, type] = {
    "secret_shares": int,
    "secret_threshold": int,
    "stored_shares": int,
    "pgp_keys": list,
    "backup": bool,
    "require_verification": bool,
    "nonce": str,
    "key": str,
    "otp": str,
    "pgp_key": str,
}


def logical(raw: RawRequest) -> Request:
    """Translate a request below `/v1/`; raises `RequestError`."""
    path, query_text = targets.split(raw.target)
    if not path.startswith(PREFIX) or path == PREFIX:
        raise RequestError(404)
    _check_headers(raw.headers)
    path = path.removeprefix(PREFIX)
    query = targets.fields(query_text)
    if UNSEAL_KEY_ROUTE.fullmatch(path):
        return _unseal_key_request(raw, path, query)
    verb = _verb(raw, query)
    if path == STEP_DOWN and verb is not Verb.UPDATE:
        raise RequestError(405)
    if verb is Verb.LIST and not path.endswith("/"):
        path += "/"
    data = {}
    if verb in (Verb.UPDATE, Verb.PATCH):
        if path.endswith("/"):
            raise RequestError(400, "cannot write to a path ending in '/'")
        data = bodies.read_logical(raw.body, raw.headers.get("content-type", ""))
    return Request(verb, path, data, query, token(raw.headers))


def token(headers: Mapping[str, str]) -> str:
    """Return the request's token or ""; raises `RequestError` if several were sent.

    Servers join a repeated header with commas, and which of two tokens counts must not be guessed.
    """
    found = headers.get("x-vault-token", "")
    if not found:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        found = credentials.strip() if scheme == "Bearer" else ""
    if "," in found:
        raise RequestError(400, "more than one token was sent")
    return found


def _verb(raw: RawRequest, query: Mapping[str, str]) -> Verb:
    """Return what the request wants; raises `RequestError`."""
    if query.get("help", "") and targets.flag(query["help"]):
        # Ignored, it would answer the secret to somebody who asked what the path is for.
        raise RequestError(404, "this server has no help for its paths")
    verb = VERBS.get(raw.method)
    if verb is None:
        raise RequestError(405)
    if verb is Verb.READ and query.get("list", "") and targets.flag(query["list"]):
        return Verb.LIST
    if verb is Verb.PATCH:
        given = raw.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != MERGE_PATCH:
            raise RequestError(415, f"PATCH requires Content-Type of {MERGE_PATCH}, provided {given}")
    return verb


def _unseal_key_request(raw: RawRequest, path: str, query: Mapping[str, str]) -> Request:
    """Translate a rekey or root-generation request: no token; the body's faults are told in other words."""
    verb = VERBS.get(raw.method)
    is_update_only = path.endswith("/update")
    if verb in (None, Verb.LIST, Verb.PATCH) or (is_update_only and verb is not Verb.UPDATE):
        raise RequestError(405)
    assert verb is not None
    data = {} if verb is Verb.READ else bodies.read_fields(raw.body, UNSEAL_KEY_FIELDS)
    return Request(verb, path, data, query)


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse what this server cannot honour and must not ignore; raises `RequestError`."""
    if headers.get("x-vault-namespace", "") not in ROOT_NAMESPACES:
        raise RequestError(400, "namespaces are not supported")
    if headers.get("x-vault-wrap-ttl", "0") not in ("", "0", "0s"):
        raise RequestError(400, "response wrapping is not supported")
    if headers.get("x-vault-forward", "") == "active-node":
        raise RequestError(400, "forwarding via header X-Vault-Forward disabled in configuration")
    if headers.get("x-vault-inconsistent", "") == "forward-active-node":
        raise RequestError(400, "forwarding via header X-Vault-Inconsistent disabled in configuration")
