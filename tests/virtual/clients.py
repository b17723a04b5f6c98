"""Clients that read, write, check-and-set, delete and list, and keep what they were told."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.secret_model import Kind, Operation, Outcome
from haven.ha.forwarding import RawRequest, RawResponse
from virtual.entrance import Entrance
from virtual.host import Host
from virtual.loop import START, Loop

SECRETS = ("s0", "s1")
DIRECT_PATIENCE = 12.0
READS = {Kind.READ, Kind.LISTED}


@dataclass(frozen=True, slots=True)
class Record:
    """One request: when, by whom, what, and what came of it."""

    invoked: float
    returned: float
    client: str
    kind: Kind
    outcome: Outcome
    answer: str
    proxied: bool


class Workload:
    """All clients of a run."""

    def __init__(
        self, loop: Loop, entrance: Entrance, hosts: Sequence[Host], token: str, chance: random.Random
    ) -> None:
        self.loop, self.entrance, self.hosts, self.chance = loop, entrance, hosts, chance
        self.headers = {"x-vault-token": token}
        self.operations: dict[str, list[Operation]] = {secret: [] for secret in SECRETS}
        """By secret; a fresh one begins every second, for the lists to tell."""
        self.records: list[Record] = []
        self.sending: set[str] = set()
        self.stopping = False
        self.lists = 0.13
        self.numbers: Counter[str] = Counter()

    async def client(self, name: str, *, proxied: bool, rest: tuple[float, float], reads: float) -> None:
        """Ask one thing after another until told to stop."""
        chance, known = random.Random(f"{name}/{self.chance.random()}"), dict[str, int]()
        while not self.stopping:
            await asyncio.sleep(chance.uniform(*rest))
            host = None if proxied else chance.choice(self.hosts)
            secret, roll = chance.choice((*SECRETS, self._fresh())), chance.random()
            if roll < reads:
                await self.read(name, host, secret, known)
            elif chance.random() < self.lists:
                await self.list(name, host)
            else:
                await self._change(name, host, secret, known, chance.random())

    async def _change(
        self, name: str, host: Host | None, secret: str, known: dict[str, int], roll: float
    ) -> None:
        if roll < 0.9:
            await self.write(name, host, secret, known, cas=roll > 0.6)
        else:
            await self.delete(name, host, secret)

    def _fresh(self) -> str:
        secret = f"t{int(self.loop.now - START)}"
        self.operations.setdefault(secret, [])
        return secret

    async def send(self, host: Host | None, method: str, path: str, body: object = None) -> RawResponse | str:
        raw = RawRequest(
            method, f"/v1/{path}", self.headers, b"" if body is None else json.dumps(body).encode()
        )
        if host is None:
            return await self.entrance.send(raw)
        exchange = host.request("client", raw)
        try:
            async with asyncio.timeout(DIRECT_PATIENCE):
                return await exchange.result
        except TimeoutError:
            host.hang_up(exchange)
            return "timeout"

    # What they ask -----------------------------------------------------------------------------

    async def read(self, name: str, host: Host | None, secret: str, known: dict[str, int]) -> bool:
        begun = self.loop.now
        answer = await self.send(host, "GET", f"secret/data/{secret}")
        operation = None
        if isinstance(answer, RawResponse) and answer.status in {200, 404}:
            version, value = _version_and_value(answer)
            known[secret] = version
            operation = Operation(
                Kind.READ, Outcome.DONE, begun, self.loop.now, value=value, version=version, client=name
            )
            self.operations[secret].append(operation)
        self._note(
            begun, name, Kind.READ, Outcome.DONE if operation else Outcome.UNKNOWN, answer, host is None
        )
        return operation is not None

    async def write(
        self, name: str, host: Host | None, secret: str, known: dict[str, int], *, cas: bool
    ) -> Outcome:
        self.numbers[name] += 1
        value, expected, begun = f"{name}-{self.numbers[name]}", known.get(secret, 0), self.loop.now
        body: dict[str, object] = {"data": {"v": value}}
        if cas:
            body["options"] = {"cas": expected}
        answer = await self.send(host, "POST", f"secret/data/{secret}", body)
        outcome, version = _outcome(answer), None
        if outcome is Outcome.DONE and isinstance(answer, RawResponse):
            version = known[secret] = json.loads(answer.body)["data"]["version"]
        kind = Kind.CAS if cas else Kind.WRITE
        self.operations[secret].append(
            Operation(
                kind,
                outcome,
                begun,
                self.loop.now,
                value=value,
                version=version,
                expected=expected,
                client=name,
            )
        )
        self._note(begun, name, kind, outcome, answer, host is None)
        return outcome

    async def delete(self, name: str, host: Host | None, secret: str) -> None:
        begun = self.loop.now
        answer = await self.send(host, "DELETE", f"secret/data/{secret}")
        outcome = _outcome(answer)
        self.operations[secret].append(Operation(Kind.DELETE, outcome, begun, self.loop.now, client=name))
        self._note(begun, name, Kind.DELETE, outcome, answer, host is None)

    async def list(self, name: str, host: Host | None) -> None:
        begun, asked = self.loop.now, tuple(self.operations)
        answer = await self.send(host, "LIST", "secret/metadata/")
        done = isinstance(answer, RawResponse) and answer.status in {200, 404}
        if isinstance(answer, RawResponse) and done:
            names = json.loads(answer.body)["data"]["keys"] if answer.status == 200 else []
            for secret in asked:
                self.operations[secret].append(
                    Operation(
                        Kind.LISTED,
                        Outcome.DONE,
                        begun,
                        self.loop.now,
                        present=secret in names,
                        client=name,
                    )
                )
        self._note(begun, name, Kind.LISTED, Outcome.DONE if done else Outcome.UNKNOWN, answer, host is None)

    def _note(
        self, begun: float, name: str, kind: Kind, outcome: Outcome, answer: RawResponse | str, proxied: bool
    ) -> None:
        text = str(answer.status) if isinstance(answer, RawResponse) else answer
        self.records.append(Record(begun, self.loop.now, name, kind, outcome, text, proxied))


def _outcome(answer: RawResponse | str) -> Outcome:
    """Tell what a write's answer says: only a 503 and a refused connection mean surely not done."""
    if isinstance(answer, str):
        return Outcome.REFUSED if answer in {"refused", "unconnected"} else Outcome.UNKNOWN
    if answer.status in {200, 204}:
        return Outcome.DONE
    if answer.status == 400 and b"check-and-set" in answer.body:
        return Outcome.MISMATCH
    return Outcome.REFUSED if answer.status == 503 else Outcome.UNKNOWN


def _version_and_value(answer: RawResponse) -> tuple[int, str | None]:
    data = json.loads(answer.body).get("data")
    if not data:
        return 0, None
    values = data.get("data")
    return data["metadata"]["version"], values["v"] if values else None
