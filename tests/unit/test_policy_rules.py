import pytest
from hypothesis import given
from hypothesis import strategies as st

from haven.core.policy_acl import Acl
from haven.core.policy_parse import PolicySyntaxError
from haven.core.policy_rules import parse_policy


def acl(*texts: str) -> Acl:
    return Acl(rule for text in texts for rule in parse_policy(text))


def rule(path: str, *capabilities: str) -> str:
    names = ", ".join(f'"{name}"' for name in capabilities)
    return f'path "{path}" {{ capabilities = [{names}] }}\n'


@pytest.mark.parametrize(
    "text",
    [
        'path "secret/*" { capabilities = ["read", "list"] }',
        '# one\n// two\n/* three\n*/ name = "x"\npath "/secret/*" {\n  capabilities = ["read","list",]\n}',
        'path "secret/*" { policy = "read" }',
        'path "secret/*" { capabilities = [\n"read"\n,"list"], comment = "why" }',
        '{"path": {"secret/*": {"capabilities": ["read", "list"]}}}',
        '{"path": [{"secret/*": {"policy": "read"}}], "name": "x"}',
        '"path" "secret/*" { "capabilities" = ["read", "list"] }',
        'path "secret/*" { capabilities = ["read"] }\npath "secret/*" { capabilities = ["list"] }',
        'path "secret/*" { capabilities = ["read", "list"] comment = <<EOT\n} "\nEOT\n}',
    ],
)
def test_the_same_policy_in_many_spellings(text: str) -> None:
    assert acl(text).capabilities("secret/foo") == ["list", "read"]
    assert acl(text).capabilities("other") == ["deny"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('path "a" { capabilities = ["reed"] }', 'path "a": invalid capability "reed"'),
        ('path "a" { policy = "all" }', 'path "a": invalid policy "all"'),
        ('path "a" { capability = ["read"] }', 'path "a": invalid key "capability"'),
        ('paths "a" { capabilities = ["read"] }', 'invalid key "paths"'),
        ('path "a/+*" { capabilities = ["read"] }', "path 'a/+*': invalid use of wildcards"),
        ('path "a" {\n capabilities = ["read"]', "line 2: expected \"}\", found 'the end'"),
        ('path "a" }', 'line 1: expected "=" or "{", found \'}\''),
        ('path "a" { capabilities = "read" }', 'path "a": expected a list'),
        ("path \"a\" { capabilities = ['read'] }", 'line 1: unexpected "\'"'),
        ('path "a" = "b"', 'line 1: expected "="'),
        ('path "a" { allowed_parameters = ["x"] }', "parameters must be an object"),
        ('path "a" { min_wrapping_ttl = "soon" }', "error parsing a wrapping ttl"),
        ("{not json", "invalid JSON"),
        ('{"path": ["a"]}', '"path" must hold objects'),
        ("path " * 3 + "{ x = " + "[" * 100, "nested too deeply"),
    ],
)
def test_a_faulty_policy_is_refused_and_told_why(text: str, fault: str) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        parse_policy(text)
    assert fault in str(caught.value)


@given(st.text(alphabet='path "{}[]=,#/*\\\nab', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_policy(text)
    except PolicySyntaxError:
        return


def test_templates_match_nothing() -> None:
    one = acl(rule("secret/{{identity.entity.id}}/*", "read"))
    assert one.capabilities("secret/{{identity.entity.id}}/x") == ["deny"]


def test_deny_wins_over_all_other_policies() -> None:
    both = acl(rule("secret/a", "read", "sudo"), rule("secret/a", "deny", "update"))
    assert both.capabilities("secret/a") == ["deny"]
    assert acl(rule("a", "read", "deny")).capabilities("a") == ["deny"]


def test_capabilities_of_the_same_path_add_up_and_those_of_others_do_not() -> None:
    both = acl(rule("secret/*", "read"), rule("secret/*", "update"), rule("secret/a", "list"))
    assert both.capabilities("secret/b") == ["read", "update"]
    assert both.capabilities("secret/a") == ["list"]


@pytest.mark.parametrize(
    ("weaker", "stronger", "path"),
    [
        ("secret/*", "secret/foo/*", "secret/foo/bar"),
        ("secret/+/bar", "secret/foo/*", "secret/foo/bar"),
        ("secret/+/*", "secret/+/bar", "secret/foo/bar"),
        ("secret/+/+", "secret/+/bar", "secret/foo/bar"),
        ("secret/+/*", "secret/foo/*", "secret/foo/bar"),
        ("secret/foo/*", "secret/foo/bar", "secret/foo/bar"),
        ("+/foo/bar", "secret/+/bar", "secret/foo/bar"),
        ("secret/*", "secret/+/bar", "secret/foo/bar"),
    ],
)
def test_precedence(weaker: str, stronger: str, path: str) -> None:
    for order in ([weaker, stronger], [stronger, weaker]):
        texts = [rule(p, "update" if p == stronger else "read") for p in order]
        assert acl(*texts).capabilities(path) == ["update"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/b/c", False),
        ("a/+/c", "a/b/c/d", False),
        ("a/+/c*", "a/b/cd/e", True),
        ("a/+/*", "a/b/", True),
        ("a/+/*", "a/b", False),
        ("+", "a", True),
        ("+", "a/b", False),
        ("a+", "ab", False),
        ("a*", "abc/d", True),
        ("a*b", "axb", False),
        ("*", "anything/at/all", True),
        ("a/b", "a/b/", False),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert (acl(rule(pattern, "read")).capabilities(path) == ["read"]) is matches


def test_a_list_also_takes_the_rule_of_the_path_without_its_slash() -> None:
    one = acl(rule("secret/metadata", "list"))
    assert one.rule("secret/metadata/") is None
    assert one.rule("secret/metadata/", is_list=True) is not None


@pytest.mark.parametrize(
    ("extra", "parameters", "passes"),
    [
        ('allowed_parameters = { "a" = [] }', {"A": 1}, True),
        ('allowed_parameters = { "a" = [] }', {"a": 1, "b": 2}, False),
        ('allowed_parameters = { "a" = ["x", "y*"] }', {"a": "yes"}, True),
        ('allowed_parameters = { "a" = ["x"] }', {"a": "z"}, False),
        ('allowed_parameters = { "a" = [1] }', {"a": True}, False),
        ('allowed_parameters = { "a" = ["x"], "*" = [] }', {"a": "x", "b": 1}, True),
        ('allowed_parameters = { "a" = ["x"], "*" = [] }', {"a": "z"}, False),
        ('denied_parameters = { "a" = [] }', {"a": 1}, False),
        ('denied_parameters = { "a" = ["x"] }', {"a": "y"}, True),
        ('denied_parameters = { "*" = [] }', {"z": 1}, False),
        ('denied_parameters = { "*" = [] }', {}, True),
        ('required_parameters = ["a"]', {"a": 1}, True),
        ('required_parameters = ["a"]', {}, False),
        ('max_wrapping_ttl = "90s"', {"a": 1}, False),
        ("min_wrapping_ttl = 0", {"a": 1}, True),
    ],
)
def test_parameters(extra: str, parameters: dict[str, object], passes: bool) -> None:
    one = acl(f'path "a" {{ capabilities = ["update"]\n {extra} }}')
    assert one.allows(one.rule("a"), "update", parameters) is passes


def test_a_second_policy_does_not_lift_the_limits_of_the_first() -> None:
    limited = 'path "a" { capabilities = ["update"] allowed_parameters = { "x" = [] } }'
    both = acl(limited, rule("a", "update"))
    assert not both.allows(both.rule("a"), "update", {"y": 1})


@pytest.mark.parametrize(
    ("pattern", "mount", "reaches"),
    [
        ("secret/data/a", "secret/", True),
        ("secret/*", "secret/", True),
        ("*", "secret/", True),
        ("sec*", "secret/", True),
        ("+/data/a", "secret/", True),
        ("other/data/a", "secret/", False),
        ("secretive/a", "secret/", False),
        ("secret", "secret/", False),
        ("auth/+/login", "auth/x/", True),
    ],
)
def test_which_mounts_a_token_sees(pattern: str, mount: str, reaches: bool) -> None:
    assert acl(rule(pattern, "read")).reaches(mount) is reaches
    assert acl(rule(pattern, "deny")).reaches(mount) is False
