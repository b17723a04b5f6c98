"""`haven dev`, whole: the real application in a process of its own."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from node_process import PATIENCE, ROOT, eventually, free_port

from haven.ask import ask


def test_one_command_gives_an_unsealed_node_and_a_token(tmp_path: Path) -> None:
    listen, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    out, log = tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "haven.cli", "dev", "--listen", listen, "--metrics", metrics]
    with out.open("wb") as told, log.open("wb") as logged:
        node = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT / "app")}, stdout=told, stderr=logged
        )
    try:
        eventually(lambda: "VAULT_TOKEN=" in out.read_text() or node.poll() is not None, "it says how")
        token = out.read_text().partition("VAULT_TOKEN=")[2].split()[0]
        request = urllib.request.Request(
            f"http://{listen}/v1/auth/token/lookup-self", headers={"X-Vault-Token": token}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert "root" in json.load(answer)["data"]["policies"]
        assert b'haven_role{role="active"} 1.0' in ask("GET", f"http://{metrics}/metrics", PATIENCE).body
        assert token not in log.read_text()
    finally:
        node.terminate()
        assert node.wait(PATIENCE) == 0
