"""Requests per second with 1, 16 and 64 connections, through HAProxy and at the active node itself.

The client is our own (asyncio callbacks, one process); `--limit` shows how fast it is by itself, against a
server that does nothing, so that a reader can see what it hides.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from bench import openbao, stack
from bench.cluster import ROOT, Cluster, ClusterError
from bench.docker import DockerError
from bench.eventloop import run_loop
from bench.http import Target, ask
from bench.load import Full
from bench.pauses import percentile
from bench.probes import MARK, READ_PATH, Kind

CONNECTIONS = (1, 16, 64)
WARM_SECONDS = 0.5
WRITTEN = 1024
"""Writes go round so many secrets."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one measurement gave."""

    cluster: str
    way: str  # "HAProxy" or "direct"
    what: str  # "reads" or "writes"
    connections: int
    per_second: float
    p50: float  # seconds
    p99: float
    failed: int


def reads(target: Target) -> Callable[[int], tuple[Kind, bytes]]:
    """Return a maker of reads of one secret."""
    request = target.request("GET", READ_PATH)
    return lambda number: (Kind.READ, request)


def writes(target: Target) -> Callable[[int], tuple[Kind, bytes]]:
    """Return a maker of writes of many secrets."""
    requests = [
        target.request("PUT", f"secret/data/bench-write/{number}", {"data": {"value": "x" * 64}})
        for number in range(WRITTEN)
    ]
    return lambda number: (Kind.WRITE, requests[number % WRITTEN])


async def measure(
    target: Target, connections: int, make: Callable[[int], tuple[Kind, bytes]], seconds: float
) -> tuple[float, Sequence[float], int]:
    """Return requests per second that succeeded, their times, and how many failed, after a short warm-up."""
    full = Full(target, connections, make)
    full.start()
    await asyncio.sleep(WARM_SECONDS)
    full.counts.clear()
    full.seconds.clear()
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begin
    full.stop()
    return full.counts["done"] / took, full.seconds, full.counts["refused"] + full.counts["unknown"]


async def one_cluster(cluster: Cluster, seconds: float) -> list[Rate]:
    """Measure everything on one cluster."""
    active = await cluster.whole()
    await ask(cluster.target, "PUT", READ_PATH, {"data": {"mark": MARK}})
    found = []
    for way, target in (("HAProxy", cluster.target), ("direct", active.direct)):
        for what, maker in (("reads", reads), ("writes", writes)):
            for connections in CONNECTIONS:
                rate, times, failed = await measure(target, connections, maker(target), seconds)
                p50, p99 = percentile(times, 50), percentile(times, 99)
                found.append(Rate(cluster.kind, way, what, connections, rate, p50, p99, failed))
                print(
                    f"{cluster.kind:<8} {way:<8} {what:<7} {connections:3d} connections {rate:8.0f}/s",
                    flush=True,
                )
    return found


def markdown(found: Sequence[Rate]) -> str:
    """Return the table, with ratios where both were measured."""
    rates = {(one.cluster, one.way, one.what, one.connections): one for one in found}
    lines = [
        "| what | way | connections | Haven /s | p50 ms | p99 ms | OpenBao /s | p50 ms | p99 ms | ratio |",
        "|" + " --- |" * 10,
    ]
    for what in ("reads", "writes"):
        for way in ("HAProxy", "direct"):
            for connections in CONNECTIONS:
                pair = [rates.get((kind, way, what, connections)) for kind in ("haven", "openbao")]
                ours, theirs = pair
                ratio = f"{ours.per_second / theirs.per_second:.2f}" if ours and theirs else "-"
                cells = [what, way, str(connections), *_cells(ours), *_cells(theirs), ratio]
                lines.append("| " + " | ".join(cells) + " |")
    failed = sum(one.failed for one in found)
    return "\n".join([*lines, "", f"Failed requests: {failed}."]) + "\n"


def _cells(rate: Rate | None) -> list[str]:
    if rate is None:
        return ["-", "-", "-"]
    return [f"{rate.per_second:.0f}", f"{rate.p50 * 1000:.1f}", f"{rate.p99 * 1000:.1f}"]


async def limit(seconds: float) -> float:
    """Return the client's limit: requests per second of a server in this process that only answers."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(MARK), MARK.encode())

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast(asyncio.Transport, transport)

        def data_received(self, data: bytes) -> None:
            self._transport.write(answer)

    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1])
    rate, _, _ = await measure(target, 16, reads(target), seconds)
    server.close()
    return rate


async def compare(arguments: argparse.Namespace) -> list[Rate]:
    """Measure Haven, then OpenBao, each alone on the machine."""
    print(f"the client by itself, server included: {await limit(1.0):.0f}/s", flush=True)
    found = []
    sides = [(stack.start, stack.stop)] + ([] if arguments.skip_openbao else [(openbao.start, openbao.stop)])
    for start, stop in sides:
        cluster = await start()
        try:
            found += await one_cluster(cluster, arguments.seconds)
        finally:
            await stop()
    return found


def main() -> int:
    """Measure, print the table, keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--skip-openbao", action="store_true", help="measure Haven only")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "bench" / "throughput")
    arguments = parser.parse_args()
    try:
        found = run_loop(compare(arguments))
    except (ClusterError, DockerError) as error:
        print(f"haven: {error}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = markdown(found)
    (arguments.out / "throughput.md").write_text(text)
    (arguments.out / "throughput.json").write_text(json.dumps([asdict(one) for one in found], indent=1))
    print(f"\n{text}\nwritten to {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
