"""What the tests of the stack's files share: where they are, and Compose's reading of them."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, without the developer's own settings of the stack."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HAVEN_", "COMPOSE_"))}
    settings.setdefault("HAVEN_ENV_FILE", ".env.example")
    return subprocess.run(
        command, cwd=ROOT, env=inherited | settings, capture_output=True, text=True, timeout=600
    )


def tool(name: str) -> str:
    """Return the path of a tool in .cache/bin, fetching it if it is not there."""
    fetched = run("scripts/fetch-tools", name)
    assert fetched.returncode == 0, fetched.stderr
    return str(ROOT / ".cache" / "bin" / name)


def compose(**settings: str) -> dict[str, Any]:
    """Return the Compose file as Compose 2 reads it, with every profile."""
    shown = run("scripts/compose", "--env-file", ".env.example", "--profile", "grafana", "config", **settings)
    assert shown.returncode == 0, shown.stderr
    read: dict[str, Any] = yaml.safe_load(shown.stdout)
    return read


def has_docker() -> bool:
    """Tell whether a Docker daemon answers."""
    return bool(shutil.which("docker")) and run("docker", "version").returncode == 0
