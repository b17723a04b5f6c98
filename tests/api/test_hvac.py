"""The unmodified Python client `hvac`, against one node alone and against a standby of a cluster."""

import base64
import secrets
from collections.abc import Iterator

import hvac
import pytest
import requests
from hvac import exceptions

from api.conftest import Unsealed
from support.native_cluster import NativeCluster, NativeNode, until

READER = 'path "secret/data/*" { capabilities = ["read"] }'


@pytest.fixture(params=["alone", "standby"])
def client(request: pytest.FixtureRequest) -> hvac.Client:
    """A client with a root token."""
    if request.param == "alone":
        node: Unsealed = request.getfixturevalue("dev_node")
        return hvac.Client(node.address, node.token)
    cluster: NativeCluster = request.getfixturevalue("cluster")
    return hvac.Client(cluster.standby().address, cluster.token)


@pytest.fixture
def mount(client: hvac.Client) -> Iterator[str]:
    """A place where nothing is mounted yet; what a test mounts there goes with it."""
    path = f"m-{secrets.token_hex(4)}"
    yield path
    client.sys.disable_secrets_engine(path)


def test_initialise_unseal_and_seal(fresh_node: NativeNode) -> None:
    client = hvac.Client(fresh_node.address)
    assert client.sys.is_initialized() is False
    assert client.sys.read_health_status().status_code == 501
    made = client.sys.initialize(secret_shares=3, secret_threshold=2)
    assert (len(made["keys"]), len(made["keys_base64"])) == (3, 3)
    assert client.sys.is_initialized()
    assert client.sys.is_sealed()
    assert client.sys.read_health_status().status_code == 503
    with pytest.raises(exceptions.VaultDown):
        client.secrets.kv.v2.read_secret("a", raise_on_deleted_version=False)
    assert client.sys.submit_unseal_key(made["keys"][0])["progress"] == 1
    assert client.sys.submit_unseal_key(reset=True)["progress"] == 0
    assert client.sys.submit_unseal_keys(made["keys_base64"][1:])["sealed"] is False
    with pytest.raises(exceptions.InvalidRequest):
        client.sys.initialize(1, 1)
    client.token = made["root_token"]
    until(client.is_authenticated, "the node is active")

    _generate_root(client, made["keys"][:2])
    keys = _rekey(client, made["keys"][:2])

    assert client.sys.seal().status_code == 204
    assert client.sys.read_seal_status()["sealed"] is True
    assert client.seal_status["t"] == 1
    client.sys.submit_unseal_key(keys[0])
    until(client.is_authenticated, "the node is active")


def _generate_root(client: hvac.Client, keys: list[str]) -> None:
    attempt = client.sys.start_root_token_generation()
    client.sys.cancel_root_generation()
    attempt = client.sys.start_root_token_generation()
    assert client.sys.read_root_generation_progress()["started"]
    for key in keys:
        answer = client.sys.generate_root(key, attempt["nonce"])
    assert answer["complete"]
    encoded = base64.b64decode(answer["encoded_root_token"] + "==")
    token = bytes(a ^ b for a, b in zip(encoded, attempt["otp"].encode(), strict=True)).decode()
    assert hvac.Client(client.url, token).lookup_token()["data"]["policies"] == ["root"]


def _rekey(client: hvac.Client, keys: list[str]) -> list[str]:
    client.sys.start_rekey(secret_shares=2, secret_threshold=2)
    client.sys.cancel_rekey()
    nonce = client.sys.start_rekey(secret_shares=1, secret_threshold=1, require_verification=True)["nonce"]
    assert client.sys.read_rekey_progress()["started"]
    answer = client.sys.rekey_multi(keys, nonce=nonce)
    verified = client.sys.rekey_verify(answer["keys"][0], answer["verification_nonce"])
    assert verified["complete"]
    with pytest.raises(exceptions.InvalidRequest):
        client.sys.read_backup_keys()
    return list(answer["keys"])


def test_health_and_leader(client: hvac.Client) -> None:
    leader = client.sys.read_leader_status()
    code = 200 if not leader["ha_enabled"] else 429
    assert client.sys.read_health_status().status_code == code
    body = client.sys.read_health_status(method="GET")
    health = body.json() if isinstance(body, requests.Response) else body
    assert (health["initialized"], health["sealed"], health["standby"]) == (True, False, code == 429)
    answer = client.sys.read_health_status(method="GET", standby_ok=True, active_code=200)
    assert not isinstance(answer, requests.Response) or answer.status_code == 200
    assert client.sys.is_sealed() is False
    assert client.ha_status["ha_enabled"] is leader["ha_enabled"]
    nodes = client.adapter.get("/v1/sys/ha-status")["nodes"]
    assert [node["active_node"] for node in nodes].count(True) == 1


def test_keys_rotate(client: hvac.Client) -> None:
    before = client.sys.get_encryption_key_status()["data"]["term"]
    client.sys.rotate_encryption_key()
    assert client.sys.get_encryption_key_status()["data"]["term"] == before + 1


def test_step_down(client: hvac.Client) -> None:
    assert client.sys.step_down().status_code == 204
    until(client.is_authenticated, "somebody answers")


def test_kv1(client: hvac.Client, mount: str) -> None:
    client.sys.enable_secrets_engine("kv", mount, options={"version": "1"})
    kv = client.secrets.kv.v1
    kv.create_or_update_secret("a/b", {"x": "1"}, mount_point=mount)
    kv.create_or_update_secret("a/b", {"x": "2"}, method="PUT", mount_point=mount)
    assert kv.read_secret("a/b", mount_point=mount)["data"] == {"x": "2"}
    assert kv.list_secrets("a", mount_point=mount)["data"]["keys"] == ["b"]
    kv.delete_secret("a/b", mount_point=mount)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret("a/b", mount_point=mount)
    assert client.write(f"{mount}/c", y="3").status_code == 204
    assert client.read(f"{mount}/c")["data"] == {"y": "3"}
    assert client.list(mount)["data"]["keys"] == ["c"]
    assert client.read(f"{mount}/none") is None
    client.delete(f"{mount}/c")


def test_kv2_secrets(client: hvac.Client, mount: str) -> None:
    client.sys.enable_secrets_engine("kv", mount, options={"version": "2"})
    kv = client.secrets.kv.v2
    kv.configure(max_versions=5, cas_required=False, mount_point=mount)
    assert kv.read_configuration(mount_point=mount)["data"]["max_versions"] == 5
    assert kv.create_or_update_secret("a", {"x": 1}, cas=0, mount_point=mount)["data"]["version"] == 1
    with pytest.raises(exceptions.InvalidRequest, match="check-and-set"):
        kv.create_or_update_secret("a", {"x": 2}, cas=0, mount_point=mount)
    kv.patch("a", {"y": 2}, mount_point=mount)
    read = kv.read_secret("a", mount_point=mount, raise_on_deleted_version=True)
    assert (read["data"]["data"], read["data"]["metadata"]["version"]) == ({"x": 1, "y": 2}, 2)
    old = kv.read_secret_version("a", version=1, mount_point=mount, raise_on_deleted_version=True)
    assert old["data"]["data"] == {"x": 1}
    assert kv.list_secrets("", mount_point=mount)["data"]["keys"] == ["a"]
    with pytest.raises(exceptions.InvalidPath):
        kv.patch("none", {"y": 2}, mount_point=mount)


def test_kv2_versions(client: hvac.Client, mount: str) -> None:
    client.sys.enable_secrets_engine("kv", mount, options={"version": "2"})
    kv = client.secrets.kv.v2
    for number in (1, 2, 3):
        kv.create_or_update_secret("a", {"x": number}, mount_point=mount)
    kv.delete_latest_version_of_secret("a", mount_point=mount)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret("a", mount_point=mount, raise_on_deleted_version=True)
    assert kv.read_secret("a", mount_point=mount, raise_on_deleted_version=False)["data"]["data"] is None
    kv.undelete_secret_versions("a", versions=[3], mount_point=mount)
    kv.delete_secret_versions("a", versions=[2], mount_point=mount)
    kv.destroy_secret_versions("a", versions=[1], mount_point=mount)
    kv.update_metadata("a", max_versions=9, custom_metadata={"k": "v"}, mount_point=mount)
    metadata = kv.read_secret_metadata("a", mount_point=mount)["data"]
    assert metadata["custom_metadata"] == {"k": "v"}
    assert metadata["versions"]["1"]["destroyed"]
    assert metadata["versions"]["2"]["deletion_time"]
    assert not metadata["versions"]["3"]["deletion_time"]
    kv.delete_metadata_and_all_versions("a", mount_point=mount)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_metadata("a", mount_point=mount)


def test_mounts(client: hvac.Client, mount: str) -> None:
    client.sys.enable_secrets_engine("kv", mount, description="d", config={"default_lease_ttl": "1h"})
    assert f"{mount}/" in client.sys.list_mounted_secrets_engines()["data"]
    client.sys.tune_mount_configuration(mount, max_lease_ttl="2h", description="e")
    tuned = client.sys.read_mount_configuration(mount)["data"]
    assert (tuned["default_lease_ttl"], tuned["max_lease_ttl"], tuned["description"]) == (3600, 7200, "e")
    assert client.sys.retrieve_mount_option(mount, "version", "1") == "1"
    client.sys.move_backend(mount, f"{mount}-moved")
    assert f"{mount}-moved/" in client.sys.list_mounted_secrets_engines()["data"]
    client.sys.disable_secrets_engine(f"{mount}-moved")
    assert "token/" in client.sys.list_auth_methods()["data"]
    with pytest.raises(exceptions.InvalidRequest):
        client.sys.enable_secrets_engine("nonsense", mount)


def test_policies(client: hvac.Client) -> None:
    name = f"p-{secrets.token_hex(4)}"
    client.sys.create_or_update_policy(name, READER)
    client.sys.create_or_update_acl_policy(name, READER)
    assert name in client.sys.list_policies()["data"]["policies"]
    assert name in client.sys.list_acl_policies()["data"]["keys"]
    assert client.sys.read_policy(name)["data"]["rules"] == READER
    assert client.sys.read_acl_policy(name)["data"]["policy"] == READER
    assert client.get_policy(name) == READER
    client.sys.delete_policy(name)
    client.sys.delete_acl_policy(name)
    with pytest.raises(exceptions.InvalidPath):
        client.sys.read_acl_policy(name)
    with pytest.raises(exceptions.InvalidRequest):
        client.sys.delete_policy("root")


def test_tokens(client: hvac.Client) -> None:
    name = f"p-{secrets.token_hex(4)}"
    client.sys.create_or_update_policy(name, READER)
    auth = client.auth.token.create(policies=[name], ttl="1h", meta={"a": "b"}, display_name="d")["auth"]
    token, accessor = auth["client_token"], auth["accessor"]
    assert client.auth.token.lookup(token)["data"]["meta"] == {"a": "b"}
    assert client.auth.token.lookup_accessor(accessor)["data"]["policies"] == ["default", name]
    assert accessor in client.auth.token.list_accessors()["data"]["keys"]
    own = hvac.Client(client.url, token)
    assert own.auth.token.lookup_self()["data"]["id"] == token
    assert own.auth.token.renew_self(increment="30m")["auth"]["lease_duration"] == 1800
    assert client.auth.token.renew(token, increment="40m")["auth"]["lease_duration"] == 2400
    assert client.auth.token.renew_accessor(accessor, increment="50m")["auth"]["lease_duration"] == 3000
    paths = own.sys.get_capabilities(["secret/data/x", "secret/x"])["data"]
    assert (paths["secret/data/x"], paths["secret/x"]) == (["read"], ["deny"])
    with pytest.raises(exceptions.Forbidden):
        own.sys.list_mounted_secrets_engines()
    orphan = client.auth.token.create_orphan(policies=[name])["auth"]
    assert orphan["orphan"]
    client.auth.token.revoke_accessor(orphan["accessor"])
    own.auth.token.revoke_self()
    assert own.is_authenticated() is False
    with pytest.raises(exceptions.Forbidden):
        client.auth.token.lookup(token)
    with pytest.raises(exceptions.InvalidRequest):
        client.auth.token.lookup_accessor(accessor)


def test_revocation_takes_the_children_along(client: hvac.Client) -> None:
    parent = hvac.Client(client.url, client.auth.token.create(ttl="1h")["auth"]["client_token"])
    child = parent.auth.token.create(ttl="1h")["auth"]["client_token"]
    grandchild = hvac.Client(client.url, child).auth.token.create(ttl="1h")["auth"]["client_token"]
    client.auth.token.revoke_and_orphan_children(child)
    assert hvac.Client(client.url, grandchild).is_authenticated()
    sibling = parent.auth.token.create(ttl="1h")["auth"]["client_token"]
    client.auth.token.revoke(parent.token)
    assert not hvac.Client(client.url, sibling).is_authenticated()
    client.auth.token.revoke(grandchild)


def test_a_client_without_a_token_is_refused(client: hvac.Client) -> None:
    stranger = hvac.Client(client.url, "hvs.none")
    assert stranger.is_authenticated() is False
    with pytest.raises(exceptions.Forbidden, match="permission denied"):
        stranger.secrets.kv.v2.read_secret("a", raise_on_deleted_version=False)
    for act in (stranger.sys.step_down, stranger.sys.rotate_encryption_key):
        with pytest.raises(exceptions.Forbidden):
            act()


def test_who_may_seal(dev_node: Unsealed, cluster: NativeCluster) -> None:
    for address in (dev_node.address, cluster.must_active().address):
        with pytest.raises(exceptions.Forbidden):
            hvac.Client(address, "hvs.none").sys.seal()
    with pytest.raises(exceptions.InternalServerError, match="cannot seal when in standby mode"):
        hvac.Client(cluster.standby().address, cluster.token).sys.seal()
