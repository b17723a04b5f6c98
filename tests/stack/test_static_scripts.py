"""The stack's scripts: whole, and one line where something is missing that says what to do."""

import os
import re
import socket
from pathlib import Path

import pytest

from stack.checkout import ROOT, has_docker, run

SHELL = sorted(
    path
    for path in [*(ROOT / "scripts").iterdir(), *(ROOT / "images").glob("*/*")]
    if path.is_file() and re.match(r"#!.*bash|# shellcheck shell=bash", path.read_text().partition("\n")[0])
)
needs_docker = pytest.mark.skipif(not has_docker(), reason="no Docker daemon")


def path_without(folder: Path, *missing: str) -> str:
    """Return a PATH on which some programs are not found."""
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*") if place else ():
            link = folder / program.name
            if program.name not in missing and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


def one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_a_script_is_valid_bash(script: Path) -> None:
    checked = run("bash", "-n", str(script))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("command", ["up", "reload", "down", "clean", "status", "images"])
def test_without_docker_it_says_to_install_it(command: str, tmp_path: Path) -> None:
    told = run(f"scripts/{command}", PATH=path_without(tmp_path, "docker"))
    assert told.returncode == 1
    assert "install Docker" in one_line(told.stderr)


@pytest.mark.parametrize("command", ["up", "reload", "down", "clean", "status", "images"])
def test_without_a_daemon_it_says_to_start_it(command: str, tmp_path: Path) -> None:
    refused = tmp_path / "bin"
    refused.mkdir()
    (refused / "docker").write_text("#!/bin/sh\nexit 1\n")
    (refused / "docker").chmod(0o755)
    told = run(f"scripts/{command}", PATH=f"{refused}:{os.environ['PATH']}")
    assert told.returncode == 1
    assert "start it" in one_line(told.stderr)


@needs_docker
def test_a_port_that_is_taken_is_named_with_the_variable_to_set() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        told = run("scripts/up", COMPOSE_PROJECT_NAME="haven-none", HAVEN_PORT=port)
    assert told.returncode == 1
    assert port in one_line(told.stderr)
    assert "HAVEN_PORT" in told.stderr


def test_an_unknown_image_is_refused(tmp_path: Path) -> None:
    stub = tmp_path / "docker"
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)
    told = run("scripts/images", "nginx", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert told.returncode == 1
    assert "nginx" in one_line(told.stderr)


def test_the_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    settings = tmp_path / "env"
    settings.write_text("# a comment\nCOMPOSE_PROJECT_NAME=from-file\nHAVEN_IMAGE_TAG=from-file\nnonsense\n")
    shown = run(
        *("bash", "-c", '. scripts/lib.sh; echo "$project $tag $state"'),
        HAVEN_ENV_FILE=str(settings),
        HAVEN_IMAGE_TAG="from-environment",
    )
    assert shown.stdout.split() == ["from-file", "from-environment", ".haven/from-file"]


def test_what_holds_secrets_is_kept_out_of_git() -> None:
    ignored = run("git", "check-ignore", ".env", ".haven/init.json", ".haven/other/init.json", ".cache/x")
    assert len(ignored.stdout.split()) == 4
