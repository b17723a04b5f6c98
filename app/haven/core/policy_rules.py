"""A policy as rules: which capabilities a path has, and for which parameters. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haven.core.policy_parse import Item, PolicySyntaxError, parse_items
from haven.core.times import parse_duration

CAPABILITIES = {"create", "read", "update", "patch", "delete", "list", "sudo", "deny"}
SHORTHANDS = {
    "deny": {"deny"},
    "read": {"read", "list"},
    "write": {"create", "read", "update", "delete", "list"},
    "sudo": {"create", "read", "update", "delete", "list", "sudo"},
}
DENY = frozenset({"deny"})
KEYS = {
    "capabilities",
    "policy",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "comment",
}

Parameters = Mapping[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one path pattern allows; `path` is without its closing star if `is_prefix`."""

    path: str
    is_prefix: bool
    capabilities: frozenset[str]
    allowed: Parameters = field(default_factory=dict)
    denied: Parameters = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    must_wrap: bool = False
    """Only answers that are wrapped are allowed (`min_wrapping_ttl`, `max_wrapping_ttl`)."""

    @property
    def has_segments(self) -> bool:
        """Tell whether a `+` stands for a whole segment."""
        return "+" in self.path.split("/")

    @property
    def key(self) -> tuple[str, bool]:
        """Return what makes rules of several policies the same rule."""
        return self.path, self.is_prefix

    def merged(self, other: "Rule") -> "Rule":
        """Join two rules of the same path: capabilities add up, and deny wins."""
        capabilities = self.capabilities | other.capabilities
        return Rule(
            self.path,
            self.is_prefix,
            DENY if "deny" in capabilities else capabilities,
            _joined(self.allowed, other.allowed),
            _joined(self.denied, other.denied),
            self.required | other.required,
            self.must_wrap or other.must_wrap,
        )


def parse_policy(text: str) -> tuple[Rule, ...]:
    """Return the rules of a policy; raises `PolicySyntaxError`."""
    rules = []
    for keys, value in parse_items(text):
        if keys[0] == "name" and len(keys) == 1:
            continue
        if keys[0] != "path" or len(keys) != 2 or not _is_block(value):
            raise PolicySyntaxError(f'invalid key "{keys[0]}"')
        # Templates speak of identities, which do not exist here: like an unknown one, no match.
        if "{{" not in keys[1]:
            rules.append(_rule(keys[1], value))
    return tuple(rules)


def _rule(path: str, items: list[Item]) -> Rule:
    bare = path.removeprefix("/")
    if "+*" in bare:
        raise PolicySyntaxError(f"path {path!r}: invalid use of wildcards ('+*' is forbidden)")
    body: dict[str, Any] = {}
    for keys, value in items:
        if len(keys) != 1 or keys[0] not in KEYS:
            raise PolicySyntaxError(f'path "{path}": invalid key "{keys[0]}"')
        body[keys[0]] = value
    return Rule(
        bare.removesuffix("*"),
        bare.endswith("*"),
        _capabilities(path, body),
        _parameters(path, body.get("allowed_parameters")),
        _parameters(path, body.get("denied_parameters")),
        frozenset(str(name).lower() for name in _list(path, body.get("required_parameters"))),
        _must_wrap(path, body),
    )


def _capabilities(path: str, body: Mapping[str, Any]) -> frozenset[str]:
    names = {str(name) for name in _list(path, body.get("capabilities"))}
    if unknown := sorted(names - CAPABILITIES):
        raise PolicySyntaxError(f'path "{path}": invalid capability "{unknown[0]}"')
    if (shorthand := body.get("policy")) is not None:
        if shorthand not in SHORTHANDS:
            raise PolicySyntaxError(f'path "{path}": invalid policy "{shorthand}"')
        names |= SHORTHANDS[shorthand]
    return DENY if "deny" in names else frozenset(names)


def _parameters(path: str, value: object) -> Parameters:
    if value is None:
        return {}
    if not _is_block(value):
        raise PolicySyntaxError(f'path "{path}": parameters must be an object')
    return {keys[0].lower(): _list(path, inner) for keys, inner in _block(value)}


def _must_wrap(path: str, body: Mapping[str, Any]) -> bool:
    try:
        spans = [parse_duration(body.get(name, 0)) for name in ("min_wrapping_ttl", "max_wrapping_ttl")]
    except ValueError:
        raise PolicySyntaxError(f'path "{path}": error parsing a wrapping ttl') from None
    return any(span > 0 for span in spans)


def _list(path: str, value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise PolicySyntaxError(f'path "{path}": expected a list')
    return value


def _is_block(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, tuple) for item in value)


def _block(value: object) -> list[Item]:
    return value if isinstance(value, list) else []


def _joined(left: Parameters, right: Parameters) -> Parameters:
    joined = dict(left)
    for name, values in right.items():
        known = joined.get(name)
        # An empty list stands for every value.
        joined[name] = [] if known == [] or values == [] else [*(known or []), *values]
    return joined
