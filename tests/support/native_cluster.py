"""Three Haven nodes as plain processes over three Consul servers: a cluster without containers."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.consul_servers import ROOT, ConsulServers

API, CLUSTER, METRICS = 22200, 22201, 22102
READY_SECONDS = 60.0


@dataclass
class NativeNode:
    """One node's process."""

    name: str
    ip: str
    folder: Path
    environment: dict[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"http://{self.ip}:{API}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start the process; it ends with the thread that calls this."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            # The kernel ends the node with its test run, even if that is killed.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "haven.server.start"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Signal all processes of the node at once: gunicorn's two."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End the node as `docker kill` does."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def health(self) -> int:
        """Return the status of `sys/health`, 0 where nothing answers."""
        try:
            return ask("GET", f"{self.address}/v1/sys/health", timeout=1.0)[0]
        except OSError:
            return 0


class NativeCluster:
    """Nodes with a static seal, initialised; each on a loopback address of its own.

    `pace` stretches the protocol's times, for machines that are busy.
    """

    def __init__(self, folder: Path, consul: ConsulServers, count: int = 3, pace: float = 1.0) -> None:
        self.consul = consul
        key = folder / "seal.key"
        folder.mkdir(parents=True, exist_ok=True)
        key.write_bytes(secrets.token_bytes(32))
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
        self.prefix = f"haven-{secrets.token_hex(4)}/"
        self.nodes = [
            NativeNode(
                name := f"haven-{number}",
                ip := f"{network}.{100 + number}",
                folder / name,
                {
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT / "app"),
                    "HAVEN_NODE": name,
                    "HAVEN_LISTEN": f"{ip}:{API}",
                    "HAVEN_API_ADDR": f"http://{ip}:{API}",
                    "HAVEN_CLUSTER_LISTEN": f"{ip}:{CLUSTER}",
                    "HAVEN_CLUSTER_ADDR": f"{ip}:{CLUSTER}",
                    "HAVEN_METRICS_LISTEN": f"{ip}:{METRICS}",
                    "HAVEN_CONSUL_ADDRS": ",".join(consul.addresses),
                    "HAVEN_CONSUL_PREFIX": self.prefix,
                    "HAVEN_CHECK_TTL": f"{1.5 * pace}",
                    "HAVEN_MARGIN": f"{0.3 * pace}",
                    "HAVEN_CALL_DEADLINE": f"{0.4 * pace}",
                    "HAVEN_PARKING_SECONDS": f"{10 * pace}",
                    "HAVEN_SEAL": "static",
                    "HAVEN_SEAL_KEY_FILE": str(key),
                },
            )
            for number in range(1, count + 1)
        ]
        self.token = ""

    def start(self) -> None:
        """Start every node, initialise, and wait until one is active and the others stand by."""
        for node in self.nodes:
            node.start()
        until(lambda: all(node.health() == 501 for node in self.nodes), "every node answers")
        status, body = ask("PUT", f"{self.nodes[0].address}/v1/sys/init", {}, timeout=10)
        assert status == 200, body
        self.token = body["root_token"]
        self.settle()

    def stop(self) -> None:
        for node in self.nodes:
            if node.running:
                node.kill()

    def mend(self) -> None:
        """Let everything run again that a test stopped, and wait until all is well."""
        for server in self.consul.servers:
            if server.running:
                self.consul.resume(server)
        self.consul.start()
        for node in self.nodes:
            if node.running:
                node.signal(signal.SIGCONT)
            else:
                node.start()
        self.settle()

    def settle(self) -> None:
        """Wait until one node is active, the others stand by, and every one of them answers a read."""
        until(self._settled, "one node is active and the others follow it")

    def _settled(self) -> bool:
        codes = sorted(node.health() for node in self.nodes)
        return codes == [200, *[429] * (len(self.nodes) - 1)] and len(self.peers()) == len(self.nodes)

    def peers(self) -> list[dict[str, Any]]:
        """Return what `sys/ha-status` lists: the active node and those that follow it."""
        active = self.active()
        if active is None:
            return []
        status, body = ask("GET", f"{active.address}/v1/sys/ha-status", token=self.token)
        return list(body["nodes"]) if status == 200 else []

    def active(self) -> NativeNode | None:
        """Return the active node, or None."""
        return next((node for node in self.nodes if node.health() == 200), None)

    def must_active(self) -> NativeNode:
        active = self.active()
        assert active is not None, "no node is active"
        return active

    def standby(self) -> NativeNode:
        return next(node for node in self.nodes if node.health() == 429)


def ask(
    method: str, url: str, body: object = None, *, token: str = "", timeout: float = 15.0
) -> tuple[int, Any]:
    """Send one request; return status and JSON. Raises `OSError` where there is no answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"X-Vault-Token": token}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"null")


def until(condition: Any, what: str, seconds: float = READY_SECONDS) -> None:
    """Wait for a condition; raises `TimeoutError` with its name."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
