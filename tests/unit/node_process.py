"""Run the tiny node in a process of its own, on loopback."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0
"""Seconds until a condition counts as missed: the machine may be loaded."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a true value and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


class NodeProcess:
    """The process, its diary (what the application noted) and its log."""

    def __init__(self, folder: Path, module: str = "tiny_node_app", **variables: str) -> None:
        self.port = free_port()
        self.diary_path, self.log_path = folder / "diary", folder / "log"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'tests' / 'unit'}",
            "HAVEN_LISTEN": f"127.0.0.1:{self.port}",
            "TINY_DIARY": str(self.diary_path),
            **variables,
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def diary(self) -> list[str]:
        return self.diary_path.read_text().splitlines() if self.diary_path.exists() else []

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def ready(self) -> "NodeProcess":
        eventually(self._answers, "the node answers")
        return self

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = self.connect()
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()

    def worker(self) -> int:
        return int(self.ask("GET", "/tiny")[1]["pid"])

    def ended(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(PATIENCE)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.ask("GET", "/tiny")[0] == 200
        except OSError:
            return False
