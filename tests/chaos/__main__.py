"""Play faults of the catalogue on a stack of its own, one after the other: `python -m chaos --help`."""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaos.catalogue import CATALOGUE
from chaos.conduct import conduct
from chaos.faults import Fault
from chaos.judgement import BUSY
from chaos.report import picture, table, verdict
from stack.checkout import ROOT
from stack.containers import CommandFailed
from stack.running import Stack


def main() -> int:
    """Play, resume where an earlier run with the same seed was interrupted, and write the report."""
    given = _arguments()
    if given.list:
        width = max(map(len, CATALOGUE))
        print("\n".join(f"{fault.name:{width}}  {fault.meaning}" for fault in CATALOGUE.values()))
        return 0
    folder = ROOT / ".cache" / "chaos" / f"seed-{given.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    state = State(folder / "state.json", fresh=given.fresh)
    stack = Stack()
    for ending in (signal.SIGINT, signal.SIGTERM):  # so that the stack is removed in any case
        signal.signal(ending, signal.default_int_handler)
    try:
        _play(stack, state, given)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here")
    finally:
        stack.wipe()
        _write_report(folder, state.entries)
    bad = [entry["fault"] for entry in state.entries if entry["lies"] or entry["complaints"]]
    print(f"{len(state.entries)} faults played, {len(bad)} with complaints: {folder}/report.md, timeline.svg")
    return 1 if bad else 0


class State:
    """What has been played, kept in a file after each fault."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self.entries: list[dict[str, Any]] = []
        if path.exists() and not fresh:
            self.entries = json.loads(path.read_text())

    def has(self, name: str, seed: int) -> bool:
        return any(entry["fault"] == name and entry["seed"] == seed for entry in self.entries)

    def add(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self.entries, default=str))
        new.replace(self._path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=CATALOGUE, help="a fault, or more")
    parser.add_argument("--seed", type=int, default=1, help="decides order, victims and durations")
    parser.add_argument("--minutes", type=float, help="play round after round for so long; else one round")
    parser.add_argument("--fresh", action="store_true", help="forget what was played with this seed")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    return parser.parse_args()


def _plan(given: argparse.Namespace) -> Iterator[tuple[Fault, int]]:
    """Yield faults with the seed of their round, every fault once a round."""
    number = 0
    while number == 0 or given.minutes:
        seed = given.seed + 1000 * number
        names = list(given.only or CATALOGUE)
        random.Random(seed).shuffle(names)
        yield from ((CATALOGUE[name], seed) for name in names)
        number += 1


def _play(stack: Stack, state: State, given: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * given.minutes if given.minutes else None
    total = "" if given.minutes else f"/{len(given.only or CATALOGUE)}"
    started = False
    for number, (fault, seed) in enumerate(_plan(given), 1):
        if deadline and time.monotonic() > deadline:
            return
        if state.has(fault.name, seed):
            continue
        if not started:
            print("starting a stack of its own", flush=True)
            stack.wipe()
            print(stack.up(), flush=True)
            started = True
        begun = time.monotonic()
        try:
            result = asyncio.run(conduct(stack, fault, seed))
        except AssertionError as broken:
            print(f"[{number}{total}] {fault.name}: {broken}\nstarting afresh", flush=True)
            state.add(_wreck(fault, seed, broken))
            started = False
            continue
        entry = result.as_json()
        print(
            f"[{number}{total}] {time.monotonic() - begun:.0f} s, {verdict(entry)}: {result.line()}",
            flush=True,
        )
        if result.wrong:
            print("\n".join([*result.wrong, stack.report()]), flush=True)
        state.add(entry)


def _wreck(fault: Fault, seed: int, broken: AssertionError) -> dict[str, Any]:
    """Return the entry of a fault that was not played to its end: the stack did not come back, or worse."""
    load = os.getloadavg()[0]
    told = [f"not played to its end: {str(broken).splitlines()[0]}"]
    busy = load > BUSY and not isinstance(broken, CommandFailed)
    return {
        "fault": fault.name,
        "seed": seed,
        "budget": fault.promise.budget,
        "seconds": 0.0,
        "began": 0.0,
        "load": load,
        "leaders": ("?", "?"),
        "marks": [],
        "roles": [],
        "failures": [],
        "answers": {entrance: {} for entrance in ("haproxy", "haven-1", "haven-2", "haven-3")},
        "pauses": {"reads": (0.0, 0.0), "writes": (0.0, 0.0)},
        "lies": [],
        "complaints": [] if busy else told,
        "excused": told if busy else [],
    }


def _write_report(folder: Path, entries: list[dict[str, Any]]) -> None:
    meanings = {name: fault.meaning for name, fault in CATALOGUE.items()}
    title = "# Chaos on the stack\n\n![Time lines](timeline.svg)\n\n"
    (folder / "report.md").write_text(f"{title}{table(entries, meanings)}\n")
    (folder / "timeline.svg").write_text(picture(entries))


if __name__ == "__main__":
    sys.exit(main())
