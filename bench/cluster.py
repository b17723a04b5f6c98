"""A running cluster behind HAProxy: its nodes, who is active, whether it is whole."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.docker import containers
from bench.http import Target, ask

ROOT = Path(__file__).resolve().parent.parent
NODE_PORTS = {1: "8211/tcp", 2: "8212/tcp", 3: "8213/tcp"}
WHOLE_SECONDS = 90.0
PROXY_CHECK_SECONDS = 0.5
"""After this long HAProxy's checks have seen what the nodes say."""


Complete = Callable[[Target], Awaitable[bool]]
"""Asks the active node whether every node follows it and can take over."""


class ClusterError(Exception):
    """The cluster is not there, or not as it should be; the text says what to do."""


@dataclass(frozen=True)
class Node:
    """One node: its container, and two ways to it, both of which see that node alone."""

    name: str
    number: int
    container: str
    target: Target  # through HAProxy's port for this node
    direct: Target  # the container's own address

    async def health(self) -> int:
        """Return the status of `sys/health`, 0 without an answer."""
        return (await ask(self.target, "GET", "sys/health", seconds=2.0)).status


@dataclass(frozen=True)
class Cluster:
    """The nodes of one Compose project, and the way through HAProxy."""

    project: str
    kind: str  # "haven" or "openbao": the beginning of the nodes' names
    target: Target
    nodes: tuple[Node, ...]
    servers: Mapping[str, Target]  # Consul's, by their names
    containers: Mapping[str, str]  # ids, by the names of the services
    storage_addresses: Mapping[str, str]  # in the network where the storage is, by the names of the services
    complete: Complete

    @property
    def storage_network(self) -> str:
        """Return the name of the network that leads to the storage."""
        return f"{self.project}_storage"

    @classmethod
    async def find(cls, project: str, kind: str, token: str, complete: Complete | None = None) -> "Cluster":
        """Look at a project's containers; raises `ClusterError` where some are missing."""
        found = await containers(project)
        names = [f"{kind}-{number}" for number in NODE_PORTS]
        missing = [name for name in [*names, "haproxy"] if not _runs(found.get(name))]
        if missing:
            raise ClusterError(f"not running: {', '.join(missing)}. Start the stack with 'make up'")
        ports = found["haproxy"]["NetworkSettings"]["Ports"]
        nodes = tuple(
            Node(
                name,
                number,
                found[name]["Id"],
                _published(ports, NODE_PORTS[number], token),
                Target(_address(found[name], "_cluster"), 8200, token),
            )
            for number, name in enumerate(names, 1)
        )
        addresses = {name: _address(one, "_storage") for name, one in found.items()}
        servers = {
            name: Target(address, 8500) for name, address in addresses.items() if name.startswith("consul-")
        }
        ids = {name: one["Id"] for name, one in found.items()}
        proxy = await _proxy(found["haproxy"], token)
        return cls(project, kind, proxy, nodes, servers, ids, addresses, complete or all_listed)

    async def active(self) -> Node | None:
        """Return the node that says it is active, or None."""
        codes = await asyncio.gather(*(node.health() for node in self.nodes))
        return next((node for node, code in zip(self.nodes, codes, strict=True) if code == 200), None)

    async def whole(self, settle: float = PROXY_CHECK_SECONDS) -> Node:
        """Wait until one node is active and the others follow it, `settle` seconds more, and return it.

        Raises `ClusterError`.
        """
        found: list[Node] = []

        async def stays() -> bool:
            if not await self._is_whole():
                return False
            await asyncio.sleep(settle)
            active = await self.active()
            found.extend([active] if active else [])
            return bool(found)

        await until(stays, "one node is active and the others stand by")
        return found[0]

    async def _is_whole(self) -> bool:
        codes = await asyncio.gather(*(node.health() for node in self.nodes))
        if sorted(codes) != [200, *[429] * (len(self.nodes) - 1)]:
            return False
        leaders = [await ask(server, "GET", "status/leader", seconds=2.0) for server in self.servers.values()]
        if not all(answer.status == 200 and answer.json() for answer in leaders):
            return False
        return await self.complete(self.nodes[codes.index(200)].target)


async def all_listed(active: Target) -> bool:
    """Tell whether the active node lists all nodes: itself and those that follow it."""
    answer = await ask(active, "GET", "sys/ha-status")
    return answer.status == 200 and len(answer.json()["nodes"]) == len(NODE_PORTS)


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = WHOLE_SECONDS) -> None:
    """Wait for a condition; raises `ClusterError` with its name."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.1)


async def order(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run one of the project's scripts with its output shown; raises `ClusterError` where it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    if await process.wait():
        raise ClusterError(f"{' '.join(command)} failed")


def haven_token(project: str) -> str:
    """Return the root token that `make up` has left; raises `ClusterError`."""
    folder = ROOT / ".haven" if project == "haven" else ROOT / ".haven" / project
    try:
        return str(json.loads((folder / "init.json").read_text())["root_token"])
    except (OSError, ValueError, KeyError):
        raise ClusterError(f"no root token in {folder}/init.json: run 'make up' first") from None


async def _proxy(container: Any, token: str) -> Target:
    """Return HAProxy's own address, or where that is not reachable (Docker elsewhere) the published one.

    Docker forwards a port published on loopback by a process of its own, which adds to every request and
    ended by itself under 2000 connections (Docker 20.10).
    """
    target = Target(_address(container, "_frontend"), 8200, token)
    if target.host and (await ask(target, "GET", "sys/health", seconds=2.0)).failure is None:
        return target
    return _published(container["NetworkSettings"]["Ports"], "8200/tcp", token)


def _runs(container: Any) -> bool:
    return bool(container and container["State"]["Running"])


def _published(ports: Any, port: str, token: str) -> Target:
    binding = ports[port][0]
    return Target(binding["HostIp"], int(binding["HostPort"]), token)


def _address(container: Any, network: str) -> str:
    """Return a container's address in the network whose name ends so; empty if it is not in it."""
    networks = container["NetworkSettings"]["Networks"]
    return next((str(one["IPAddress"]) for name, one in networks.items() if name.endswith(network)), "")
