"""`make bench`: measure each fault many times on Haven, and the same on OpenBao beside it."""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import openbao, stack
from bench.cluster import ROOT, Cluster, ClusterError
from bench.docker import DockerError
from bench.eventloop import run_loop
from bench.failover.plots import distributions, waterfall
from bench.failover.report import NAMES, groups, markdown, milliseconds
from bench.failover.store import Result, Setting, Store, failure, result
from bench.faults import FAULTS, Fault
from bench.load import CONNECTIONS, RATE
from bench.preload import preload
from bench.trial import run

MOST_BROKEN = 3
"""After so many trials in a row that did not come to their end a kind of cluster is given up."""


@dataclass(frozen=True)
class Side:
    """One kind of cluster, and how it is started and removed."""

    kind: str
    start: Callable[[], Awaitable[Cluster]]
    stop: Callable[[], Awaitable[None]]


SIDES = (Side("haven", stack.start, stack.stop), Side("openbao", openbao.start, openbao.stop))


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def missing(done: Sequence[Result], kind: str, fault: Fault, setting: Setting, runs: int) -> int:
    """Return how many trials of a fault are still to be done."""
    had = sum(
        (one.kind, one.fault, one.setting) == (kind, fault.name, setting) and not one.error for one in done
    )
    return max(0, runs - had)


async def measure(side: Side, faults: Sequence[Fault], setting: Setting, runs: int, store: Store) -> None:
    """Start one kind of cluster, do what is missing, and remove it."""
    own = [fault for fault in faults if side.kind in fault.kinds]
    if not any(missing(store.all(), side.kind, fault, setting, runs) for fault in own):
        return
    say(f"{NAMES[side.kind]}: starting three nodes")
    cluster = await side.start()
    try:
        await cluster.whole()
        if setting.secrets:
            say(f"{NAMES[side.kind]}: storing {setting.secrets} secrets")
            await preload(cluster, setting.secrets)
        await _rounds(side, cluster, own, setting, runs, store)
    finally:
        await side.stop()


async def _rounds(
    side: Side, cluster: Cluster, faults: Sequence[Fault], setting: Setting, runs: int, store: Store
) -> None:
    """Go round the faults, so that a change of the machine's mood meets all of them alike."""
    broken = 0
    while left := [fault for fault in faults if missing(store.all(), side.kind, fault, setting, runs)]:
        for fault in left:
            try:
                one = result(side.kind, await run(cluster, fault, load=setting.load), setting)
                broken = 0
            except (ClusterError, DockerError) as error:
                one = failure(side.kind, fault.name, setting, str(error))
                broken += 1
            store.add(one)
            _tell(one)
            if broken == MOST_BROKEN:
                raise ClusterError(f"{NAMES[side.kind]} does not become whole again: {one.error}")
            if one.error:
                cluster = await side.start()


def _tell(one: Result) -> None:
    name = f"{NAMES[one.kind]:<8} {one.fault:<16}"
    if one.error:
        return say(f"{name} broken: {one.error}")
    say(
        f"{name} pause of reads {milliseconds(one.reads['pause']):>6} ms, of writes"
        f" {milliseconds(one.writes['pause']):>6} ms; reads failed"
        f" {one.reads['refused'] + one.reads['unknown']:.0f}, writes refused {one.writes['refused']:.0f},"
        f" unknown {one.writes['unknown']:.0f}"
    )


def write_report(folder: Path, store: Store, setting: Setting) -> None:
    """Write results.json, report.md and the two pictures, and print the tables."""
    found = groups(store.all(), setting)
    if not found:
        return
    text = markdown(found, setting, time.strftime("%Y-%m-%d %H:%M"))
    (folder / "report.md").write_text(text)
    (folder / "pauses.svg").write_text(distributions(found, str(setting)))
    (folder / "waterfall.svg").write_text(waterfall(found, str(setting)))
    rows = [dataclasses.asdict(one) for group in found for one in group.results]
    (folder / "results.json").write_text(json.dumps(rows, indent=1))
    say("")
    say(text)
    say(f"written to {os.path.relpath(folder)}: report.md, results.json, pauses.svg, waterfall.svg")


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", action="append", choices=names, help="this fault; may be repeated")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS") or 20), help="of each fault")
    parser.add_argument("--load", default="", help="beside the probes: '200/s' or '16 connections'")
    parser.add_argument("--secrets", type=int, default=0, help="so many are stored before")
    parser.add_argument("--skip-openbao", action="store_true", help="measure Haven only")
    parser.add_argument("--skip-haven", action="store_true", help="measure OpenBao only")
    parser.add_argument("--out", type=Path, help="folder for the results; a run there is taken up again")
    parser.add_argument("--report", action="store_true", help="only write the report of what is there")
    arguments = parser.parse_args(words)
    if arguments.load and not (RATE.fullmatch(arguments.load) or CONNECTIONS.fullmatch(arguments.load)):
        parser.error("--load is '200/s' or '16 connections'")
    return arguments


async def bench(arguments: argparse.Namespace, store: Store, setting: Setting) -> None:
    """Measure what was asked for."""
    faults = [fault for fault in FAULTS if not arguments.only or fault.name in arguments.only]
    skipped = {"openbao": arguments.skip_openbao, "haven": arguments.skip_haven}
    for side in SIDES:
        if not skipped[side.kind]:
            await measure(side, faults, setting, arguments.runs, store)


def main() -> int:
    """Measure, then report; an interrupted run reports what it has."""
    arguments = read_arguments(sys.argv[1:])
    setting = Setting(arguments.load, arguments.secrets)
    folder = arguments.out or ROOT / ".cache" / "bench" / "failover" / str(setting).replace(" ", "-").replace(
        "/", "-"
    ).replace(",", "")
    store = Store(folder)
    status = 0
    try:
        if not arguments.report:
            run_loop(bench(arguments, store, setting))
    except (ClusterError, DockerError) as error:
        print(f"haven: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("haven: stopped; the same command goes on from here", file=sys.stderr)
        status = 130
    write_report(folder, store, setting)
    return status


if __name__ == "__main__":
    sys.exit(main())
