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
from bench.failover.report import NAMES, Group, groups, markdown, milliseconds
from bench.failover.store import Result, Setting, Store, failure, result
from bench.failover.work import Work
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


async def measure(side: Side, work: Work) -> None:
    """Do what is missing on one kind of cluster, and remove it."""
    if not work.left(side.kind):
        return
    try:
        await _rounds(side, work)
    finally:
        await side.stop()


async def _fresh(side: Side, setting: Setting) -> Cluster:
    """Start a cluster and fill it; whatever was left of one before is gone."""
    await side.stop()
    say(f"{NAMES[side.kind]}: starting three nodes")
    cluster = await side.start()
    await cluster.whole()
    if setting.secrets:
        say(f"{NAMES[side.kind]}: storing {setting.secrets} secrets")
        await preload(cluster, setting.secrets)
    return cluster


async def _rounds(side: Side, work: Work) -> None:
    """Go round the faults, so that a change of the machine's mood meets all of them alike."""
    cluster, broken = await _fresh(side, work.setting), 0
    while left := work.left(side.kind):
        for fault in left:
            try:
                one = await _one(side, cluster, fault, work.setting)
            except DockerError as error:  # says nothing about the cluster: the trial is done again
                say(f"{NAMES[side.kind]:<8} {fault.name}: Docker failed: {error}")
            else:
                work.store.add(one)
                _tell(one, work)
                if not one.error:
                    broken = 0
                    continue
            broken += 1
            if broken == MOST_BROKEN:
                raise ClusterError(
                    f"{broken} trials on {NAMES[side.kind]} in a row did not come to their end"
                )
            cluster = await _fresh(side, work.setting)


async def _one(side: Side, cluster: Cluster, fault: Fault, setting: Setting) -> Result:
    begin = time.monotonic()
    try:
        one = result(side.kind, await run(cluster, fault, load=setting.load), setting)
    except ClusterError as error:
        return failure(side.kind, fault.name, setting, str(error))
    return dataclasses.replace(one, took=time.monotonic() - begin)


def _tell(one: Result, work: Work) -> None:
    number, of = work.done(one.kind)
    name = f"{NAMES[one.kind]:<8} {number:3d}/{of} {one.fault:<15}"
    if one.error:
        return say(f"{name} broken: {one.error}")
    say(
        f"{name} pause of reads {milliseconds(one.reads['pause']):>6} ms, of writes"
        f" {milliseconds(one.writes['pause']):>6} ms; reads failed"
        f" {one.reads['refused'] + one.reads['unknown']:.0f}, writes refused {one.writes['refused']:.0f},"
        f" unknown {one.writes['unknown']:.0f}; {work.seconds_left() / 60:.0f} min left"
    )


def write_report(folders: Sequence[Path], found: Sequence[Group], setting: Setting) -> None:
    """Write results.json, report.md and the two pictures into each folder, and print the tables."""
    text = markdown(found, setting, time.strftime("%Y-%m-%d %H:%M"))
    say(f"\n{text}")
    rows = [dataclasses.asdict(one) for group in found for one in group.results]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(text)
        (folder / "pauses.svg").write_text(distributions(found, str(setting)))
        (folder / "waterfall.svg").write_text(waterfall(found, str(setting)))
        (folder / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
        say(f"written to {os.path.relpath(folder)}: report.md, results.json, pauses.svg, waterfall.svg")


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", action="append", choices=names, help="this fault; may be repeated")
    parser.add_argument("--skip-consul", action="store_true", help="only faults of the active node itself")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS") or 20), help="of each fault")
    parser.add_argument("--load", default="", help="beside the probes: '200/s' or '16 connections'")
    parser.add_argument("--secrets", type=int, default=0, help="so many are stored before")
    parser.add_argument("--skip-openbao", action="store_true", help="measure Haven only")
    parser.add_argument("--skip-haven", action="store_true", help="measure OpenBao only")
    parser.add_argument("--out", type=Path, help="folder for the results; a run there is taken up again")
    parser.add_argument(
        "--save", type=Path, help="folder that gets a copy of the report, say docs/benchmarks/a"
    )
    parser.add_argument("--report", action="store_true", help="only write the report of what is there")
    arguments = parser.parse_args(words)
    if arguments.load and not (RATE.fullmatch(arguments.load) or CONNECTIONS.fullmatch(arguments.load)):
        parser.error("--load is '200/s' or '16 connections'")
    return arguments


async def bench(arguments: argparse.Namespace, store: Store, setting: Setting) -> None:
    """Measure what was asked for."""
    faults = [
        fault
        for fault in FAULTS
        if fault.name in (arguments.only or [fault.name])
        and not (arguments.skip_consul and fault.inflicted_on_consul)
    ]
    skipped = {"openbao": arguments.skip_openbao, "haven": arguments.skip_haven}
    sides = [side for side in SIDES if not skipped[side.kind]]
    work = Work([side.kind for side in sides], faults, setting, arguments.runs, store)
    for side in sides:
        await measure(side, work)


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
    found = groups(store.all(), setting)
    if found:
        write_report([folder, arguments.save] if arguments.save else [folder], found, setting)
    return status


if __name__ == "__main__":
    sys.exit(main())
