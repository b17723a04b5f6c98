"""One Haven node alone, and one real OpenBao server: both in memory, uninitialised, on loopback addresses."""

import json
import os
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.consul_servers import ROOT
from support.native_cluster import API, CLUSTER, METRICS, NativeNode, until

BAO = Path(sys.executable).parent / "bao"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; `body` is JSON where it is that, else text."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class OpenBao:
    """A real OpenBao server, neither initialised nor unsealed at first."""

    folder: Path
    ip: str = field(default_factory=lambda: loopback())
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"http://{self.ip}:{API}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "storage": {"inmem": {}},
            "listener": {
                "tcp": {
                    "address": f"{self.ip}:{API}",
                    "tls_disable": True,
                    # As in Vault: whoever holds shares needs no token.
                    "disable_unauthed_rekey_endpoints": False,
                    "disable_unauthed_generate_root_endpoints": False,
                }
            },
            "api_addr": self.address,
            "disable_mlock": True,
            "log_level": "warn",
        }
        configuration = self.folder / "server.json"
        configuration.write_text(json.dumps(settings))
        with (self.folder / "log").open("ab") as log:
            # The kernel ends the server with its test run, even if that is killed.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", BAO, "server", "-config", configuration],
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        until(lambda: answers(self.address), "OpenBao answers")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def lone_node(folder: Path) -> NativeNode:
    """Make a node over storage in memory, to be unsealed by shares; it is not started yet."""
    ip = loopback()
    return NativeNode(
        "lone",
        ip,
        folder,
        {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "app"),
            "HAVEN_NODE": "lone",
            "HAVEN_STORAGE": "memory",
            "HAVEN_SEAL": "shamir",
            "HAVEN_LISTEN": f"{ip}:{API}",
            "HAVEN_API_ADDR": f"http://{ip}:{API}",
            "HAVEN_CLUSTER_LISTEN": f"{ip}:{CLUSTER}",
            "HAVEN_METRICS_LISTEN": f"{ip}:{METRICS}",
        },
    )


def loopback() -> str:
    """Return an address that no other test run uses, most likely."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(2, 90)}"


def answers(address: str) -> bool:
    """Tell whether anything answers HTTP there."""
    try:
        call("GET", f"{address}/v1/sys/init")
    except OSError:
        return False
    return True


def call(
    method: str,
    url: str,
    body: object = None,
    *,
    token: str = "",
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
) -> Reply:
    """Send one request; raises `OSError` where there is no answer."""
    data = raw if raw is not None or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if data is not None else {}
    if token:
        sent["X-Vault-Token"] = token
    request = urllib.request.Request(url, data, {**sent, **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return _reply(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as refusal:
        return _reply(refusal.code, refusal.headers, refusal.read())


def _reply(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    try:
        read = json.loads(body) if body else None
    except ValueError:
        read = body.decode(errors="replace")
    return Reply(status, {name.lower(): value for name, value in headers.items()}, read)
