"""What several policies together allow on a path: Vault's rules of precedence. Pure."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from haven.core.policy_rules import Parameters, Rule

WITH_PARAMETERS = {"create", "read", "update", "patch"}


class Acl:
    """The rules of a token's policies, merged; a path that no rule matches is denied."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        merged: dict[tuple[str, bool], Rule] = {}
        for rule in rules:
            known = merged.get(rule.key)
            merged[rule.key] = rule if known is None else known.merged(rule)
        self._exact = {
            rule.path: rule for rule in merged.values() if not rule.is_prefix and not rule.has_segments
        }
        globs = [rule for rule in merged.values() if rule.is_prefix or rule.has_segments]
        # The first one that matches is the one that counts.
        self._globs = sorted(globs, key=_priority, reverse=True)

    def rule(self, path: str, *, is_list: bool = False) -> Rule | None:
        """Return the rule that decides on a path."""
        found = self._exact.get(path)
        if found is None and is_list:
            found = self._exact.get(path.removesuffix("/"))
        if found is not None:
            return found
        return next((rule for rule in self._globs if _matches(rule, path)), None)

    def capabilities(self, path: str) -> list[str]:
        """Return what may be done at a path, sorted; `deny` stands for nothing."""
        rule = self.rule(path)
        if rule is None or not rule.capabilities:
            return ["deny"]
        return sorted(rule.capabilities)

    def allows(self, rule: Rule | None, capability: str, parameters: Mapping[str, Any]) -> bool:
        """Tell whether the rule grants the capability for these parameters."""
        if rule is None or capability not in rule.capabilities or rule.must_wrap:
            return False
        return capability not in WITH_PARAMETERS or _parameters_pass(rule, parameters)

    def reaches(self, mount: str) -> bool:
        """Tell whether anything at or below a mount's path is allowed."""
        rules = [*self._exact.values(), *self._globs]
        return any("deny" not in rule.capabilities and _reaches(rule, mount) for rule in rules)


def _priority(rule: Rule) -> tuple[int, bool, int, int, str]:
    """Order globs as Vault does: a later first wildcard wins, then no star, fewer pluses, greater length."""
    plain = rule.path.split("/")
    first = len(rule.path)
    if "+" in plain:
        first = len("/".join(plain[: plain.index("+")])) + (plain.index("+") > 0)
    return first, not rule.is_prefix, -plain.count("+"), len(rule.path), rule.path


def _matches(rule: Rule, path: str) -> bool:
    if not rule.has_segments:
        return path.startswith(rule.path)
    wanted, given = rule.path.split("/"), path.split("/")
    if len(given) < len(wanted) or (len(given) > len(wanted) and not rule.is_prefix):
        return False
    pairs = list(zip(wanted, given, strict=False))
    last_wanted, last_given = pairs.pop()
    if not all(want in ("+", have) for want, have in pairs):
        return False
    if rule.is_prefix:
        return last_given.startswith(last_wanted)
    return last_wanted in ("+", last_given)


def _reaches(rule: Rule, mount: str) -> bool:
    if rule.is_prefix and not rule.has_segments and mount.startswith(rule.path):
        return True
    wanted, given = rule.path.split("/"), mount.removesuffix("/").split("/")
    if len(wanted) <= len(given):
        return rule.is_prefix and _matches(rule, mount)
    return all(want in ("+", have) for want, have in zip(wanted, given, strict=False))


def _parameters_pass(rule: Rule, parameters: Mapping[str, Any]) -> bool:
    given = {name.lower(): value for name, value in parameters.items()}
    if not rule.required <= given.keys():
        return False
    if not given:
        return True
    if "*" in rule.denied or any(_lists(rule.denied, name, value) for name, value in given.items()):
        return False
    if not rule.allowed:
        return True
    return all(
        _lists(rule.allowed, name, value) if name in rule.allowed else "*" in rule.allowed
        for name, value in given.items()
    )


def _lists(parameters: Parameters, name: str, value: object) -> bool:
    """Tell whether the value is among those listed for the name; an empty list has them all."""
    if name not in parameters:
        return False
    values = parameters[name]
    if not values:
        return True
    return any(_equal(listed, value) for listed in values)


def _equal(listed: object, value: object) -> bool:
    if isinstance(listed, str) and isinstance(value, str) and "*" in listed:
        pattern = listed.replace("[", "[[]").replace("?", "[?]")
        return fnmatchcase(value, pattern)
    return type(listed) is type(value) and listed == value
