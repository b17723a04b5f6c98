"""Ask every node for its role and term again and again: who said when that it was active?"""

import asyncio
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

EVERY_SECONDS = 0.15
PATIENCE = aiohttp.ClientTimeout(total=1.0)
ROLE = re.compile(r'^haven_role\{role="(\w+)"\} 1\.0$', re.MULTILINE)
TERM = re.compile(r"^haven_term (\S+)$", re.MULTILINE)
ACTIVE, SILENT = "active", "silent"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node said of itself at some moment between two times; "silent" where it did not answer."""

    node: str
    begun: float
    ended: float
    role: str
    term: int = 0


class Watch:
    """Polls the metrics of every node while it is entered."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._tasks: list[asyncio.Task[None]] = []
        self.samples: list[Sample] = []

    async def __aenter__(self) -> "Watch":
        # A connection for each look: one kept by a node that was unplugged would look like a silent node.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(timeout=PATIENCE, connector=connector)
        self._tasks = [asyncio.create_task(self._poll(node, url)) for node, url in self._urls.items()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _poll(self, node: str, url: str) -> None:
        while True:
            self.samples.append(await self._look(node, url))
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self, node: str, url: str) -> Sample:
        begun = time.monotonic()
        try:
            async with self._session.get(url) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return Sample(node, begun, time.monotonic(), SILENT)
        role, term = ROLE.search(text), TERM.search(text)
        if role is None or term is None:
            return Sample(node, begun, time.monotonic(), SILENT)
        return Sample(node, begun, time.monotonic(), role[1], int(float(term[1])))


def overlaps(samples: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
    """Return pairs that prove two active nodes: an old term after a newer one, or one term of two nodes.

    Terms only grow, so an active node whose term is behind one that was already seen active is
    deposed and does not know it. Samples that overlap in time prove nothing.
    """
    found = []
    newest: Sample | None = None
    pending: list[Sample] = []
    for sample in sorted((s for s in samples if s.role == ACTIVE), key=lambda s: s.begun):
        for earlier in [s for s in pending if s.ended < sample.begun]:
            pending.remove(earlier)
            if newest is None or earlier.term > newest.term:
                newest = earlier
        if newest and _contradict(newest, sample):
            found.append((newest, sample))
        pending.append(sample)
    return found


def _contradict(earlier: Sample, later: Sample) -> bool:
    return later.term < earlier.term or (later.term == earlier.term and later.node != earlier.node)


def spans(samples: Sequence[Sample]) -> list[tuple[str, str, int, float, float]]:
    """Join a node's equal samples to (node, role, term, since, until), in the order of time.

    A role lasts until the sample that shows another one: no fault seems to come after what it did.
    """
    joined: list[tuple[str, str, int, float, float]] = []
    for node in sorted({sample.node for sample in samples}):
        for sample in (s for s in samples if s.node == node):
            last = joined[-1] if joined else None
            if last and last[0] == node and last[1] == sample.role and last[2] == sample.term:
                joined[-1] = (*last[:4], sample.ended)
            else:
                if last and last[0] == node:
                    joined[-1] = (*last[:4], sample.begun)
                joined.append((node, sample.role, sample.term, sample.begun, sample.ended))
    return joined
