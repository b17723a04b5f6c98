import json
from itertools import product

import pytest

from haven.api.ports import RawResponse, Role
from haven.api.settings import ApiSettings
from haven.errors import NotActive, RequestError
from support.fake_node import OTHER, FakeNode, Site

CODES = {
    Role.ACTIVE: ("activecode", 200),
    Role.STANDBY: ("standbycode", 429),
    Role.ACTIVATING: ("standbycode", 429),
    Role.SEALED: ("sealedcode", 503),
    Role.UNINITIALISED: ("uninitcode", 501),
}
PARAMETERS = [
    "activecode",
    "standbycode",
    "sealedcode",
    "uninitcode",
    "drsecondarycode",
    "performancestandbycode",
    "haunhealthycode",
    "removedcode",
]
TRUE = ["1", "t", "T", "true", "TRUE", "True"]
FALSE = ["0", "f", "F", "false", "FALSE", "False"]


@pytest.mark.parametrize(
    ("role", "method", "path"), list(product(CODES, ["GET", "HEAD"], ["/v1/sys/health", "/sys/health"]))
)
async def test_health_tells_each_state_by_its_default_code(role: Role, method: str, path: str) -> None:
    answer = await Site(FakeNode(role)).call(method, path)
    assert answer.status == CODES[role][1]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.body == b"") is (method == "HEAD")


@pytest.mark.parametrize(("role", "parameter"), list(product(CODES, PARAMETERS)))
async def test_each_health_code_overrides_its_own_state_only(role: Role, parameter: str) -> None:
    answer = await Site(FakeNode(role)).call("GET", f"/v1/sys/health?{parameter}=299")
    own, default = CODES[role]
    assert answer.status == (299 if parameter == own else default)


@pytest.mark.parametrize(("role", "text"), list(product(CODES, TRUE + FALSE)))
async def test_standbyok_turns_a_standby_into_an_active_one(role: Role, text: str) -> None:
    answer = await Site(FakeNode(role)).call(
        "GET", f"/v1/sys/health?standbyok={text}&activecode=201&standbycode=202"
    )
    masked = role in (Role.STANDBY, Role.ACTIVATING) and text in TRUE
    expected = {Role.ACTIVE: 201, Role.STANDBY: 202, Role.ACTIVATING: 202}.get(role, CODES[role][1])
    assert answer.status == (201 if masked else expected)


@pytest.mark.parametrize(
    "query",
    [
        *[f"{name}={value}" for name, value in product(PARAMETERS, ["", "ok", "2.5", "0x10", "99", "1000"])],
        *[f"{name}={value}" for name, value in product(["standbyok", "perfstandbyok"], ["", "yes", "tRUE"])],
        "standbyok",
        "activecode=100",
        "activecode=%EF%BC%92%EF%BC%90%EF%BC%90",
    ],
)
async def test_health_refuses_a_bad_parameter_without_a_text(query: str) -> None:
    answer = await Site().call("GET", f"/v1/sys/health?{query}")
    assert (answer.status, answer.json) == (400, {"errors": []})


@pytest.mark.parametrize("query", ["haunhealhty=x", "unknown=&x", "perfstandbyok=true", "deep=1"])
async def test_health_ignores_what_it_does_not_know(query: str) -> None:
    assert (await Site().call("GET", f"/v1/sys/health?{query}")).status == 200


async def test_health_takes_the_first_of_a_repeated_parameter() -> None:
    assert (await Site().call("GET", "/v1/sys/health?activecode=201&activecode=x")).status == 201


@pytest.mark.parametrize("code", [204, 304, 799, 999])
async def test_health_answers_unusual_codes(code: int) -> None:
    answer = await Site().call("GET", f"/v1/sys/health?activecode={code}")
    assert answer.status == code


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "LIST", "OPTIONS", "TRACE", "HELP"])
async def test_health_knows_no_other_verb(method: str) -> None:
    answer = await Site().call(method, "/v1/sys/health")
    assert (answer.status, answer.json) == (405, {"errors": []})


@pytest.mark.parametrize("role", CODES)
async def test_health_body(role: Role) -> None:
    body = (await Site(FakeNode(role), ApiSettings(version="9.9")).call("GET", "/v1/sys/health")).json
    sealed = role in (Role.SEALED, Role.UNINITIALISED)
    assert body.pop("server_time_utc") > 1_700_000_000
    expected = {
        "initialized": role is not Role.UNINITIALISED,
        "sealed": sealed,
        "standby": role is not Role.ACTIVE,
        "performance_standby": False,
        "replication_performance_mode": "unknown" if sealed else "disabled",
        "replication_dr_mode": "unknown" if sealed else "disabled",
        "version": "9.9",
    }
    cluster = {} if sealed else {"cluster_name": "haven-cluster", "cluster_id": "an-id"}
    assert body == expected | cluster


async def test_seal_status_of_a_blank_node() -> None:
    answer = await Site(FakeNode(Role.UNINITIALISED), ApiSettings(version="1", build_date="d")).call(
        "GET", "/v1/sys/seal-status"
    )
    assert answer.status == 200
    assert answer.json == {
        "type": "shamir",
        "initialized": False,
        "sealed": True,
        "t": 0,
        "n": 0,
        "progress": 0,
        "nonce": "",
        "version": "1",
        "build_date": "d",
        "migration": False,
        "recovery_seal": False,
        "storage_type": "consul",
    }


async def test_seal_status_names_the_cluster_when_unsealed() -> None:
    body = (await Site(FakeNode(Role.STANDBY)).call("GET", "/v1/sys/seal-status")).json
    assert (body["t"], body["n"], body["sealed"]) == (3, 5, False)
    assert (body["cluster_name"], body["cluster_id"]) == ("haven-cluster", "an-id")


async def test_leader_on_the_active_node() -> None:
    body = (await Site().call("GET", "/v1/sys/leader")).json
    assert body == {
        "ha_enabled": True,
        "is_self": True,
        "active_time": "2023-11-14T22:13:20.25Z",
        "leader_address": "https://haven-1:8200",
        "leader_cluster_address": "haven-1:8201",
        "performance_standby": False,
        "performance_standby_last_remote_wal": 0,
    }


@pytest.mark.parametrize(("holder", "address"), [(OTHER, OTHER.api_address), (None, "")])
async def test_leader_on_a_standby(holder: object, address: str) -> None:
    node = FakeNode(Role.STANDBY)
    node.become(Role.STANDBY, holder)
    body = (await Site(node).call("GET", "/v1/sys/leader")).json
    assert (body["is_self"], body["leader_address"]) == (False, address)
    assert body["active_time"] == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("role", [Role.SEALED, Role.UNINITIALISED])
async def test_leader_of_a_sealed_node(role: Role) -> None:
    answer = await Site(FakeNode(role)).call("GET", "/v1/sys/leader")
    assert (answer.status, answer.json) == (503, {"errors": ["Vault is sealed"]})
    alone = await Site(FakeNode(role, ha=False)).call("GET", "/v1/sys/leader")
    assert (alone.status, alone.json["ha_enabled"]) == (200, False)


async def test_leader_without_ha_names_nobody() -> None:
    body = (await Site(FakeNode(ha=False)).call("GET", "/v1/sys/leader")).json
    assert (body["ha_enabled"], body["is_self"], body["leader_address"]) == (False, False, "")


@pytest.mark.parametrize("role", CODES)
async def test_init_status(role: Role) -> None:
    answer = await Site(FakeNode(role)).call("GET", "/v1/sys/init")
    assert answer.json == {"initialized": role is not Role.UNINITIALISED}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_init_hands_on_known_fields_in_any_case(method: str) -> None:
    node = FakeNode(Role.UNINITIALISED)
    answer = await Site(node).call(
        method, "/v1/sys/init", {"Secret_Shares": 5, "secret_threshold": 3, "pgp_keys": None, "other": 1}
    )
    assert (answer.status, answer.json) == (200, {"keys": ["k"], "root_token": "t"})
    assert node.calls == [("initialize", {"secret_shares": 5, "secret_threshold": 3})]


async def test_init_passes_a_refusal_on() -> None:
    node = FakeNode()
    node.refusal = RequestError(400, "Vault is already initialized")
    answer = await Site(node).call("PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
    assert (answer.status, answer.json) == (400, {"errors": ["Vault is already initialized"]})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b"1",
        b'"x"',
        b'{"secret_shares":"5"}',
        b'{"secret_shares":true}',
        b'{"secret_shares":5.0}',
        b'{"pgp_keys":[1]}',
        b'{"pgp_keys":"x"}',
        b"\xff",
        b"{} {}",
    ],
)
async def test_init_refuses_a_malformed_body(body: bytes) -> None:
    node = FakeNode(Role.UNINITIALISED)
    answer = await Site(node).call("PUT", "/v1/sys/init", body)
    assert answer.status == 400
    assert answer.json["errors"][0].startswith("failed to parse JSON input: ")
    assert node.calls == []


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "LIST", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["init", "unseal", "seal", "seal-status", "leader", "metrics"])
async def test_local_endpoints_know_no_other_verb(method: str, path: str) -> None:
    answer = await Site().call(method, f"/v1/sys/{path}")
    assert answer.status == 405
    assert answer.body == (b"" if method == "HEAD" else b'{"errors":[]}')


@pytest.mark.parametrize("path", ["unseal", "seal"])
async def test_unseal_and_seal_cannot_be_read(path: str) -> None:
    assert (await Site().call("GET", f"/v1/sys/{path}")).status == 405


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("body", [{"key": "ab", "migrate": False}, {"reset": True}, {"KEY": "ab"}])
async def test_unseal_answers_the_seal_status(method: str, body: dict[str, object]) -> None:
    node = FakeNode(Role.SEALED)
    answer = await Site(node).call(method, "/v1/sys/unseal", body)
    assert (answer.status, answer.json["sealed"], answer.json["t"]) == (200, True, 3)
    assert node.calls == [("unseal", {key.lower(): value for key, value in body.items()})]


@pytest.mark.parametrize("body", [None, {}, {"key": ""}, {"reset": False}, {"key": None}])
async def test_unseal_needs_a_key_or_a_reset(body: object) -> None:
    node = FakeNode(Role.SEALED)
    answer = await Site(node).call("PUT", "/v1/sys/unseal", body)
    assert answer.status == 400
    assert answer.json["errors"] == [
        "'key' must be specified in request body as JSON, or 'reset' set to true"
    ]
    assert node.calls == []


async def test_unseal_knows_no_migration() -> None:
    answer = await Site(FakeNode(Role.SEALED)).call("PUT", "/v1/sys/unseal", {"key": "ab", "migrate": True})
    assert answer.status == 500
    assert "no migration seal found" in answer.json["errors"][0]


async def test_a_malformed_share_is_not_quoted() -> None:
    answer = await Site(FakeNode(Role.SEALED)).call("PUT", "/v1/sys/unseal", b'{"key":"topsecretshare"')
    assert answer.status == 400
    assert b"topsecret" not in answer.body


@pytest.mark.parametrize("role", [Role.SEALED, Role.UNINITIALISED])
async def test_sealing_a_sealed_node_changes_nothing(role: Role) -> None:
    node = FakeNode(role)
    answer = await Site(node).call("PUT", "/v1/sys/seal")
    assert (answer.status, answer.body, node.calls) == (204, b"", [])


@pytest.mark.parametrize("role", [Role.ACTIVE, Role.STANDBY, Role.ACTIVATING])
async def test_sealing_is_local(role: Role) -> None:
    node = FakeNode(role)
    node.become(role, OTHER)
    answer = await Site(node).call("PUT", "/v1/sys/seal", headers={"X-Vault-Token": "root"})
    assert (answer.status, node.calls, node.forwards) == (204, [("seal", "root")], [])


@pytest.mark.parametrize(
    ("refusal", "status", "text"),
    [
        (NotActive("x"), 500, "vault cannot seal when in standby mode; please restart instead"),
        (RequestError(403, "permission denied"), 403, "permission denied"),
    ],
)
async def test_a_refused_seal(refusal: Exception, status: int, text: str) -> None:
    node = FakeNode(Role.STANDBY)
    node.refusal = refusal
    answer = await Site(node).call("PUT", "/v1/sys/seal", headers={"X-Vault-Token": "t"})
    assert (answer.status, answer.json) == (status, {"errors": [text]})


@pytest.mark.parametrize("role", CODES)
async def test_open_metrics_are_this_nodes_own_even_sealed(role: Role) -> None:
    node = FakeNode(role)
    node.become(role, OTHER)
    site = Site(node, ApiSettings(unauthenticated_metrics=True))
    answer = await site.call("GET", "/v1/sys/metrics?format=prometheus")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"haven_build_info" in answer.body
    assert (node.requests, node.forwards) == ([], [])


@pytest.mark.parametrize("query", ["", "?format=", "?format=json"])
async def test_metrics_in_another_format_are_refused(query: str) -> None:
    site = Site(settings=ApiSettings(unauthenticated_metrics=True))
    assert (await site.call("GET", f"/v1/sys/metrics{query}")).status == 400


@pytest.mark.parametrize(
    ("granted", "status"),
    [(["root"], 200), (["read"], 200), (["sudo", "list"], 200), (["list"], 403), (["deny"], 403), ([], 403)],
)
async def test_a_standby_has_the_token_of_a_scrape_checked_and_answers_itself(
    granted: list[str], status: int
) -> None:
    node = FakeNode(Role.STANDBY)
    node.become(Role.STANDBY, OTHER)
    from_holder = json.dumps({"data": {"sys/metrics": granted}}).encode()
    node.forwarder = answering(from_holder)
    answer = await Site(node).call(
        "GET", "/v1/sys/metrics?format=prometheus", headers={"X-Vault-Token": "scraper"}
    )
    assert answer.status == status
    assert (b"haven_build_info" in answer.body) is (status == 200)
    assert node.forwards[0].headers["x-vault-token"] == "scraper"


async def test_a_scrape_with_a_bad_token_gets_the_holders_refusal() -> None:
    node = FakeNode()

    async def refuse(_: object) -> None:
        raise RequestError(403, "permission denied")

    node.handler = refuse
    answer = await Site(node).call("GET", "/v1/sys/metrics?format=prometheus")
    assert (answer.status, answer.json) == (403, {"errors": ["permission denied"]})


def answering(body: bytes) -> object:
    async def forward(_: object) -> RawResponse:
        return RawResponse(200, {"Content-Type": "application/json"}, body)

    return forward
