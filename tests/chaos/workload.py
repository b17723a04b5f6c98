"""Clients that read, write, check-and-set, list and delete, and record what they were told."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp

from chaos.linearizability import Verdict, check
from chaos.secret_model import Kind, Operation, Outcome

READS = {Kind.READ, Kind.LISTED}
ANSWERED, REFUSED, UNKNOWN, FAILED_READS = COLUMNS = ("answered", "refused", "unknown", "failed reads")
PATIENCE = aiohttp.ClientTimeout(total=30, connect=5)
LAST_ANSWERS_SECONDS = 3.0
"""How long requests in flight may take when the workload ends; by then everything is whole again."""


@dataclass(slots=True)
class Record:
    """One request: when, where, what, and what came of it (`answer` is a status or an error's name)."""

    invoked: float
    returned: float
    entrance: str
    kind: Kind
    outcome: Outcome
    answer: str


@dataclass(slots=True)
class History:
    """All that the clients saw; operations by secret, and every request for the account."""

    operations: dict[str, list[Operation]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def violations(self) -> dict[str, Verdict]:
        """Return the secrets whose history no legal order explains."""
        verdicts = {secret: check(history) for secret, history in self.operations.items()}
        return {secret: verdict for secret, verdict in verdicts.items() if not verdict.linearizable}

    def at(self, *entrances: str) -> list[Record]:
        """Return the requests that were sent to these entrances."""
        return [record for record in self.records if record.entrance in entrances]


def account(records: Iterable[Record]) -> Counter[str]:
    """Count what became of requests: answered, refused and surely not done, unknown, failed reads."""
    return Counter(column(record) for record in records)


def longest_pause(records: Iterable[Record], since: float, until: float) -> tuple[float, float]:
    """Return begin and end of the longest time without any answered request between two moments."""
    answered = (record.returned for record in records if column(record) == ANSWERED)
    moments = sorted([since, until, *(moment for moment in answered if since < moment < until)])
    return max(pairwise(moments), key=lambda pair: pair[1] - pair[0])


def column(record: Record) -> str:
    """Return the column of the account that a request belongs to."""
    if record.outcome in {Outcome.DONE, Outcome.MISMATCH}:
        return ANSWERED
    if record.kind in READS:
        return FAILED_READS
    return REFUSED if record.outcome is Outcome.REFUSED else UNKNOWN


class Workload:
    """Some clients at a few entrances (HAProxy, single nodes), named with their URLs, on a few secrets."""

    def __init__(
        self,
        entrances: Mapping[str, str],
        token: str,
        seed: int,
        *,
        clients: int = 6,
        secrets: int = 5,
        rest: float = 0.03,
    ) -> None:
        self._entrances = dict(entrances)
        self._headers = {"X-Vault-Token": token}
        self._seed = seed
        self._clients = clients
        self._folder = f"chaos-{seed}-{time.time_ns()}"
        self._secrets = [f"s{i}" for i in range(secrets)]
        self._rest = rest
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.history = History({secret: [] for secret in self._secrets})

    async def __aenter__(self) -> "Workload":
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=PATIENCE, connector=connector)
        # aiohttp would send a DELETE again, unasked, when its connection drops.
        self._session._retry_connection = False
        for number in range(self._clients):
            self._tasks.append(asyncio.create_task(self._client(number)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.wait(self._tasks, timeout=LAST_ANSWERS_SECONDS)
        await self._session.close()  # what still waits for an answer ends without one
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        names = list(self._entrances)
        entrance = names[number % len(names)]
        count = 0
        known: dict[str, int] = {}
        while not self._stopping.is_set():
            count += 1
            secret = chance.choice(self._secrets)
            roll = chance.random()
            if roll < 0.5:
                await self._read(entrance, number, secret, known)
            elif roll < 0.75:
                await self._write(entrance, number, secret, f"c{number}-{count}", known, cas=False)
            elif roll < 0.88:
                await self._write(entrance, number, secret, f"c{number}-{count}", known, cas=True)
            elif roll < 0.94:
                await self._list(entrance, number)
            else:
                await self._delete(entrance, number, secret)
            await asyncio.sleep(self._rest * chance.uniform(0.5, 1.5))

    async def _call(self, method: str, url: str, body: object = None) -> tuple[int, dict[str, object] | None]:
        async with self._session.request(method, url, json=body) as response:
            raw = await response.read()
            is_json = raw and response.content_type == "application/json"
            return response.status, (await response.json() if is_json else None)

    def _note(self, secret: str, entrance: str, answer: str, operation: Operation) -> None:
        self.history.records.append(
            Record(
                operation.invoked,
                operation.returned,
                entrance,
                operation.kind,
                operation.outcome,
                answer,
            )
        )
        if operation.outcome is not Outcome.UNKNOWN or operation.kind not in READS:
            self.history.operations[secret].append(operation)

    async def _read(self, entrance: str, number: int, secret: str, known: dict[str, int]) -> None:
        begun = time.monotonic()
        outcome, answer, version, value = Outcome.UNKNOWN, "", 0, None
        try:
            status, body = await self._call(
                "GET", f"{self._entrances[entrance]}/v1/secret/data/{self._folder}/{secret}"
            )
            answer = str(status)
            if status in {200, 404}:
                outcome = Outcome.DONE
                version, value = _version_and_value(body)
                known[secret] = version
            elif status == 503:
                outcome = Outcome.REFUSED
        except (aiohttp.ClientError, TimeoutError) as error:
            answer = type(error).__name__
        ended = time.monotonic()
        operation = Operation(
            Kind.READ, outcome, begun, ended, value=value, version=version, client=f"c{number}"
        )
        self._note(secret, entrance, answer, operation)

    async def _write(
        self, entrance: str, number: int, secret: str, value: str, known: dict[str, int], *, cas: bool
    ) -> None:
        expected = known.get(secret, 0)
        body: dict[str, object] = {"data": {"v": value}}
        if cas:
            body["options"] = {"cas": expected}
        begun = time.monotonic()
        url = f"{self._entrances[entrance]}/v1/secret/data/{self._folder}/{secret}"
        outcome, answer, reply = await self._change("POST", url, body)
        version = None
        if outcome is Outcome.DONE and reply:
            version = known[secret] = reply["data"]["version"]  # type: ignore[index]
        operation = Operation(
            Kind.CAS if cas else Kind.WRITE,
            outcome,
            begun,
            time.monotonic(),
            value=value,
            version=version,
            expected=expected,
            client=f"c{number}",
        )
        self._note(secret, entrance, answer, operation)

    async def _delete(self, entrance: str, number: int, secret: str) -> None:
        begun = time.monotonic()
        url = f"{self._entrances[entrance]}/v1/secret/data/{self._folder}/{secret}"
        outcome, answer, _ = await self._change("DELETE", url, None)
        operation = Operation(Kind.DELETE, outcome, begun, time.monotonic(), client=f"c{number}")
        self._note(secret, entrance, answer, operation)

    async def _change(
        self, method: str, url: str, body: object
    ) -> tuple[Outcome, str, dict[str, object] | None]:
        """Send a write; only a 503 and a refused connection say that it was surely not done."""
        try:
            status, reply = await self._call(method, url, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Outcome.REFUSED, type(error).__name__, None
        except (aiohttp.ClientError, TimeoutError) as error:
            return Outcome.UNKNOWN, type(error).__name__, None
        if status in {200, 204}:
            return Outcome.DONE, str(status), reply
        if status == 400 and "check-and-set" in str(reply):
            return Outcome.MISMATCH, "400", reply
        return (Outcome.REFUSED if status == 503 else Outcome.UNKNOWN), str(status), reply

    async def _list(self, entrance: str, number: int) -> None:
        begun = time.monotonic()
        outcome, answer = Outcome.UNKNOWN, ""
        names: list[str] = []
        try:
            status, body = await self._call(
                "LIST", f"{self._entrances[entrance]}/v1/secret/metadata/{self._folder}"
            )
            answer = str(status)
            if status in {200, 404}:
                outcome = Outcome.DONE
                names = body["data"]["keys"] if status == 200 and body else []  # type: ignore[index]
            elif status == 503:
                outcome = Outcome.REFUSED
        except (aiohttp.ClientError, TimeoutError) as error:
            answer = type(error).__name__
        ended = time.monotonic()
        self.history.records.append(Record(begun, ended, entrance, Kind.LISTED, outcome, answer))
        if outcome is Outcome.DONE:
            for secret in self._secrets:
                self.history.operations[secret].append(
                    Operation(
                        Kind.LISTED, outcome, begun, ended, present=secret in names, client=f"c{number}"
                    )
                )


def _version_and_value(body: object) -> tuple[int, str | None]:
    """Take version and value out of a KV v2 answer; a deleted version has no value."""
    data = body.get("data") if isinstance(body, dict) else None
    if not data:
        return 0, None
    values = data.get("data")
    return data["metadata"]["version"], values["v"] if values else None
