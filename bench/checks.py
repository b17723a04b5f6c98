"""Did every acknowledged write survive, and was every refused one really not executed?"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cluster import Cluster, ClusterError
from bench.http import ask
from bench.probes import Kind, Outcome, Record, write_path

READERS = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """Writes whose answer was not true."""

    lost: int  # acknowledged, but an older value is there
    false_refusals: int  # refused, but their value is there


async def check(cluster: Cluster, records: Sequence[Record], run: str) -> Verdict:
    """Read every secret that a run wrote and compare it with what its clients were told."""
    writes: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.kind is Kind.WRITE:
            writes[write_path(record.stream, record.number)].append(record)
    few = asyncio.Semaphore(READERS)

    async def verdict(path: str, written: Sequence[Record]) -> Verdict:
        async with few:
            return judge(written, await _value(cluster, path), run)

    verdicts = await asyncio.gather(*(verdict(path, written) for path, written in writes.items()))
    return Verdict(sum(one.lost for one in verdicts), sum(one.false_refusals for one in verdicts))


def judge(writes: Sequence[Record], value: Mapping[str, Any], run: str) -> Verdict:
    """Judge one secret by its last value.

    An acknowledged write may be missing only if the one that is there may have come later: writes that were
    under way at the same time have no order.
    """
    acknowledged = [record for record in writes if record.outcome is Outcome.DONE]
    last = next(
        (record for record in writes if value.get("run") == run and record.number == value["n"]), None
    )
    if last is None:
        return Verdict(lost=len(acknowledged) and 1, false_refusals=0)
    if last.outcome is Outcome.REFUSED:
        return Verdict(lost=0, false_refusals=1)
    # A write of unknown outcome may have been executed long after its client gave up.
    ended = last.answered if last.outcome is Outcome.DONE else float("inf")
    return Verdict(lost=sum(record.sent > ended for record in acknowledged), false_refusals=0)


async def _value(cluster: Cluster, path: str) -> Mapping[str, Any]:
    answer = await ask(cluster.target, "GET", path)
    if answer.status == 404:
        return {}
    if answer.status != 200:
        raise ClusterError(f"reading {path} back failed: {answer.failure or answer.status}")
    data = answer.json()["data"]["data"]
    return dict(data)
