"""People's own tools through HAProxy: hvac, and the `bao` command line."""

import json
import os
import subprocess

import hvac
import pytest

from stack.checkout import ROOT
from stack.running import NODES, Stack


@pytest.fixture
def client(stack: Stack) -> hvac.Client:
    return hvac.Client(url=stack.url, token=stack.token)


def bao(stack: Stack, *arguments: str) -> str:
    """Run the command line with the root token; return what it printed."""
    settings = {"BAO_ADDR": stack.url, "BAO_TOKEN": stack.token, "HOME": "/nonexistent"}
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "bao", *arguments],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hvac_writes_and_reads(client: hvac.Client) -> None:
    kv = client.secrets.kv.v2
    made = kv.create_or_update_secret(path="team/app", secret={"password": "one"})
    assert made["data"]["version"] == 1
    kv.create_or_update_secret(path="team/app", secret={"password": "two"}, cas=1)
    assert kv.read_secret_version(path="team/app", raise_on_deleted_version=True)["data"]["data"] == {
        "password": "two"
    }
    assert kv.list_secrets(path="team")["data"]["keys"] == ["app"]
    kv.delete_metadata_and_all_versions(path="team/app")
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version(path="team/app", raise_on_deleted_version=True)


def test_hvac_sees_an_unsealed_cluster_with_a_leader(client: hvac.Client) -> None:
    assert client.is_authenticated()
    assert not client.sys.is_sealed()
    assert client.sys.read_leader_status()["ha_enabled"] is True


def test_the_command_line_writes_and_reads(stack: Stack) -> None:
    bao(stack, "kv", "put", "-mount=secret", "from/cli", "colour=blue", "number=7")
    assert bao(stack, "kv", "get", "-mount=secret", "-field=colour", "from/cli") == "blue"
    listed = json.loads(bao(stack, "kv", "list", "-mount=secret", "-format=json", "from"))
    assert listed == ["cli"]
    bao(stack, "kv", "delete", "-mount=secret", "from/cli")


def test_the_command_line_lists_the_members(stack: Stack) -> None:
    members = json.loads(bao(stack, "operator", "members", "-format=json"))
    assert sorted(node["hostname"] for node in members["Nodes"]) == sorted(NODES)


@pytest.mark.parametrize("node", NODES)
def test_what_one_node_wrote_every_node_reads(stack: Stack, node: str) -> None:
    status, _ = stack.call("POST", f"secret/data/by-{node}", {"data": {"by": node}}, at=node)
    assert status == 200
    for reader in NODES:
        status, body = stack.call("GET", f"secret/data/by-{node}", at=reader)
        assert (status, body["data"]["data"]) == (200, {"by": node})
