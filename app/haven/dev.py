"""`haven dev`: one unsealed node in memory, for trying things out; what it holds is gone when it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import TextIO

from haven.ask import NoAnswer, NotSent, ask

START_SECONDS = 60.0
CALL_SECONDS = 10.0
PAUSE_SECONDS = 0.1
BANNER = """\
Haven runs in development mode: one node, unsealed, everything in memory. Never keep a real secret in it.

  export VAULT_ADDR={address}
  export VAULT_TOKEN={token}

Unseal key, should it be sealed: {key}
Ctrl-C ends it.
"""


class DevFailed(Exception):
    """The node did not start; its own log says why."""


def environment(base: Mapping[str, str], listen: str, metrics: str) -> dict[str, str]:
    """Return the variables of a development node: of the settings around it, only the log's are kept."""
    kept = {name: value for name, value in base.items() if not name.startswith("HAVEN_")}
    logs = {name: base[name] for name in ("HAVEN_LOG_LEVEL", "HAVEN_LOG_FORMAT") if name in base}
    return {
        **kept,
        "HAVEN_LOG_LEVEL": "warning",
        **logs,
        "HAVEN_NODE": "dev",
        "HAVEN_STORAGE": "memory",
        "HAVEN_SEAL": "shamir",
        "HAVEN_LISTEN": listen,
        "HAVEN_API_ADDR": f"http://{listen}",
        "HAVEN_CLUSTER_LISTEN": "127.0.0.1:0",
        "HAVEN_METRICS_LISTEN": metrics,
    }


def run(listen: str, metrics: str, out: TextIO) -> int:
    """Start the node, initialise and unseal it, say how to use it; return its exit status."""
    if _taken(f"http://{listen}"):
        raise DevFailed(f"something else listens on {listen} already")
    node = subprocess.Popen(
        [sys.executable, "-m", "haven.server.start"], env=environment(os.environ, listen, metrics)
    )
    _pass_on_signals(node)
    try:
        token, key = prepare(node, f"http://{listen}")
        print(BANNER.format(address=f"http://{listen}", token=token, key=key), file=out, flush=True)
        return node.wait()
    finally:
        if node.poll() is None:
            node.terminate()
            node.wait()


def prepare(node: "subprocess.Popen[bytes]", address: str) -> tuple[str, str]:
    """Initialise and unseal the node once it answers; return the root token and the unseal key."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(address):
        if node.poll() is not None or time.monotonic() > deadline:
            raise DevFailed("the node did not start")
        time.sleep(PAUSE_SECONDS)
    made = _call("PUT", f"{address}/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
    key = str(made["keys_base64"][0])
    _call("PUT", f"{address}/v1/sys/unseal", {"key": key})
    while not _active(address):
        if node.poll() is not None or time.monotonic() > deadline:
            raise DevFailed("the node did not become active")
        time.sleep(PAUSE_SECONDS)
    return str(made["root_token"]), key


def _answers(address: str) -> bool:
    try:
        return ask("GET", f"{address}/v1/sys/init", CALL_SECONDS).json().get("initialized") is False
    except NoAnswer:
        return False


def _taken(address: str) -> bool:
    try:
        ask("GET", address, CALL_SECONDS)
    except NotSent:
        return False
    except NoAnswer:
        return True
    return True


def _active(address: str) -> bool:
    try:
        return ask("GET", f"{address}/v1/sys/health", CALL_SECONDS).status == 200
    except NoAnswer:
        return False


def _call(method: str, url: str, body: Mapping[str, object]) -> dict[str, list[str]]:
    """Send one request that must work."""
    try:
        answer = ask(method, url, CALL_SECONDS, body)
    except NoAnswer as silence:
        raise DevFailed(f"{url}: {silence}") from None
    if answer.status != 200:
        raise DevFailed(f"{url}: status {answer.status}")
    return answer.json()


def _pass_on_signals(node: "subprocess.Popen[bytes]") -> None:
    """Let the node leave in its own order; a terminal sends Ctrl-C to it directly."""

    def passed(number: int, _: FrameType | None) -> None:
        if node.poll() is None and number == signal.SIGTERM:
            node.terminate()

    signal.signal(signal.SIGTERM, passed)
    signal.signal(signal.SIGINT, passed)
