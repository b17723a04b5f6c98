"""Faults of nodes and of Consul under a recorded workload: clients are told the truth, and few errors.

Clients read and write at all three nodes at once, so each read that begins after an acknowledged write
must see it, whichever node is asked: that is part of the history being linearizable.
"""

import asyncio
import json
import signal
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from api.conftest import PACE
from chaos import workload
from chaos.workload import ANSWERED, FAILED_READS, READS, UNKNOWN, History, Record, Workload
from support.consul_servers import ConsulServer
from support.native_cluster import NativeCluster, NativeNode, ask, until

LONGEST_PAUSE = 20.0
"""Seconds: ten times the longest budget. What was measured is printed (`pytest -rP`)."""
LEASE = 1.2 * PACE
GONE = {"ClientConnectorError", "ServerDisconnectedError", "ClientOSError"}
"""What a client is told by a node whose process has ended."""
ENOUGH = 10
"""Reads, and as many writes, that must be answered at a node before it counts as going on."""


@dataclass
class Trial:
    """A cluster under load, the node that was active at first, and what clients saw."""

    cluster: NativeCluster
    active: NativeNode
    history: History
    gone: list[NativeNode] = field(default_factory=list)
    """Nodes that were made unreachable: what their own clients are told is not judged."""
    hung: list[NativeNode] = field(default_factory=list)
    """Nodes that were made silent for a while: that is no pause."""

    @property
    def others(self) -> list[NativeNode]:
        return [node for node in self.cluster.nodes if node is not self.active]

    async def strike(self, fault: Callable[[], object]) -> None:
        """Commit a fault; return once it is done."""
        await asyncio.to_thread(fault)

    async def goes_on(self, *nodes: NativeNode) -> None:
        """Wait until each node has answered enough requests that began from now on."""
        since = time.monotonic()
        for node in nodes:
            await eventually(lambda node=node: self._answers(node, since), f"{node.name} answers")

    def _answers(self, node: NativeNode, since: float) -> bool:
        answered = [
            record.kind in READS
            for record in self.history.at(node.name)
            if record.invoked > since and workload.column(record) == ANSWERED
        ]
        return min(answered.count(True), answered.count(False)) >= ENOUGH

    async def another_leads(self) -> None:
        """Wait until another node is active."""
        await in_thread(lambda: any(node.health() == 200 for node in self.others), "another node is active")

    def _found(self, column: str) -> list[Record]:
        names = [node.name for node in self.cluster.nodes if node not in self.gone]
        return [record for record in self.history.at(*names) if workload.column(record) == column]

    def assert_no_read_failed(self) -> None:
        """At nodes that could be reached each read was answered."""
        assert not self._found(FAILED_READS)

    def assert_nothing_lost(self) -> None:
        """At nodes that could be reached no read failed, and each write's outcome was told."""
        assert not self._found(FAILED_READS)
        assert not self._found(UNKNOWN)


@asynccontextmanager
async def trial(cluster: NativeCluster) -> AsyncIterator[Trial]:
    """Load the cluster; in the end wait until it is whole by itself, and judge what clients were told."""
    entrances = {node.name: node.address for node in cluster.nodes}
    async with Workload(entrances, cluster.token, seed=time.time_ns(), clients=9) as load:
        this = Trial(cluster, await asyncio.to_thread(cluster.must_active), load.history)
        await this.goes_on(*cluster.nodes)
        begun = time.monotonic()
        yield this
        await asyncio.to_thread(cluster.settle)
        await this.goes_on(*cluster.nodes)
        ended = time.monotonic()
    reachable = [node for node in cluster.nodes if node not in this.gone]
    speaking = [node for node in reachable if node not in this.hung]
    pauses = [workload.longest_pause(load.history.at(node.name), begun, ended) for node in speaking]
    pause = max(end - start for start, end in pauses)
    account = dict(workload.account(load.history.at(*(node.name for node in reachable))))
    print(f"longest pause {pause * 1000:.0f} ms, {account}")
    assert load.history.violations() == {}
    assert pause < LONGEST_PAUSE


async def eventually(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.02)


async def in_thread(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


def command(node: NativeNode, path: str, token: str) -> None:
    """Have a node do something that answers 204."""
    status, body = ask("PUT", f"{node.address}/v1/sys/{path}", {}, token=token)
    assert status == 204, body


def terminate(node: NativeNode) -> None:
    """End a node as `docker stop` does."""
    assert node.process is not None
    node.signal(signal.SIGTERM)
    node.process.wait(60)


def own_server(cluster: NativeCluster) -> ConsulServer:
    """Return the Consul server that holds the session under which the active node leads."""
    for server in cluster.consul.servers:
        try:
            entry = server.http(f"/v1/kv/{cluster.prefix}core/lock?consistent")[0]
        except OSError:
            continue
        name = json.loads(b64decode(entry["Value"]))["check_node"]
        return next(server for server in cluster.consul.servers if server.name == name)
    raise AssertionError("no Consul server answers")


def part_from_consul_leader(cluster: NativeCluster) -> None:
    """Let a node lead whose own Consul server is not Consul's leader, so that each can be struck alone."""
    for _ in range(10):
        if own_server(cluster) is not cluster.consul.leader():
            return
        command(cluster.must_active(), "step-down", cluster.token)
        cluster.settle()
    raise AssertionError("every node leads through Consul's leader")


async def test_the_active_node_is_killed(cluster: NativeCluster) -> None:
    async with trial(cluster) as this:
        this.gone = [this.active]
        await this.strike(this.active.kill)
        await this.another_leads()
        await this.goes_on(*this.others)
        this.active.start()
    this.assert_no_read_failed()


async def test_a_standby_is_killed(cluster: NativeCluster) -> None:
    async with trial(cluster) as this:
        this.gone = [this.others[0]]
        await this.strike(this.others[0].kill)
        await this.goes_on(this.active, this.others[1])
        this.others[0].start()
    this.assert_nothing_lost()
    assert cluster.active() is this.active


async def test_the_active_node_is_terminated(cluster: NativeCluster) -> None:
    async with trial(cluster) as this:
        this.gone = [this.active]
        await this.strike(lambda: terminate(this.active))
        told = {record.answer for record in this.history.at(this.active.name)}
        await this.another_leads()
        await this.goes_on(*this.others)
        this.active.start()
    this.assert_nothing_lost()
    assert told <= {"200", "204", "400", "404", *GONE}, "it answered as long as it listened"


async def test_the_active_node_steps_down(cluster: NativeCluster) -> None:
    async with trial(cluster) as this:
        await this.strike(lambda: command(this.active, "step-down", cluster.token))
        await this.another_leads()
    this.assert_nothing_lost()


async def test_the_active_node_is_sealed(cluster: NativeCluster) -> None:
    async with trial(cluster) as this:
        this.gone = [this.active]
        await this.strike(lambda: command(this.active, "seal", cluster.token))
        await this.another_leads()
        await this.goes_on(*this.others)
        assert await asyncio.to_thread(this.active.health) == 503
        await this.strike(lambda: terminate(this.active))
        this.active.start()
    this.assert_nothing_lost()


async def test_the_active_node_hangs_longer_than_its_lease(cluster: NativeCluster) -> None:
    async with trial(cluster) as this:
        hung = time.monotonic()
        this.hung = [this.active]
        this.active.signal(signal.SIGSTOP)
        await this.another_leads()
        await this.goes_on(*this.others)
        await eventually(lambda: time.monotonic() > hung + 2 * LEASE, "the lease is over")
        this.active.signal(signal.SIGCONT)
    this.assert_no_read_failed()


async def test_the_consul_server_of_the_active_node_is_killed(cluster: NativeCluster) -> None:
    await asyncio.to_thread(part_from_consul_leader, cluster)
    async with trial(cluster) as this:
        server = await asyncio.to_thread(own_server, cluster)
        await this.strike(lambda: cluster.consul.kill(server))
        await this.goes_on(*cluster.nodes)
        cluster.consul.launch()
        await asyncio.to_thread(cluster.consul.settle)
    this.assert_nothing_lost()
    assert cluster.active() is this.active


@pytest.mark.parametrize("pause", [False, True], ids=["killed", "paused"])
async def test_the_consul_leader_is_lost(cluster: NativeCluster, pause: bool) -> None:
    await asyncio.to_thread(part_from_consul_leader, cluster)
    consul = cluster.consul
    async with trial(cluster) as this:
        leader = await asyncio.to_thread(consul.leader)
        await this.strike(lambda: consul.pause(leader) if pause else consul.kill(leader))
        await this.goes_on(*cluster.nodes)
        if pause:
            consul.resume(leader)
        consul.launch()
        await asyncio.to_thread(consul.settle)
    this.assert_nothing_lost()
    assert cluster.active() is this.active


async def test_all_consul_servers_restart(cluster: NativeCluster) -> None:
    async with trial(cluster):
        for server in cluster.consul.servers:
            cluster.consul.kill(server)
        cluster.consul.launch()
        await asyncio.to_thread(cluster.consul.settle)
