"""The protocol's model, searched exhaustively by spin; and its mutants, which must fail."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path(__file__).with_name("lock.pml")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SECONDS = 600
"""A net under one search: the longest takes about 10 s of processor time."""
DEPTH = 1_000_000
MEGABYTES = 1400

TWO_ANSWER = "answers("
STALE_READ = "cache["
WRITE_AFTER_ALL = "told_failed"
EXPANDED = {TWO_ANSWER: "tenure[(1-_pid)]", STALE_READ: "cache[_pid]!=2", WRITE_AFTER_ALL: "told_failed"}
"""How pan words each of the model's assertions."""

MUTANTS = {
    "AT_ONCE": TWO_ANSWER,
    "EXTEND_LAPSED": TWO_ANSWER,
    "FORGET_OWED_WAIT": TWO_ANSWER,
    "GOES_ON_AFTER_HAND_OVER": TWO_ANSWER,
    "GOES_ON_UNDER_OLD_SESSION": WRITE_AFTER_ALL,
    "KEEP_CACHE": STALE_READ,
    "LEASE_FROM_REPLY": TWO_ANSWER,
    "NO_CHECK_INDEX": STALE_READ,
    "NO_CONSISTENT_READ": TWO_ANSWER,
    "NO_FENCE": WRITE_AFTER_ALL,
    "PICK_UP_ANY_FREE_LOCK": STALE_READ,
    "REOFFERS_SESSION": TWO_ANSWER,
    "RESIGNS_BUT_FOR_THE_SPARE": TWO_ANSWER,
    "REUSED_CHECK_ID": TWO_ANSWER,
    "TIMEOUT_IS_DEATH": TWO_ANSWER,
    "TRUST_ANY_CRITICAL": TWO_ANSWER,
    "UNCAPPED_LEASE": TWO_ANSWER,
    "UNCONDITIONAL": TWO_ANSWER,
    "UNKNOWN_IS_FAILED": WRITE_AFTER_ALL,
    "WRITES_WHILE_WAITING": STALE_READ,
}
"""Each rule that the model can leave out, and the promise that the search sees broken first without it."""

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler here: spin's verifier is a C program")


@pytest.fixture(scope="module")
def spin() -> Path:
    """Return the program spin, fetched from Debian's archive where it is missing."""
    program = ROOT / ".cache" / "bin" / "spin"
    if not program.exists():
        subprocess.run([ROOT / "scripts" / "fetch-tools", "spin"], check=True, timeout=SECONDS)
    return program


def search(spin: Path, place: Path, optimise: str, *defines: str) -> str:
    """Build the verifier of the model with these macros, run it and return what it printed."""
    assert COMPILER
    options = [f"-D{define}" for define in defines]
    subprocess.run(
        [spin, *options, "-a", MODEL], cwd=place, check=True, timeout=SECONDS, stdout=subprocess.PIPE
    )
    build = [
        COMPILER,
        "-w",
        optimise,
        "-DSAFETY",
        "-DCOLLAPSE",
        f"-DMEMLIM={MEGABYTES}",
        "-o",
        "pan",
        "pan.c",
    ]
    subprocess.run(build, cwd=place, check=True, timeout=SECONDS)
    command = [str(place / "pan"), f"-m{DEPTH}", "-w22"]
    done = subprocess.run(command, cwd=place, text=True, timeout=SECONDS, capture_output=True, check=False)
    return done.stdout + done.stderr


def summary(report: str) -> str:
    """Return the size and the time of a search, for the log."""
    wanted = re.findall(
        r"(\d+ states, stored|elapsed time [\d.e+]+ seconds|[\d.]+\s+total actual memory)", report
    )
    return ", ".join(" ".join(found.split()) for found in wanted)


def unreached(report: str) -> list[str]:
    """Return the statements of the model that no run came to; every process here runs for ever."""
    lines = re.findall(r"^\t\S*lock\.pml:\d+, state \d+, .*$", report, re.MULTILINE)
    return [line.strip() for line in lines if '"-end-"' not in line]


def test_no_run_breaks_a_promise(spin: Path, tmp_path: Path) -> None:
    report = search(spin, tmp_path, "-O2")
    print(summary(report))
    assert "errors: 0" in report, report
    for truncated in ("Search not completed", "too small", "out of memory", "interrupted"):
        assert truncated not in report, report
    assert "states, stored" in report
    assert unreached(report) == []


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_rule_left_out_is_noticed(spin: Path, tmp_path: Path, mutant: str) -> None:
    report = search(spin, tmp_path, "-O1", mutant)
    print(summary(report))
    violated = re.search(r"assertion violated (.*) \(at depth", report)
    assert violated, report
    assert EXPANDED[MUTANTS[mutant]] in violated[1]


def test_every_mutant_of_the_model_is_tried() -> None:
    text = MODEL.read_text()
    switches = set(re.findall(r"^#ifn?def (\w+)$", text, re.MULTILINE))
    assert switches - {"POOL", "FAULTS"} == set(MUTANTS)
