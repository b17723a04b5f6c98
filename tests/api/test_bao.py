"""The unmodified `bao` command line, against one node alone and against a standby of a cluster."""

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from api.conftest import Unsealed
from support.lone_servers import BAO
from support.native_cluster import NativeCluster, NativeNode, until


@dataclass
class Bao:
    """The command line with a server's address, a token and a home of its own."""

    address: str
    home: Path
    token: str = field(default="", repr=False)

    def run(self, *words: str, status: int = 0, given: str = "") -> str:
        """Run a command that must end with this status; return what it wrote."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "BAO_ADDR": self.address}
        if self.token:
            environment["BAO_TOKEN"] = self.token
        ended = subprocess.run(
            [BAO, *words], env=environment, input=given, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == status, f"{words}: {ended.returncode} {ended.stdout} {ended.stderr}"
        return ended.stdout if status == 0 else ended.stdout + ended.stderr

    def json(self, *words: str, status: int = 0) -> Any:
        """Run a command that prints JSON."""
        place = 2 if words[0] in {"operator", "kv", "secrets", "policy", "token"} else 1
        return json.loads(self.run(*words[:place], "-format=json", *words[place:], status=status))


@pytest.fixture(params=["alone", "standby"])
def bao(request: pytest.FixtureRequest, tmp_path: Path) -> Bao:
    """The command line with a root token."""
    if request.param == "alone":
        node: Unsealed = request.getfixturevalue("dev_node")
        return Bao(node.address, tmp_path, node.token)
    cluster: NativeCluster = request.getfixturevalue("cluster")
    return Bao(cluster.standby().address, tmp_path, cluster.token)


@pytest.fixture
def mount(bao: Bao) -> Iterator[str]:
    """A place where nothing is mounted yet; what a test mounts there goes with it."""
    path = f"m-{secrets.token_hex(4)}"
    yield path
    bao.run("secrets", "disable", path)


def test_the_life_of_a_node(fresh_node: NativeNode, tmp_path: Path) -> None:
    bao = Bao(fresh_node.address, tmp_path)
    assert re.search(r"Initialized +false", bao.run("status", status=2))
    assert "not initialized" in bao.run("operator", "init", "-status", status=2)
    made = bao.json("operator", "init", "-key-shares=3", "-key-threshold=2")
    keys = made["unseal_keys_b64"]
    assert (len(keys), made["unseal_threshold"]) == (3, 2)
    assert "already initialized" in bao.run("operator", "init", status=2)
    bao.run("operator", "init", "-status")
    assert bao.json("status", status=2)["sealed"] is True
    assert "Unseal Progress" in bao.run("operator", "unseal", keys[0])
    assert bao.json("operator", "unseal", "-reset")["progress"] == 0
    for key in keys[:2]:
        bao.run("operator", "unseal", key)
    bao.token = made["root_token"]
    until(lambda: fresh_node.health() == 200, "the node is active")
    assert bao.json("status")["sealed"] is False

    _generate_root(bao, keys[:2])
    new = _rekey(bao, keys[:2])

    assert "Success" in bao.run("operator", "seal")
    assert bao.json("status", status=2)["sealed"] is True
    bao.run("kv", "get", "secret/a", status=2)
    bao.run("operator", "unseal", new)
    until(lambda: fresh_node.health() == 200, "the node is active")
    assert bao.json("token", "lookup")["data"]["policies"] == ["root"]


def _generate_root(bao: Bao, keys: list[str]) -> None:
    attempt = bao.json("operator", "generate-root", "-init")
    assert bao.json("operator", "generate-root", "-status")["started"]
    bao.run("operator", "generate-root", "-cancel")
    attempt = bao.json("operator", "generate-root", "-init")
    for key in keys:
        progress = bao.json("operator", "generate-root", f"-nonce={attempt['nonce']}", key)
    words = [f"-decode={progress['encoded_token']}", f"-otp={attempt['otp']}"]
    token = bao.json("operator", "generate-root", *words)["token"]
    assert Bao(bao.address, bao.home, token).json("token", "lookup")["data"]["policies"] == ["root"]


def _rekey(bao: Bao, keys: list[str]) -> str:
    init = ["operator", "rekey", "-init", "-key-shares=1", "-key-threshold=1"]
    bao.run(*init)
    bao.run("operator", "rekey", "-status")
    bao.run("operator", "rekey", "-cancel")
    nonce = bao.json(*init)["nonce"]
    for key in keys:
        answer = bao.json("operator", "rekey", f"-nonce={nonce}", key)
    return str(answer["keys_base64"][0])


def test_status_and_members(bao: Bao) -> None:
    status = bao.json("status")
    assert (status["initialized"], status["sealed"]) == (True, False)
    members = bao.json("operator", "members")["Nodes"]
    assert [member["active_node"] for member in members].count(True) == 1
    assert len(members) == (3 if status["ha_enabled"] else 1)
    assert "HA Enabled" in bao.run("status")
    assert members[0]["api_address"] in bao.run("operator", "members")


def test_keys(bao: Bao) -> None:
    term = bao.json("operator", "key-status")["term"]
    assert "Success" in bao.run("operator", "rotate")
    assert bao.json("operator", "key-status")["term"] == term + 1


def test_step_down(bao: Bao) -> None:
    assert "Success" in bao.run("operator", "step-down")
    bao.run("token", "lookup")


def test_kv2(bao: Bao, mount: str) -> None:
    bao.run("secrets", "enable", f"-path={mount}", "-version=2", "kv")
    a = f"{mount}/a"
    assert bao.json("kv", "put", a, "x=1")["data"]["version"] == 1
    bao.run("kv", "put", "-cas=1", a, "x=2", "y=3")
    assert "check-and-set" in bao.run("kv", "put", "-cas=1", a, "x=4", status=2)
    assert bao.run("kv", "get", "-field=x", a).strip() == "2"
    assert bao.json("kv", "get", "-version=1", a)["data"]["data"] == {"x": "1"}
    bao.run("kv", "patch", a, "z=5")
    assert bao.json("kv", "get", f"-mount={mount}", "a")["data"]["data"] == {"x": "2", "y": "3", "z": "5"}
    bao.run("kv", "patch", "-method=rw", a, "w=6")
    assert bao.json("kv", "list", mount) == ["a"]
    bao.run("kv", "delete", a)
    deleted = bao.json("kv", "get", a)["data"]
    assert (deleted["data"], deleted["metadata"]["version"]) == (None, 4)
    bao.run("kv", "undelete", "-versions=4", a)
    bao.run("kv", "rollback", "-version=1", a)
    assert bao.json("kv", "get", a)["data"]["data"] == {"x": "1"}
    bao.run("kv", "delete", "-versions=2", a)
    bao.run("kv", "destroy", "-versions=1", a)
    assert "No value found" in bao.run("kv", "get", f"{mount}/none", status=2)
    assert "No value found" in bao.run("kv", "list", f"{mount}/none", status=2)
    bao.run("kv", "patch", f"{mount}/none", "x=1", status=2)


def test_kv2_metadata(bao: Bao, mount: str) -> None:
    bao.run("secrets", "enable", f"-path={mount}", "kv-v2")
    a = f"{mount}/a"
    bao.run("kv", "put", a, "x=1")
    bao.run("kv", "metadata", "put", "-max-versions=3", "-custom-metadata=k=v", a)
    bao.run("kv", "metadata", "patch", "-custom-metadata=m=n", a)
    data = json.loads(bao.run("kv", "metadata", "get", "-format=json", a))["data"]
    assert (data["max_versions"], data["custom_metadata"]) == (3, {"k": "v", "m": "n"})
    bao.run("kv", "metadata", "delete", a)
    bao.run("kv", "metadata", "get", a, status=2)


def test_kv1(bao: Bao, mount: str) -> None:
    bao.run("secrets", "enable", f"-path={mount}", "-version=1", "kv")
    bao.run("kv", "put", f"{mount}/a", "x=1")
    assert bao.json("kv", "get", f"{mount}/a")["data"] == {"x": "1"}
    assert bao.json("kv", "list", mount) == ["a"]
    bao.run("kv", "delete", f"{mount}/a")
    bao.run("kv", "get", f"{mount}/a", status=2)
    bao.run("write", f"{mount}/b", "y=2")
    assert bao.run("read", "-field=y", f"{mount}/b").strip() == "2"
    assert json.loads(bao.run("list", "-format=json", mount)) == ["b"]
    bao.run("delete", f"{mount}/b")
    bao.run("read", f"{mount}/b", status=2)


def test_secrets(bao: Bao, mount: str) -> None:
    bao.run("secrets", "enable", f"-path={mount}", "-description=d", "kv")
    assert "already in use" in bao.run("secrets", "enable", f"-path={mount}", "kv", status=2)
    assert bao.json("secrets", "list")[f"{mount}/"]["description"] == "d"
    assert re.search(rf"{mount}/\s+kv", bao.run("secrets", "list", "-detailed"))
    bao.run("secrets", "tune", "-default-lease-ttl=30m", "-description=e", mount)
    tuned = bao.json("secrets", "list")[f"{mount}/"]
    assert (tuned["config"]["default_lease_ttl"], tuned["description"]) == (1800, "e")
    bao.run("secrets", "move", mount, f"{mount}-moved")
    bao.run("secrets", "disable", f"{mount}-moved")
    assert "token/" in bao.run("auth", "list")


def test_policies(bao: Bao, tmp_path: Path) -> None:
    name, text = f"p-{secrets.token_hex(4)}", 'path "secret/data/*" {\n  capabilities = ["read"]\n}\n'
    file = tmp_path / "policy.hcl"
    file.write_text(text)
    bao.run("policy", "write", name, str(file))
    bao.run("policy", "write", name, "-", given=text)
    assert bao.run("policy", "read", name).strip() == text.strip()
    assert name in bao.json("policy", "list")
    bao.run("policy", "delete", name)
    assert "No policy named" in bao.run("policy", "read", name, status=2)


def test_tokens(bao: Bao, tmp_path: Path) -> None:
    auth = bao.json("token", "create", "-policy=default", "-ttl=1h", "-display-name=d", "-metadata=a=b")[
        "auth"
    ]
    token = auth["client_token"]
    assert bao.json("token", "lookup", token)["data"]["meta"] == {"a": "b"}
    assert bao.json("token", "lookup", "-accessor", auth["accessor"])["data"]["display_name"] == "token-d"
    assert bao.json("token", "renew", "-increment=30m", token)["auth"]["lease_duration"] == 1800
    assert bao.run("token", "capabilities", token, "cubbyhole/a").split(", ")[0] == "create"
    stranger = Bao(bao.address, tmp_path)
    assert "Success! You are now authenticated" in stranger.run("login", token)
    assert (tmp_path / ".vault-token").exists() or (tmp_path / ".bao-token").exists()
    assert stranger.json("token", "lookup")["data"]["id"] == token
    assert "permission denied" in stranger.run("secrets", "list", status=2)
    assert "permission denied" in stranger.run("operator", "step-down", status=2)
    bao.run("token", "revoke", token)
    stranger.run("token", "lookup", status=2)
    bao.run("token", "revoke", "-accessor", bao.json("token", "create", "-orphan")["auth"]["accessor"])
    Bao(bao.address, tmp_path, "hvs.none").run("token", "lookup", status=2)


def test_nobody_is_there(tmp_path: Path) -> None:
    assert "connection refused" in Bao("http://127.0.0.1:9", tmp_path).run("status", status=1)
