import logging
from typing import Any

import pytest

from haven.api.ports import Role
from haven.core.logical import Request, Response, Verb
from haven.errors import RequestError, ValueTooLarge
from support.fake_node import FakeNode, Site, failing

JSON = {"Content-Type": "application/json"}
PATCH = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def logical(method: str, target: str, body: Any = None, headers: Any = None) -> Request:
    """Send a request to an active node and return what reached it."""
    node = FakeNode()
    answer = await Site(node).call(method, target, body, headers)
    assert answer.status == 200, answer.body
    (request,) = node.requests
    return request


async def refused(method: str, target: str, body: Any = None, headers: Any = None) -> tuple[int, Any]:
    """Send a request that must not reach the node and return the refusal."""
    node = FakeNode()
    answer = await Site(node).call(method, target, body, headers)
    assert (node.requests, node.calls, node.forwards) == ([], [], [])
    assert answer.headers["cache-control"] == "no-store"
    return answer.status, answer.json["errors"]


async def rendered(response: Response | None, method: str = "GET", path: str = "secret/a") -> Any:
    node = FakeNode()

    async def give(_: Request) -> Response | None:
        return response

    node.handler = give
    headers = PATCH if method == "PATCH" else None
    return await Site(node).call(method, f"/v1/{path}", None, headers)


async def test_who_asks_for_help_is_not_given_the_secret() -> None:
    status, texts = await refused("GET", "/v1/secret/a?help=1")
    assert (status, texts) == (404, ["this server has no help for its paths"])
    assert (await logical("GET", "/v1/secret/a?help=0")).path == "secret/a"


@pytest.mark.parametrize(
    ("method", "query", "verb", "path"),
    [
        ("GET", "", Verb.READ, "secret/a"),
        ("GET", "?list=true", Verb.LIST, "secret/a/"),
        ("GET", "?list=1", Verb.LIST, "secret/a/"),
        ("GET", "?list=false", Verb.READ, "secret/a"),
        ("GET", "?list=", Verb.READ, "secret/a"),
        ("LIST", "", Verb.LIST, "secret/a/"),
        ("POST", "", Verb.UPDATE, "secret/a"),
        ("PUT", "", Verb.UPDATE, "secret/a"),
        ("POST", "?list=true", Verb.UPDATE, "secret/a"),
        ("PATCH", "", Verb.PATCH, "secret/a"),
        ("DELETE", "", Verb.DELETE, "secret/a"),
    ],
)
async def test_verbs(method: str, query: str, verb: Verb, path: str) -> None:
    request = await logical(method, f"/v1/secret/a{query}", headers=PATCH if method == "PATCH" else None)
    assert (request.verb, request.path) == (verb, path)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "HELP", "BREW", "get"])
async def test_other_verbs(method: str) -> None:
    answer = await Site().call(method, "/v1/secret/a")
    assert answer.status == 405
    assert answer.body == (b"" if method == "HEAD" else b'{"errors":[]}')


async def test_a_list_parameter_that_is_no_boolean() -> None:
    assert await refused("GET", "/v1/secret/a?list=maybe") == (400, [])


@pytest.mark.parametrize("content_type", ["application/json", "", "application/merge-patch", "text/plain"])
async def test_patch_needs_its_content_type(content_type: str) -> None:
    status, texts = await refused("PATCH", "/v1/secret/a", {"a": 1}, {"Content-Type": content_type})
    assert status == 415
    assert texts[0].startswith("PATCH requires Content-Type of application/merge-patch+json")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/secret/a%2Fb", "secret/a/b"),
        ("/v1/secret/a%2fb", "secret/a/b"),
        ("/v1/secret/a%252Fb", "secret/a%2Fb"),
        ("/v1/secret/%C3%A4", "secret/ä"),
        ("/v1/secret/\xc3\xa4", "secret/ä"),
        ("/v1/secret/a%20b+c", "secret/a b+c"),
        ("/v1/secret/a..b", "secret/a..b"),
        ("/v1/secret/...", "secret/..."),
        ("/v1/secret/a/", "secret/a/"),
        ("/v1/secret/a%3Fb", "secret/a?b"),
        ("/v1/sys/health/", "sys/health/"),
    ],
)
async def test_paths_are_decoded_once(target: str, path: str) -> None:
    assert (await logical("GET", target)).path == path


@pytest.mark.parametrize(
    "path",
    [
        "%ff",
        "%fe",
        "%C3",
        "%ED%A0%80",
        "%C0%AF",
        "\xff",
        "%",
        "%2",
        "%zz",
        "a%00",
        "%0a",
        "%7f",
        "%C2%A0",
        "%E2%80%AE",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "LIST", "DELETE"])
async def test_paths_that_could_alias_or_hide_are_refused(path: str, method: str) -> None:
    status, texts = await refused(method, f"/v1/secret/{path}")
    assert status == 400
    assert texts[0].startswith("path ")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/v1/secret//a", "/v1/secret/a"),
        ("/v1//secret/a", "/v1/secret/a"),
        ("//v1/secret/a", "/v1/secret/a"),
        ("/v1/secret/./a", "/v1/secret/a"),
        ("/v1/secret/../sys/mounts", "/v1/sys/mounts"),
        ("/v1/secret/%2e%2e/sys/mounts", "/v1/sys/mounts"),
        ("/v1/secret/a%2F..%2Fb", "/v1/secret/b"),
        ("/v1/secret/..", "/v1"),
        ("/v1/secret/a//?version=1&x=%20", "/v1/secret/a/?version=1&x=%20"),
        ("/v1/../../..", "/"),
        ("//evil.example/..", "/"),
        ("//evil.example", "/evil.example"),
        ("/v1/a//%C3%A4 b", "/v1/a/%C3%A4%20b"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "LIST"])
async def test_untidy_paths_are_redirected_and_never_executed(
    target: str, location: str, method: str
) -> None:
    node = FakeNode()
    answer = await Site(node).call(method, target, b"")
    assert (answer.status, answer.body, answer.headers["location"]) == (301, b"", location)
    assert (node.requests, node.forwards) == ([], [])


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_write_to_a_path_with_a_slash_at_its_end(method: str) -> None:
    assert await refused(method, "/v1/secret/a/", {"a": 1}) == (400, ["cannot write to a path ending in '/'"])


@pytest.mark.parametrize("target", ["/", "/v1", "/v2/secret", "/ui", "/metrics", "/sys/seal-status", "/v1/"])
async def test_paths_of_no_api(target: str) -> None:
    assert await refused("GET", target) == (404, [])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?version=3", {"version": "3"}),
        ("?a=1&a=2", {"a": "1"}),
        ("?a", {"a": ""}),
        ("?a=x+y%2Bz", {"a": "x y+z"}),
        ("?help=0&unknown=2", {"help": "0", "unknown": "2"}),
        ("?", {}),
    ],
)
async def test_queries(query: str, expected: dict[str, str]) -> None:
    assert (await logical("GET", f"/v1/secret/a{query}")).query == expected


async def test_a_query_that_is_not_utf8() -> None:
    assert (await refused("GET", "/v1/secret/a?x=%ff"))[0] == 400


async def test_a_query_of_too_many_fields() -> None:
    assert (await refused("GET", "/v1/secret/a?" + "&".join(["a=1"] * 500)))[0] == 400


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("headers", [None, JSON, {"Content-Type": "text/plain"}, FORM])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", {}),
        (b"  \n", {}),
        (b"null", {}),
        (b"{}", {}),
        (b' {"a": {"b": [1, null, true, "x"]}}', {"a": {"b": [1, None, True, "x"]}}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        (b'{"n": 1.5, "m": -0.0, "e": 1e3}', {"n": 1.5, "m": 0.0, "e": 1000.0}),
    ],
)
async def test_json_bodies(method: str, headers: Any, body: bytes, expected: dict[str, Any]) -> None:
    assert (await logical(method, "/v1/secret/a", body, headers)).data == expected


async def test_long_numbers_come_back_as_they_went() -> None:
    node = FakeNode()

    async def give_back(request: Request) -> Response:
        return Response(data=request.data)

    node.handler = give_back
    answer = await Site(node).call("PUT", "/v1/secret/a", b'{"n":18446744073709551617,"s":"\xc3\xa4"}')
    assert b'"n":18446744073709551617,"s":"\xc3\xa4"' in answer.body


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'"x"',
        b"1",
        b"true",
        b"{} {}",
        b'{"a":1}x',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":01}',
        b'{"n":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"a":' * 50000 + b"1" + b"}" * 50000,
        b"[" * 100000,
        b"\xef\xbb\xbf{}",
    ],
)
async def test_malformed_json(body: bytes) -> None:
    assert await refused("PUT", "/v1/secret/a", body, JSON) == (400, ["error parsing JSON"])


async def test_wide_json_is_not_deep() -> None:
    body = {"a": [[] for _ in range(5000)]}
    assert (await logical("PUT", "/v1/secret/a", body)).data == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=1&b=x+y%20z", {"a": "1", "b": "x y z"}),
        (b"a=1&a=2", {"a": ["1", "2"]}),
        (b"a=&b=1", {"b": "1"}),
        (b' {"a":1}', {"a": 1}),
    ],
)
@pytest.mark.parametrize("content_type", [FORM["Content-Type"], "Application/X-WWW-Form-URLencoded; q=1"])
async def test_forms(body: bytes, expected: dict[str, Any], content_type: str) -> None:
    request = await logical("PUT", "/v1/secret/a", body, {"Content-Type": content_type})
    assert request.data == expected


@pytest.mark.parametrize("body", [b"a=%ff", b"\xff=1", b' ["a"]'])
async def test_malformed_forms(body: bytes) -> None:
    assert await refused("PUT", "/v1/secret/a", body, FORM) == (400, ["error parsing JSON"])


@pytest.mark.parametrize("method", ["GET", "LIST", "DELETE"])
async def test_bodies_of_verbs_without_one_are_ignored(method: str) -> None:
    assert (await logical(method, "/v1/secret/a", b"{not json", JSON)).data == {}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"X-Vault-Token": "hvs.a"}, "hvs.a"),
        ({"Authorization": "Bearer hvs.b"}, "hvs.b"),
        ({"X-Vault-Token": "hvs.a", "Authorization": "Bearer hvs.b"}, "hvs.a"),
        ({"Authorization": "Basic abc"}, ""),
        ({"Authorization": "bearer hvs.b"}, ""),
    ],
)
async def test_tokens(headers: dict[str, str], expected: str) -> None:
    request = await logical("GET", "/v1/secret/a", headers=headers)
    assert request.token == expected
    assert "hvs" not in repr(request)


@pytest.mark.parametrize("headers", [{"X-Vault-Token": "a,b"}, {"Authorization": "Bearer a, Bearer b"}])
async def test_two_tokens_are_refused(headers: dict[str, str]) -> None:
    assert await refused("GET", "/v1/secret/a", headers=headers) == (400, ["more than one token was sent"])


async def test_a_token_sent_twice_is_refused_also_where_the_server_does_not_join() -> None:
    node = FakeNode()
    answer = await Site(node).exchange(
        "GET",
        "/v1/secret/a",
        [(b"x-vault-token", b"a"), (b"X-Vault-Token", b"b")],
        [{"type": "http.request"}],
    )
    assert (answer.status, node.requests) == (400, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Vault-Namespace", "team-a"),
        ("X-Vault-Wrap-TTL", "60"),
        ("X-Vault-Wrap-TTL", "5m"),
        ("X-Vault-Wrap-TTL", "-1"),
        ("X-Vault-Wrap-TTL", "soon"),
        ("X-Vault-Forward", "active-node"),
        ("X-Vault-Inconsistent", "forward-active-node"),
    ],
)
async def test_what_cannot_be_honoured_is_not_ignored(name: str, value: str) -> None:
    assert (await refused("GET", "/v1/secret/a", headers={name: value}))[0] == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Vault-Namespace", ""),
        ("X-Vault-Namespace", "root"),
        ("X-Vault-Wrap-TTL", "0"),
        ("X-Vault-Request", "true"),
        ("X-Vault-Forward", "x"),
        ("X-Vault-Inconsistent", "x"),
        ("X-Vault-Index", "x"),
    ],
)
async def test_headers_without_effect(name: str, value: str) -> None:
    assert (await logical("GET", "/v1/secret/a", headers={name: value})).path == "secret/a"


async def test_the_envelope_has_every_key_in_order() -> None:
    answer = await rendered(Response(data={"k": "v"}, warnings=["w"], lease_duration=60))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert list(answer.json.items()) == [
        ("request_id", "an-id"),
        ("lease_id", ""),
        ("renewable", False),
        ("lease_duration", 60),
        ("data", {"k": "v"}),
        ("wrap_info", None),
        ("warnings", ["w"]),
        ("auth", None),
    ]


async def test_auth_in_the_envelope() -> None:
    body = (await rendered(Response(auth={"client_token": "t"}), "PUT")).json
    assert (body["auth"], body["data"], body["warnings"]) == ({"client_token": "t"}, None, None)


@pytest.mark.parametrize("status", [200, 202, 400, 404])
async def test_a_result_may_have_another_status(status: int) -> None:
    answer = await rendered(Response(data={"k": "v"}, status=status))
    assert (answer.status, answer.json["data"]) == (status, {"k": "v"})


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("response", [None, Response(status=204)])
async def test_no_result_of_a_write_is_204(method: str, response: Response | None) -> None:
    answer = await rendered(response, method)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("GET", None),
        ("LIST", None),
        ("LIST", Response()),
        ("LIST", Response(data={})),
        ("LIST", Response(data={"keys": []})),
        ("LIST", Response(data={"keys": None})),
    ],
)
async def test_nothing_found_is_404(method: str, response: Response | None) -> None:
    answer = await rendered(response, method)
    assert (answer.status, answer.json) == (404, {"errors": []})


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("GET", Response(data={})),
        ("GET", Response(warnings=["w"])),
        ("LIST", Response(warnings=["w"])),
        ("LIST", Response(data={"keys": ["a"]})),
        ("LIST", Response(data={"key_info": {}})),
        ("PUT", Response(warnings=["w"])),
    ],
)
async def test_something_found_is_200(method: str, response: Response) -> None:
    assert (await rendered(response, method)).status == 200


INJECTED = [
    ("GET", "sys/audit"),
    ("GET", "sys/auth"),
    ("GET", "sys/auth/token/tune"),
    ("GET", "sys/mounts"),
    ("LIST", "sys/mounts"),
    ("GET", "sys/mounts/secret/tune"),
    ("GET", "sys/policy"),
    ("GET", "sys/policy/default"),
    ("PUT", "sys/audit-hash/file"),
    ("GET", "sys/config/cors"),
    ("GET", "sys/config/auditing/request-headers/x"),
    ("PUT", "sys/capabilities"),
    ("PUT", "sys/capabilities-self"),
    ("PUT", "sys/capabilities-accessor"),
    ("GET", "sys/ha-status"),
    ("GET", "sys/key-status"),
    ("GET", "sys/rekey/backup"),
    ("GET", "sys/rekey/recovery-key-backup"),
    ("PUT", "sys/remount"),
    ("PUT", "sys/rotate"),
    ("PUT", "sys/wrapping/wrap"),
    ("GET", "sys/rotate/root/backup"),
    ("GET", "sys/rotate/keyring"),
]
PLAIN = [
    ("GET", "secret/sys/mounts"),
    ("GET", "sys/policies/acl/default"),
    ("GET", "sys/mountsx"),
    ("GET", "sys/remount/status/1"),
    ("GET", "sys/rotate/config"),
    ("GET", "sys/internal/ui/mounts"),
    ("GET", "auth/token/lookup-self"),
]


@pytest.mark.parametrize(("method", "path"), INJECTED)
async def test_data_of_old_routes_is_at_the_top_too(method: str, path: str) -> None:
    body = (await rendered(Response(data={"k": "v", "request_id": "shadow"}), method, path)).json
    assert body["k"] == body["data"]["k"] == "v"
    assert body["request_id"] == "an-id"


@pytest.mark.parametrize(("method", "path"), PLAIN)
async def test_data_of_other_routes_is_not(method: str, path: str) -> None:
    body = (await rendered(Response(data={"k": "v"}), method, path)).json
    assert "k" not in body
    assert body["data"] == {"k": "v"}


UNSEAL_KEY_ROUTES = [
    *[
        f"sys/{kind}/{name}"
        for kind in ("rekey", "rekey-recovery-key")
        for name in ("init", "verify", "update")
    ],
    "sys/generate-root/attempt",
    "sys/generate-root/update",
]


@pytest.mark.parametrize("path", UNSEAL_KEY_ROUTES)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "LIST", "PATCH"])
async def test_routes_of_unseal_keys(path: str, method: str) -> None:
    node = FakeNode()
    answer = await Site(node).call(method, f"/v1/{path}", {"Nonce": "n", "other": 1}, {"X-Vault-Token": "t"})
    writes_only = path.endswith("/update")
    if method in ("LIST", "PATCH") or (writes_only and method in ("GET", "DELETE")):
        assert (answer.status, answer.json, node.requests) == (405, {"errors": []}, [])
        return
    verbs = {"GET": Verb.READ, "PUT": Verb.UPDATE, "POST": Verb.UPDATE, "DELETE": Verb.DELETE}
    data = {} if method == "GET" else {"nonce": "n"}
    assert node.requests == [Request(verbs[method], path, data)]
    assert (answer.status, answer.json) == (200, {"path": path})


async def test_routes_of_unseal_keys_say_how_a_body_is_malformed() -> None:
    status, texts = await refused("PUT", "/v1/sys/rekey/init", b"{")
    assert (status, texts) == (400, ["failed to parse JSON input: invalid JSON"])
    status, texts = await refused("PUT", "/v1/sys/generate-root/update", {"key": 5})
    assert (status, texts) == (400, ["failed to parse JSON input: key must be a string"])


async def test_cancelling_a_rekey_is_204() -> None:
    assert (await rendered(None, "DELETE", "sys/rekey/init")).status == 204


@pytest.mark.parametrize(
    ("error", "status", "texts"),
    [
        (RequestError(403, "permission denied"), 403, ["permission denied"]),
        (RequestError(404), 404, []),
        (RequestError(405, "unsupported operation"), 405, ["unsupported operation"]),
        (RequestError(400, "a", "b"), 400, ["a", "b"]),
        (RequestError(429, "quota"), 429, ["quota"]),
        (RequestError(400, "error: Vault is sealed"), 503, ["error: Vault is sealed"]),
        (ValueTooLarge(512), 413, ["value exceeds the storage limit of 512 bytes"]),
        (ValueError("s3cret"), 500, ["internal error"]),
        (TypeError("s3cret"), 500, ["internal error"]),
    ],
)
async def test_errors(
    error: Exception, status: int, texts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    node = FakeNode()
    node.handler = failing(error)
    with caplog.at_level(logging.DEBUG):
        answer = await Site(node).call("PUT", "/v1/secret/a", {"a": "s3cret"}, {"X-Vault-Token": "s3cret"})
    assert (answer.status, answer.json) == (status, {"errors": texts})
    assert answer.headers["content-type"] == "application/json"
    assert len(node.requests) == 1
    assert "s3cret" not in caplog.text
    if status == 500:
        assert f"error={type(error).__name__} at=" in caplog.text


async def test_a_value_that_no_json_can_hold_is_an_internal_error() -> None:
    answer = await rendered(Response(data={"k": object()}))
    assert (answer.status, answer.json) == (500, {"errors": ["internal error"]})


async def test_a_sealed_node_says_so_before_it_looks_at_the_request() -> None:
    answer = await Site(FakeNode(Role.SEALED)).call("PUT", "/v1/secret/a", b"{", {"X-Vault-Token": "a,b"})
    assert (answer.status, answer.json) == (503, {"errors": ["Vault is sealed"]})
