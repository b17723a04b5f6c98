"""The servers under test: one node alone, three nodes over Consul, and a real OpenBao."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.consul_servers import ConsulServers
from support.lone_servers import OpenBao, answers, call, lone_node
from support.native_cluster import NativeCluster, NativeNode, until

PACE = 3.0
"""How much slower than in production a cluster under test judges: the machine may be busy."""


@dataclass(frozen=True, slots=True)
class Unsealed:
    """An unsealed server, its root token and its only key share."""

    address: str
    token: str
    key: str


@pytest.fixture(scope="module")
def fresh_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeNode]:
    """A node alone, not initialised."""
    yield from _started(tmp_path_factory)


@pytest.fixture(scope="module")
def dev_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unsealed]:
    """A node alone, unsealed, with one key share."""
    for node in _started(tmp_path_factory):
        made = call("PUT", f"{node.address}/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1}).body
        key = made["keys_base64"][0]
        call("PUT", f"{node.address}/v1/sys/unseal", {"key": key})
        until(lambda node=node: node.health() == 200, "the node is active")
        yield Unsealed(node.address, made["root_token"], key)


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A real OpenBao server, not initialised."""
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def cluster_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeCluster]:
    """Three unsealed nodes over three Consul servers, for the whole run."""
    folder = tmp_path_factory.mktemp("cluster")
    consul = ConsulServers(folder / "consul")
    nodes = NativeCluster(folder / "haven", consul, pace=PACE)
    try:
        consul.start()
        nodes.start()
        yield nodes
    finally:
        nodes.stop()
        consul.stop()


@pytest.fixture
def cluster(cluster_session: NativeCluster) -> NativeCluster:
    """The cluster, whole and well: what an earlier test broke runs again."""
    cluster_session.mend()
    return cluster_session


def _started(folders: pytest.TempPathFactory) -> Iterator[NativeNode]:
    node = lone_node(folders.mktemp("node"))
    try:
        node.start()
        until(lambda: answers(node.address), "the node answers")
        yield node
    finally:
        node.kill()
