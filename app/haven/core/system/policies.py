"""`sys/policies/acl` and the older `sys/policy`."""

import base64
import binascii

from haven.core import fields
from haven.core.logical import Request, Response, Verb
from haven.core.policies import PolicyStore
from haven.core.refusals import listing, unsupported_operation
from haven.errors import RequestError, not_found

RULES_DEPRECATED = "'rules' is deprecated, please use 'policy' instead"


class Policies:
    """Read and write policies; their names are case-insensitive."""

    def __init__(self, policies: PolicyStore) -> None:
        self._policies = policies

    async def handle(self, name: str, request: Request) -> Response | None:
        """Answer below `sys/policies/acl`."""
        if not name:
            if request.verb not in {Verb.LIST, Verb.READ}:
                raise unsupported_operation()
            return listing(await self._policies.names(), request)
        return await self._one(name.lower(), request, "policy")

    async def handle_old(self, name: str, request: Request) -> Response | None:
        """Answer below `sys/policy`."""
        if not name:
            if request.verb not in {Verb.LIST, Verb.READ}:
                raise unsupported_operation()
            names = await self._policies.names()
            return Response(data={"keys": names, "policies": names})
        return await self._one(name.lower(), request, "rules")

    async def _one(self, name: str, request: Request, text_field: str) -> Response | None:
        if request.verb is Verb.READ:
            text = "" if name == "root" else await self._policies.text(name)
            if text is None:
                raise not_found()
            return Response(data={"name": name, text_field: text})
        if request.verb is Verb.UPDATE:
            await self._policies.write(name, _text(request))
            return None if request.data.get("policy") else Response(warnings=[RULES_DEPRECATED])
        if request.verb is Verb.DELETE:
            await self._policies.delete(name)
            return None
        raise unsupported_operation()


def _text(request: Request) -> str:
    """Return the policy's text, which may come as base64."""
    text = fields.string(request.data, "policy") or fields.string(request.data, "rules")
    if not text:
        raise RequestError(400, "'policy' parameter not supplied or empty")
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text
