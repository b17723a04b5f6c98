"""The containers' health check, as Docker runs it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_double import ApiDouble

PROBE = Path(__file__).resolve().parents[2] / "images" / "base" / "http-probe"
HEALTH = "/v1/sys/health"
PATIENCE = 10.0


@pytest.fixture
def api() -> Iterator[ApiDouble]:
    double = ApiDouble()
    yield double
    double.close()


def start(probed: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PROBED": str(probed)}
    return subprocess.Popen([str(PROBE), *arguments], env=environment, stdout=subprocess.PIPE, text=True)


def status(probed: Path, *arguments: str) -> int:
    process = start(probed, *arguments)
    process.communicate(timeout=PATIENCE)
    return process.returncode


def test_the_first_check_that_goes_well_ends_at_once(api: ApiDouble, tmp_path: Path) -> None:
    assert status(tmp_path / "probed", str(api.port), HEALTH) == 0


def test_the_next_one_stays(api: ApiDouble, tmp_path: Path) -> None:
    probed = tmp_path / "probed"
    probed.touch()
    process = start(probed, str(api.port), HEALTH)
    try:
        deadline = time.monotonic() + PATIENCE
        command = Path(f"/proc/{process.pid}/cmdline")
        while not command.read_bytes().startswith(b"sleep"):
            assert process.poll() is None
            assert time.monotonic() < deadline
    finally:
        process.kill()
        process.communicate()


def test_a_failure_is_told_at_once_also_later(api: ApiDouble, tmp_path: Path) -> None:
    probed = tmp_path / "probed"
    probed.touch()
    api.health = 500
    assert status(probed, str(api.port), HEALTH) == 1
    api.close()
    assert status(probed, str(api.port), HEALTH) == 1


def test_the_pattern_must_be_in_the_answer(api: ApiDouble, tmp_path: Path) -> None:
    assert status(tmp_path / "probed", str(api.port), HEALTH, '"sealed": ?true') == 0
    assert status(tmp_path / "probed", str(api.port), HEALTH, "no such thing") == 1


def test_a_server_that_is_silent_is_not_healthy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert status(tmp_path / "probed", str(silent.getsockname()[1]), "/alive") == 1
