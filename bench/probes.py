"""Open-loop probes: requests sent by the clock, never after the previous answer, each with its outcome.

A closed-loop client stops asking while it waits, and so hides most of an outage. Here each stream sends every
few milliseconds whatever happens; kept connections that are all busy get another one beside them. The probe
measures itself too: how late it sent what was due.
"""

import asyncio
import gc
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.http import Answer, Connection, Failure, Target, connect

KEYS = 64
"""Each stream of writes goes round this many secrets, so that the store does not grow with a run."""

FOLDER = "secret/data/bench-probe"
READ_PATH = f"{FOLDER}/read"
MARK = "a value that every read must show"
ANSWER_SECONDS = 30.0

MOST_WAITING = 1500
"""With so many requests waiting, no more are sent: they count as refused. HAProxy takes 2000 connections."""


class Kind(StrEnum):
    """What a stream does."""

    READ = "read"
    WRITE = "write"


class Outcome(StrEnum):
    """What became of a request."""

    DONE = "done"
    REFUSED = "refused"  # surely not executed
    UNKNOWN = "unknown"  # perhaps executed


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one kind, one each `every` seconds, on kept or on fresh connections."""

    kind: Kind
    kept: bool
    every: float

    @property
    def name(self) -> str:
        """Return a name for tables."""
        return f"{self.kind}s, {'kept' if self.kept else 'fresh'}"


STREAMS = (
    Stream(Kind.READ, True, 0.005),
    Stream(Kind.READ, False, 0.020),
    Stream(Kind.WRITE, True, 0.020),
    Stream(Kind.WRITE, False, 0.080),
)


@dataclass(slots=True)
class Record:
    """One request. Times are seconds since the epoch, from one monotonic clock."""

    stream: str
    kind: Kind
    number: int
    due: float
    sent: float
    answered: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    detail: str = "no answer in time"


def judge(kind: Kind, answer: Answer) -> Outcome:
    """Say what an answer means. Refused: 503, 3xx, 4xx, and a connection that never was; else unknown."""
    if answer.failure:
        unsent = answer.failure in {Failure.REFUSED, Failure.NOT_SENT}
        return Outcome.REFUSED if unsent else Outcome.UNKNOWN
    if answer.status in {200, 204}:
        right = kind is Kind.WRITE or MARK.encode() in answer.body
        return Outcome.DONE if right else Outcome.UNKNOWN
    return Outcome.REFUSED if answer.status == 503 or 300 <= answer.status < 500 else Outcome.UNKNOWN


class Clock:
    """Seconds since the epoch that never jump: the wall clock once, then the monotonic one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time."""
        return time.monotonic() + self._offset


class Prober:
    """Sends the streams from `start` to `stop`."""

    def __init__(
        self, target: Target, clock: Clock, streams: Sequence[Stream] = STREAMS, folder: str = FOLDER
    ) -> None:
        self.records: list[Record] = []
        self.run = secrets.token_hex(4)
        self.cpu = 0.0  # of one core, from `start` to `stop`
        self._target = target
        self._clock = clock
        self._streams = streams
        self._began = 0.0, 0.0
        self._folder = folder
        self._idle: list[Connection] = []
        self._waiting: set[asyncio.Task[None]] = set()
        self._tickers: list[asyncio.Task[None]] = []
        self._read = {close: target.request("GET", READ_PATH, close=close) for close in (True, False)}

    async def start(self) -> None:
        """Begin to send; the collector of garbage rests until `stop`, its pauses would show as lateness."""
        gc.collect()
        gc.disable()
        begin = self._clock.now() + 0.05
        self._began = time.monotonic(), time.process_time()
        for number, stream in enumerate(self._streams):
            # The streams are set apart, so that their requests do not come in one bunch.
            offset = stream.every * number / len(self._streams)
            self._tickers.append(asyncio.create_task(self._tick(stream, begin + offset)))

    async def stop(self) -> list[Record]:
        """Send no more, wait for what is under way, and return every record in the order of sending."""
        for ticker in self._tickers:
            ticker.cancel()
        await asyncio.gather(*self._tickers, return_exceptions=True)
        if self._waiting:
            await asyncio.wait(self._waiting)
        for connection in self._idle:
            connection.abort()
        wall, busy = self._began
        self.cpu = (time.process_time() - busy) / (time.monotonic() - wall)
        gc.enable()
        return sorted(self.records, key=lambda record: record.sent)

    async def _tick(self, stream: Stream, due: float) -> None:
        number = 0
        while True:
            await asyncio.sleep(max(0.0, due - self._clock.now()))
            record = Record(stream.name, stream.kind, number, due, self._clock.now())
            self.records.append(record)
            task = asyncio.create_task(self._one(stream, record))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            number += 1
            due += stream.every

    async def _one(self, stream: Stream, record: Record) -> None:
        if len(self._waiting) > MOST_WAITING:
            answer = Answer(0, failure=Failure.NOT_SENT)
        else:
            answer = await self._ask(stream, self._request(stream, record))
        record.answered = self._clock.now()
        record.outcome = judge(stream.kind, answer)
        record.detail = str(answer.failure or answer.status)

    def _request(self, stream: Stream, record: Record) -> bytes:
        close = not stream.kept
        if stream.kind is Kind.READ:
            return self._read[close]
        data = {"data": {"n": record.number, "run": self.run}}
        return self._target.request(
            "PUT", write_path(stream.name, record.number, self._folder), data, close=close
        )

    async def _ask(self, stream: Stream, request: bytes) -> Answer:
        connection = self._take() if stream.kept else None
        if connection is None:
            try:
                connection = await connect(self._target)
            except OSError:
                return Answer(0, failure=Failure.REFUSED)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection.send(request, answered.set_result)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await answered
        except TimeoutError:
            connection.abort()
            return Answer(0, failure=Failure.TIMEOUT)
        if stream.kept and not connection.closed:
            self._idle.append(connection)
        return answer

    def _take(self) -> Connection | None:
        """Return the kept connection that was used last; those that ended meanwhile are forgotten."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None


def write_path(stream: str, number: int, folder: str = FOLDER) -> str:
    """Return where a stream writes its request of this number."""
    return f"{folder}/{stream.rpartition(' ')[2]}-{number % KEYS}"
