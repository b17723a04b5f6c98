"""The stack as users start it, under a project name of its own: start it, ask it, wait for it."""

import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stack.checkout import ROOT
from stack.containers import Containers

PROJECT = os.environ.get("HAVEN_TEST_PROJECT", "haven-test")
STORAGE, CLUSTER = "10.89.73", "10.89.74"
SETTINGS = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "COMPOSE_PROFILES": "",
    "HAVEN_STORAGE_PREFIX": STORAGE,
    "HAVEN_CLUSTER_PREFIX": CLUSTER,
    "HAVEN_PORT": "28200",
    "HAVEN_NODE_1_PORT": "28211",
    "HAVEN_NODE_2_PORT": "28212",
    "HAVEN_NODE_3_PORT": "28213",
    "HAVEN_STATS_PORT": "28404",
    "HAVEN_PROMETHEUS_PORT": "29090",
    "HAVEN_GRAFANA_PORT": "23000",
    "HAVEN_SEAL_TYPE": "static",
}
NODES = ("haven-1", "haven-2", "haven-3")
CONSULS = ("consul-1", "consul-2", "consul-3")
URL = f"http://127.0.0.1:{SETTINGS['HAVEN_PORT']}"
ACTIVE, STANDBY, UNINITIALISED, SEALED, SILENT = 200, 429, 501, 503, 0
SCRIPT_SECONDS = 900
ROUTES = Path("/proc/net/route")
PATIENCE = 60.0
T = TypeVar("T")


class Stack:
    """One running stack: `containers` to hurt it, the rest to start, ask and await it."""

    def __init__(self) -> None:
        self.containers = Containers(PROJECT)
        self.url = URL
        self.runs = False

    # Life --------------------------------------------------------------------------------------

    def script(self, name: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one of the stack's scripts as a user does, with this stack's settings."""
        return subprocess.run(
            [ROOT / "scripts" / name, *arguments],
            cwd=ROOT,
            env=_surroundings(settings),
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
            check=False,
        )

    def up(self, **settings: str) -> str:
        """Start what does not run, and return what the user is told."""
        done = self.script("up", **settings)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.report()}"
        self.runs = True
        return done.stdout

    def down(self) -> None:
        """Stop and remove the containers; the data stays."""
        self.runs = False
        done = self.script("down")
        assert done.returncode == 0, done.stderr

    def wipe(self) -> None:
        """Remove what an earlier run left, its data too; what hangs must not hinder it."""
        self.runs = False
        for service in self.containers.names(running=True):
            self.containers.docker("unpause", self.containers.id(service), check=False)
        done = self.script(
            "compose", "--profile", "grafana", "down", "--volumes", "--remove-orphans", "-t", "3"
        )
        assert done.returncode == 0, done.stderr
        (ROOT / ".haven" / PROJECT / "init.json").unlink(missing_ok=True)

    @property
    def token(self) -> str:
        """Return the root token that `up` has kept."""
        kept = json.loads((ROOT / ".haven" / PROJECT / "init.json").read_text())
        return str(kept["root_token"])

    # Questions ---------------------------------------------------------------------------------

    def node_url(self, node: str) -> str:
        """Return where a node answers by itself, past HAProxy."""
        return f"http://{CLUSTER}.2{node[-1]}:8200"

    def metrics_url(self, node: str) -> str:
        return f"http://{CLUSTER}.2{node[-1]}:9102/metrics"

    def agent_url(self, consul: str) -> str:
        return f"http://{STORAGE}.1{consul[-1]}:8500"

    def health(self, node: str) -> int:
        """Return the status of the node's health, 0 where nothing answers."""
        return (
            ask("GET", f"{self.node_url(node)}/v1/sys/health", seconds=1.0)[0] if exists(CLUSTER) else SILENT
        )

    def active(self) -> str:
        """Return the name of the active node, "" where none says so."""
        return next((node for node in NODES if self.health(node) == ACTIVE), "")

    def call(
        self, method: str, path: str, body: object = None, *, at: str = "", seconds: float = 15.0
    ) -> Any:
        """Send a request with the root token, through HAProxy or at a node; return status and body."""
        base = self.node_url(at) if at else self.url
        return ask(method, f"{base}/v1/{path}", body, token=self.token, seconds=seconds)

    def consul_leader(self) -> str:
        """Return the Consul server that leads, "" where none says so."""
        for consul in CONSULS if exists(STORAGE) else ():
            status, address = ask("GET", f"{self.agent_url(consul)}/v1/status/leader", seconds=1.0)
            if status == 200 and address:
                return f"consul-{address.split(':')[0][-1]}"
        return ""

    # Waiting -----------------------------------------------------------------------------------

    def settle(self, seconds: float = PATIENCE) -> str:
        """Wait until Consul is whole, one node is active and the others follow it; return the active one."""
        self.until(self._consul_is_whole, "three Consul servers know each other and their leader", seconds)
        self.until(self._nodes_agree, "one node is active, and all three are in its list", seconds)
        return self.until(self._served_by, "HAProxy serves, and a node is active", seconds)

    def until(self, condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """Wait for a condition and return it; fails with the state of everything, and where the logs are."""
        deadline = time.monotonic() + seconds
        while not (met := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.report()}")
            time.sleep(0.05)
        return met

    def _consul_is_whole(self) -> bool:
        leaders = set()
        for consul in CONSULS:
            agent = self.agent_url(consul)
            leaders.add(ask("GET", f"{agent}/v1/status/leader", seconds=1.0))
            status, members = ask("GET", f"{agent}/v1/agent/members", seconds=1.0)
            if status != 200 or [member["Status"] for member in members] != [1, 1, 1]:
                return False
        status, leader = leaders.pop()
        return not leaders and status == 200 and bool(leader)

    def _nodes_agree(self) -> bool:
        codes = sorted(self.health(node) for node in NODES)
        if codes != [ACTIVE, STANDBY, STANDBY]:
            return False
        status, body = self.call("GET", "sys/ha-status", at=self.active() or NODES[0], seconds=2.0)
        return status == 200 and len(body["nodes"]) == len(NODES)

    def _served_by(self) -> str:
        """Return the active node where HAProxy serves; on a busy machine it may have moved just now."""
        return self.active() if self.call("GET", "sys/health", seconds=1.0)[0] == ACTIVE else ""

    def report(self) -> str:
        """Return each container's state and where its log was kept, for a failed test."""
        states = self.containers.docker(
            "ps", "--all", "--filter", f"label=com.docker.compose.project={PROJECT}",
            "--format", "{{.Names}}: {{.Status}}",
        )  # fmt: skip
        parts = [states, *(f"{node}: health {self.health(node)}" for node in NODES)]
        parts.append(f"consul's leader: {self.consul_leader()}")
        parts.append(f"all logs are in {self.keep_logs()}")
        return "\n".join(parts)

    def keep_logs(self) -> Path:
        """Write every container's log to a folder of its own and return that."""
        folder = ROOT / ".cache" / "stack-logs" / time.strftime("%H%M%S")
        folder.mkdir(parents=True, exist_ok=True)
        for service in self.containers.names(running=False):
            (folder / f"{service}.log").write_text(self.containers.logs(service))
        return folder


def exists(network: str) -> bool:
    """Tell whether this machine is in the network; else a request to it would leave the machine."""
    first, second, third = map(int, network.split("."))
    destination = f"00{third:02X}{second:02X}{first:02X}"  # as the kernel writes 10.89.74.0
    return any(line.split()[1:2] == [destination] for line in ROUTES.read_text().splitlines())


def _surroundings(settings: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with the test stack's settings for the developer's own."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("HAVEN_", "COMPOSE_"))}
    return own | SETTINGS | settings


def ask(
    method: str, url: str, body: object = None, *, token: str = "", seconds: float = 15.0
) -> tuple[int, Any]:
    """Send one request; return status and JSON, status 0 where there is no answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Vault-Token": token, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, _json(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, _json(refusal.read())
    except (OSError, http.client.HTTPException):
        return SILENT, None


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw or b"null")
    except ValueError:
        return raw.decode(errors="replace")
