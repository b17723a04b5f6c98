"""Load on a cluster from a process of its own: `python -m bench.load HOST PORT "200/s"`, the token on stdin.

Ends with the end of its input and then prints what became of its requests, as JSON.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable

from bench.eventloop import run_loop
from bench.http import Answer, Connection, Target, connect
from bench.probes import READ_PATH, Clock, Kind, Prober, Stream, judge

READS_OF_TEN = 8
RETRY_SECONDS = 0.1

RATE = re.compile(r"(\d+)/s")
CONNECTIONS = re.compile(r"(\d+) connections?")


class Full:
    """Connections at full speed: each sends the next request when it has the answer."""

    def __init__(
        self, target: Target, connections: int, request: Callable[[int], tuple[Kind, bytes]]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._target = target
        self._request = request
        self._number = 0
        self._stopped = False
        self._connections: list[Connection | None] = [None] * connections
        self._dialling: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Open the connections and begin."""
        for place in range(len(self._connections)):
            self._dial(place)

    def stop(self) -> None:
        """Send no more; answers that are due are not waited for and not counted."""
        self._stopped = True
        for connection in self._connections:
            if connection:
                connection.abort()
        for task in self._dialling:
            task.cancel()

    def _dial(self, place: int) -> None:
        task = asyncio.create_task(self._open(place))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _open(self, place: int) -> None:
        while not self._stopped:
            try:
                self._connections[place] = await connect(self._target)
            except OSError:
                self.counts["refused"] += 1
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return self._next(place)

    def _next(self, place: int) -> None:
        connection = self._connections[place]
        if self._stopped or connection is None:
            return
        if connection.closed:
            self._dial(place)
            return
        kind, request = self._request(self._number)
        self._number += 1
        sent = time.perf_counter()

        def done(answer: Answer) -> None:
            self.seconds.append(time.perf_counter() - sent)
            self.counts[judge(kind, answer)] += 1
            self._next(place)

        connection.send(request, done)


def mixed(target: Target) -> Callable[[int], tuple[Kind, bytes]]:
    """Return a maker of requests of which eight of ten read."""
    read = target.request("GET", READ_PATH)
    writes = [
        target.request("PUT", f"secret/data/bench-load/{number}", {"data": {"n": number}})
        for number in range(256)
    ]

    def request(number: int) -> tuple[Kind, bytes]:
        if number % 10 < READS_OF_TEN:
            return Kind.READ, read
        return Kind.WRITE, writes[number % len(writes)]

    return request


async def bear(target: Target, load: str, end: asyncio.Event) -> dict[str, int]:
    """Load a cluster until `end`; return the outcomes. Raises `ValueError` for a load that cannot be read."""
    if match := RATE.fullmatch(load):
        return await _steady(target, int(match[1]), end)
    if match := CONNECTIONS.fullmatch(load):
        full = Full(target, int(match[1]), mixed(target))
        full.start()
        await end.wait()
        full.stop()
        return dict(full.counts)
    raise ValueError(f"a load is '200/s' or '16 connections', not '{load}'")


async def _steady(target: Target, rate: int, end: asyncio.Event) -> dict[str, int]:
    reads, writes = rate * READS_OF_TEN / 10, rate * (10 - READS_OF_TEN) / 10
    streams = (Stream(Kind.READ, True, 1 / reads), Stream(Kind.WRITE, True, 1 / writes))
    prober = Prober(target, Clock(), streams, folder="secret/data/bench-load")
    await prober.start()
    await end.wait()
    return dict(Counter(str(record.outcome) for record in await prober.stop()))


async def _serve(host: str, port: int, load: str) -> None:
    token = sys.stdin.readline().strip()
    end = asyncio.Event()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    work = asyncio.create_task(bear(Target(host, port, token), load, end))
    await reader.read()
    end.set()
    print(json.dumps(await work))


class Load:
    """The process, as the benchmark sees it."""

    def __init__(self, target: Target, load: str) -> None:
        self._target = target
        self._load = load
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; nothing where there is no load."""
        if not self._load:
            return
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "bench.load", self._target.host, str(self._target.port), self._load)
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._target.token}\n".encode())
        await self._process.stdin.drain()

    async def stop(self) -> dict[str, int]:
        """End it and return its counts by outcome."""
        if self._process is None:
            return {}
        out, _ = await self._process.communicate(b"")  # without input its stdin would stay open
        return dict(json.loads(out or b"{}"))


if __name__ == "__main__":
    run_loop(_serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
