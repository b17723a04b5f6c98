"""Nodes that do as they are told, behind a real HAProxy with the project's own configuration."""

import http.client
import json
import re
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stack.checkout import ROOT, run

Answer = tuple[int, dict[str, Any], http.client.HTTPMessage]
IMAGE = "haven/haproxy:latest"
SECONDS = 60.0
HANGS = 0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail the test with `what` when it does not come."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class QuietServer(ThreadingHTTPServer):
    """A server that does not complain about HAProxy's checks, which end with a reset."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


class ToldNode:
    """A node: `health` is the status of its health check, `how` what it does with a request.

    `how` is `answer`, `refuse` (503), `close` (without an answer), `hang` (until the end of the test) or
    `late` (answers when `go_on` is set). With `health` 0 its health check hangs too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.health = 429
        self.how = "answer"
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.go_on = threading.Event()
        self._end = threading.Event()
        self._server = QuietServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.port = int(self._server.server_address[1])

    def stop(self) -> None:
        """Close the listener; what hangs is let go."""
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(node: "ToldNode") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.startswith("/v1/sys/health"):
                    self._hang() if node.health == HANGS else self._send(node.health, {})
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                node.seen.append((self.command, body.decode(), headers))
                if node.how == "close":
                    self.close_connection = True
                    return
                if node.how == "hang":
                    self._hang()
                    return
                if node.how == "late":
                    node.go_on.wait(SECONDS)
                self._send(503 if node.how == "refuse" else 200, {"node": node.name})

            def _hang(self) -> None:
                node._end.wait(SECONDS)
                self.close_connection = True

            def _send(self, status: int, answer: dict[str, str]) -> None:
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = do_LIST = _serve

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


class Proxy:
    """HAProxy in a container on the host's network, before three told nodes."""

    def __init__(self, folder: Path, *, writes_stay_down: bool = False) -> None:
        self.nodes = [ToldNode(f"haven-{number}") for number in (1, 2, 3)]
        self.port, self.statistics = free_port(), free_port()
        self._name = f"haven-test-proxy-{uuid.uuid4().hex[:8]}"
        configuration = folder / "haproxy.cfg"
        self._text = self._adapted()
        if writes_stay_down:
            self._text = self._text.replace(" fall 2 ", " downinter 1h fall 2 ")
            assert "downinter" in self._text
        configuration.write_text(self._text)
        folder.chmod(0o755)
        configuration.chmod(0o644)
        mount = f"{configuration}:/etc/haproxy/haproxy.cfg:ro"
        started = run(
            *("docker", "run", "--detach", "--name", self._name, "--network", "host", "--init"),
            *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
            *("--volume", mount, IMAGE),
        )
        assert started.returncode == 0, started.stderr

    def reload(self, change: tuple[str, str] = ("", "")) -> subprocess.CompletedProcess[str]:
        """Let a new worker take over with the configuration, in which one text may be changed for another."""
        text = self._text.replace(*change) if change[0] else self._text
        command = ["docker", "exec", "--interactive", self._name, "haproxy-reload"]
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def stop(self) -> subprocess.Popen[bytes]:
        """Begin what `docker stop` does, with Compose's time for it."""
        return subprocess.Popen(["docker", "stop", "--time", "25", self._name], stdout=subprocess.DEVNULL)

    def exit_code(self) -> int:
        """Return what HAProxy's container ended with."""
        return int(run("docker", "inspect", "--format", "{{.State.ExitCode}}", self._name).stdout)

    def log(self) -> str:
        """Return what HAProxy wrote."""
        shown = run("docker", "logs", self._name)
        return shown.stdout + shown.stderr

    def close(self) -> None:
        """Remove the container and the nodes."""
        subprocess.run(["docker", "rm", "--force", self._name], capture_output=True, check=False)
        for node in self.nodes:
            node.stop()

    def settle(self, *health: int, backends: Sequence[str] = ("reads", "writes")) -> None:
        """Give the nodes these health statuses, and wait until HAProxy has seen them."""
        for node, status in zip(self.nodes, health, strict=True):
            node.health = status
        active = [int(status == 200) for status in health]
        unsealed = [int(status in (200, 429)) for status in health]
        wait_until(lambda: self.view("active") == active, f"HAProxy sees {active} active")
        for backend in backends:
            wait_until(lambda b=backend: self.view(b) == unsealed, f"{backend} see {unsealed} unsealed")  # type: ignore[misc]

    def view(self, backend: str) -> list[int]:
        """Return which servers of a backend HAProxy counts in."""
        try:
            text = self._get(self.statistics, "/metrics")
        except OSError:
            return []
        line = r'haproxy_server_status{{proxy="{}",server="haven-{}",state="UP"}} (\d)'
        found = [re.search(line.format(backend, number), text) for number in (1, 2, 3)]
        return [int(match.group(1)) if match else -1 for match in found]

    def ask(self, method: str, body: str = "", query: str = "", **headers: str) -> Answer:
        """Send one request on a new connection; return status, body and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/v1/secret/data/x{query}", body or None, named)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}"), response.headers
        finally:
            connection.close()

    def requests(self) -> int:
        """Return how many requests reached nodes."""
        return sum(len(node.seen) for node in self.nodes)

    def _get(self, port: int, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def _adapted(self) -> str:
        """Return the configuration with the nodes' ports, and listening on loopback only."""
        text = (ROOT / "haproxy" / "haproxy.cfg").read_text()
        for number, node in enumerate(self.nodes, 1):
            text = text.replace(f'"${{HAVEN_{number}}}:8200"', f"127.0.0.1:{node.port}")
            text = text.replace(f"bind :821{number}", f"bind 127.0.0.1:{free_port()}")
        text = text.replace("bind :8200", f"bind 127.0.0.1:{self.port}")
        return text.replace("bind :8404", f"bind 127.0.0.1:{self.statistics}")
