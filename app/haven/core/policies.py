"""Policies in storage, and what those of a token allow together."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

import orjson

from haven.core.logical import View
from haven.core.policy_acl import Acl
from haven.core.policy_parse import PolicySyntaxError
from haven.core.policy_rules import Rule, parse_policy
from haven.errors import RequestError
from haven.storage.base import Delete, Put

K = TypeVar("K")
V = TypeVar("V")
PREFIX = "sys/policy/"
KEPT = 512
"""How many parsed policies, and how many combinations of them, are kept."""

DEFAULT_POLICY = """\
# What every token may do with itself.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Its own drawer.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Response wrapping, and hashes and random bytes.
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
path "sys/tools/hash" { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }
"""


class PolicyStore:
    """Policies by name. What was parsed is kept by the text's own bytes, so it can never be stale."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rules: OrderedDict[bytes, tuple[Rule, ...]] = OrderedDict()
        self._acls: OrderedDict[tuple[bytes, ...], Acl] = OrderedDict()

    async def names(self) -> list[str]:
        """Return the names of all policies in order, and last `root`, which has no text."""
        return [*sorted(await self._view.list(PREFIX)), "root"]

    async def text(self, name: str) -> str | None:
        """Return a policy's text as it was written, None if there is no such policy."""
        raw = await self._view.get(PREFIX + name)
        return None if raw is None else str(orjson.loads(raw)["policy"])

    async def write(self, name: str, text: str) -> None:
        """Store a policy; raises `RequestError` if its text cannot be read."""
        if name == "root":
            raise RequestError(400, 'cannot update "root" policy')
        try:
            parse_policy(text)
        except PolicySyntaxError as fault:
            raise RequestError(400, f"failed to parse policy: {fault}") from None
        await self._view.commit([Put(PREFIX + name, encode_policy(text))])

    async def delete(self, name: str) -> None:
        """Remove a policy; what is not there is no error."""
        if name == "root":
            raise RequestError(400, 'cannot delete "root" policy')
        if name == "default":
            raise RequestError(400, "cannot delete default policy")
        await self._view.commit([Delete(PREFIX + name)])

    async def acl(self, names: Sequence[str]) -> Acl:
        """Return what these policies allow together; one that does not exist allows nothing."""
        raws = [raw for name in names if (raw := await self._view.get(PREFIX + name)) is not None]
        key = tuple(raws)
        acl = self._acls.get(key)
        if acl is None:
            acl = Acl(rule for raw in raws for rule in self._parsed(raw))
            _keep(self._acls, key, acl)
        return acl

    def _parsed(self, raw: bytes) -> tuple[Rule, ...]:
        rules = self._rules.get(raw)
        if rules is None:
            rules = parse_policy(orjson.loads(raw)["policy"])
            _keep(self._rules, raw, rules)
        return rules


def encode_policy(text: str) -> bytes:
    """Write a policy's text for storage."""
    return orjson.dumps({"policy": text})


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    if len(kept) > KEPT:
        kept.popitem(last=False)
