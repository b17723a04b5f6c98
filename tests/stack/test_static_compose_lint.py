"""The Compose file under compose-lint: OWASP's and CIS's rules for containers."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_compose_lint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("compose-lint")
    found = subprocess.run(
        [linter, "check", "--fail-on", "low", "docker-compose.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
