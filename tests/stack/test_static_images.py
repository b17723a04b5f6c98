"""The images' files: linted, based on arguments, run by users of their own, and built from little."""

import re

import pytest

from stack.checkout import ROOT, compose, run

DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))
BIN = ROOT / ".venv" / "bin"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing(dockerfile) -> None:
    linted = run(str(BIN / "hadolint"), "--config", ".hadolint.yaml", str(dockerfile))
    assert linted.returncode == 0, linted.stdout


def test_yamllint_finds_nothing() -> None:
    linted = run(str(BIN / "yamllint"), "--strict", ".")
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_base_can_be_replaced_and_pinned(dockerfile) -> None:
    text = dockerfile.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)", text, re.MULTILINE))
    bases = {base for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if base not in stages}
    assert bases <= {"${BASE}", "${SOURCE}"}
    for argument in re.findall(r"^ARG (?:BASE|SOURCE)=(\S+)", text, re.MULTILINE):
        assert ":" in argument
        assert not argument.endswith(":latest")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_runs_as_the_user_that_compose_names(dockerfile) -> None:
    name = dockerfile.parent.name
    user = re.findall(r"^USER (\d+)", dockerfile.read_text(), re.MULTILINE)[-1]
    image = f"haven/{name}:latest"
    users = {s["user"].split(":")[0] for s in compose()["services"].values() if s["image"] == image}
    assert users == {user}


def test_python_packages_are_installed_by_hash_alone() -> None:
    text = (ROOT / "images" / "app" / "Dockerfile").read_text()
    commands = [
        line for line in text.replace("\\\n", " ").splitlines() if re.search(r"\bpip (wheel|.*install)", line)
    ]
    for command in (
        part for line in commands for part in line.split("&&") if "pip" in part and "apt-get" not in part
    ):
        fetches = "wheel" in command and "--no-deps" not in command
        assert not fetches or ("--require-hashes" in command and "--no-build-isolation" in command)
        assert " install " not in command or "--no-index" in command


def test_the_build_context_holds_no_secret_or_history() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert not [
        rule for rule in rules if rule.startswith("!") and re.search(r"\.(git|haven|env|venv)\b", rule)
    ]


def test_no_host_of_a_mirror_or_index_is_written_down() -> None:
    texts = [
        path.read_text()
        for folder in ("images", "scripts")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    assert not [url for text in texts for url in re.findall(r"https?://(?!127\.0\.0\.1|\$)[\w.-]+", text)]
