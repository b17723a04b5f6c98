"""Three real Consul servers on loopback addresses of this machine, and faults for them."""

import json
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONSUL = ROOT / ".cache" / "bin" / "consul"
PORTS = {"http": 21500, "server": 21300, "serf_lan": 21301, "serf_wan": -1, "dns": -1, "grpc": -1}


@dataclass
class ConsulServer:
    """One server process; its data outlives it."""

    name: str
    ip: str
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"http://{self.ip}:{PORTS['http']}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def http(self, path: str, method: str = "GET", body: bytes | None = None, timeout: float = 2.0) -> Any:
        """Send a request, as an operator would; raises `OSError`."""
        request = urllib.request.Request(self.address + path, body, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")


class ConsulServers:
    """A cluster. Each has a loopback network of its own, so that several test runs do not meet."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
        self.servers = [
            ConsulServer(f"consul-{number}", f"{network}.{number}", folder / f"consul-{number}")
            for number in range(1, count + 1)
        ]

    @property
    def addresses(self) -> list[str]:
        return [server.address for server in self.servers]

    def start(self, timeout: float = 90.0) -> None:
        """Start every server that does not run, and wait until all see a leader."""
        if not CONSUL.exists():
            subprocess.run([ROOT / "scripts" / "fetch-tools", "consul"], check=True, timeout=300)
        self.launch()
        self.settle(timeout)

    def launch(self) -> None:
        """Start every server that does not run; it ends with the thread that calls this."""
        for server in self.servers:
            if not server.running:
                self._launch(server)

    def stop(self) -> None:
        """End every server process."""
        for server in self.servers:
            if server.process is not None:
                server.process.kill()
                server.process.wait()

    def kill(self, server: ConsulServer) -> None:
        """End the server as a crash does."""
        assert server.process is not None
        server.process.kill()
        server.process.wait()

    def pause(self, server: ConsulServer) -> None:
        """Stop the server's process without ending it: its connections stay open and silent."""
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)

    def resume(self, server: ConsulServer) -> None:
        assert server.process is not None
        server.process.send_signal(signal.SIGCONT)

    def leader(self) -> ConsulServer:
        """Return the leader that the running servers agree on; raises `LookupError`."""
        told = {self._leader_told_by(server) for server in self.servers if server.running}
        for server in self.servers:
            if server.running and told == {f"{server.ip}:{PORTS['server']}"}:
                return server
        raise LookupError("the servers agree on no leader")

    def follower(self) -> ConsulServer:
        leader = self.leader()
        return next(server for server in self.servers if server.running and server is not leader)

    def settle(self, timeout: float = 90.0) -> None:
        """Wait until the running servers see a leader and each other, and writes commit through each."""
        running = [server for server in self.servers if server.running]
        _wait(lambda: self._settled(running), timeout, f"Consul in {self.servers[0].folder.parent}")

    def _settled(self, running: list[ConsulServer]) -> bool:
        try:
            self.leader()
            for server in running:
                server.http("/v1/kv/settled?consistent", "PUT", b"yes")
                checks = server.http("/v1/health/service/consul?passing")
                if {entry["Node"]["Node"] for entry in checks} != {each.name for each in running}:
                    return False
        except (OSError, LookupError):
            return False
        return True

    def _leader_told_by(self, server: ConsulServer) -> str:
        try:
            return str(server.http("/v1/status/leader"))
        except OSError:
            return ""

    def _launch(self, server: ConsulServer) -> None:
        server.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "server": True,
            "bootstrap_expect": len(self.servers),
            "node_name": server.name,
            "data_dir": str(server.folder / "data"),
            "bind_addr": server.ip,
            "client_addr": server.ip,
            "ports": PORTS,
            "retry_join": [
                f"{other.ip}:{PORTS['serf_lan']}" for other in self.servers if other is not server
            ],
            "retry_interval": "1s",
            "performance": {"raft_multiplier": 1},
            "leave_on_terminate": False,
            "skip_leave_on_interrupt": True,
            "autopilot": {"cleanup_dead_servers": False},
            "disable_update_check": True,
            "enable_script_checks": False,
            "log_level": "INFO",
        }
        configuration = server.folder / "server.json"
        configuration.write_text(json.dumps(settings))
        with (server.folder / "log").open("ab") as log:
            # The kernel ends the server with its test run, even if that is killed.
            server.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", CONSUL, "agent", "-config-file", configuration],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "")},
            )


def _wait(condition: Callable[[], bool], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {timeout} s")
        time.sleep(0.05)
