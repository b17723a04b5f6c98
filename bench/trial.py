"""One fault on a cluster that is whole, with probes before, during and after it, until it is whole again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bench.checks import Verdict, check
from bench.cluster import Cluster, Node, until
from bench.docker import events, logs
from bench.faults import Fault, Victim
from bench.http import ask
from bench.load import Load
from bench.machine import Processor
from bench.pauses import Summary, lateness, summarise
from bench.probes import MARK, READ_PATH, STREAMS, Clock, Kind, Outcome, Prober, Record, Stream
from bench.timeline import STEPS, Line, Timeline, read_line, trace

WARM_SECONDS = 1.2
AFTER_SECONDS = 0.5
HOLD_SECONDS = 1.0
"""A fault lasts at least so long before it is mended."""


@dataclass(frozen=True)
class Trial:
    """What one fault did."""

    fault: Fault
    victim: Victim
    records: Sequence[Record]
    timeline: Timeline
    reads: Summary
    writes: Summary
    leader_before: str
    leader_after: str
    whole_after: float  # seconds from the fault to a whole cluster again
    late: dict[str, float]  # of the probes; the share of a core that they took, and of all that was stolen
    verdict: Verdict
    load: dict[str, int]  # what became of the requests of the load beside the probes


async def run(cluster: Cluster, fault: Fault, streams: Sequence[Stream] = STREAMS, load: str = "") -> Trial:
    """Do it; raises `ClusterError` or `DockerError` where the cluster does not become whole."""
    victim = await fault.aim(cluster, await cluster.whole(settle=0.0))  # the probes' first second follows
    await ask(cluster.target, "PUT", READ_PATH, {"data": {"mark": MARK}})
    clock = Clock()
    prober = Prober(cluster.target, clock, streams)
    beside = Load(cluster.target, load)
    await beside.start()
    processor = Processor.now()
    await prober.start()
    try:
        await asyncio.sleep(WARM_SECONDS)
        asked = clock.now()
        await fault.inflict(cluster, victim)
        await asyncio.sleep(max(HOLD_SECONDS, fault.hold))
        if fault.mend:
            await _taken_over(cluster, victim)
            await fault.mend(cluster, victim)
        after = await cluster.whole()
        whole = clock.now()
        await asyncio.sleep(AFTER_SECONDS)
    finally:
        records, counts = await prober.stop(), await beside.stop()
        stolen = Processor.now().stolen_since(processor)
    done = await _carried_out(fault, victim, asked, whole)
    lines = await _lines(cluster, asked)
    reads = [record for record in records if record.kind is Kind.READ]
    answers = [record.answered for record in reads if record.outcome is Outcome.DONE]
    return Trial(
        fault,
        victim,
        records,
        trace(lines, STEPS[cluster.kind], asked, done, answers, whole),
        summarise(records, Kind.READ, asked, whole),
        summarise(records, Kind.WRITE, asked, whole),
        victim.active.name,
        after.name,
        whole - asked,
        {**lateness(records), "cpu": prober.cpu, "stolen": stolen},
        await check(cluster, records, prober.run),
        counts,
    )


async def _taken_over(cluster: Cluster, victim: Victim) -> None:
    """Wait for the cluster to help itself: mending a node during an election would be another fault."""

    async def served() -> bool:
        others = [node for node in cluster.nodes if node.container != victim.container]
        return 200 in await asyncio.gather(*(node.health() for node in others))

    await until(served, f"another node is active after the loss of {victim.name}")


async def _carried_out(fault: Fault, victim: Victim, asked: float, until: float) -> float | None:
    if not fault.action:
        return None
    found = await events(asked - 0.01, until)
    return next(
        (
            event.time
            for event in found
            if event.action == fault.action and event.container == victim.container
        ),
        None,
    )


async def _lines(cluster: Cluster, since: float) -> list[Line]:
    async def of(node: Node) -> list[Line]:
        texts = await logs(node.container, since - 0.1)
        return [line for text in texts if (line := read_line(node.name, text))]

    return [line for lines in await asyncio.gather(*map(of, cluster.nodes)) for line in lines]
