"""One request to Consul, sent once, through one of several addresses.

python-consul builds the requests and reads the answers; this is its HTTP client, over aiohttp:

* `call` is the only door, and puts a deadline on everything that goes through it.
* Nothing is ever sent twice. aiohttp repeats a PUT when a kept connection drops; a repeated transaction would
  make a refusal (409) speak of the second sending only.
* The token travels in a header: python-consul would put it into the URL, and so into logs.
* Addresses are kept in an order. One that fails, or is slower than the next, goes to the back until it
  has proved good: now and then a read goes through it too.

Not promised: an answer of an agent says nothing of the other servers, only of what it asked them.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import consul.base
import orjson
from yarl import URL

from haven.errors import Unavailable
from haven.storage.agent_order import AgentOrder

log = logging.getLogger("haven.storage")
T = TypeVar("T")


class ConsulFailure(Exception):
    """Base of the ways in which a call fails; callers translate them into the domain's outcomes."""


class NotSent(ConsulFailure):
    """No connection could be made: Consul surely knows nothing of the request."""


class NoAnswer(ConsulFailure):
    """Deadline over, connection lost, or an answer that is not Consul's: anything may have happened."""


class Refused(ConsulFailure):
    """Consul answered with an error status; `body` is its text and may name keys."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"Consul answered {status}")
        self.status = status
        self.body = body


class ConsulApi(consul.base.Consul):  # type: ignore[misc]
    """python-consul's endpoint groups over our HTTP client.

    Its constructor is left out on purpose: it reads `CONSUL_HTTP_*` from the environment,
    and a token found there would go into the query of each URL.
    """

    def __init__(self, http: "HttpClient") -> None:
        self.http = http
        self.token = None
        self.dc = None
        self.consistency = "default"
        self.kv = consul.base.Consul.KV(self)
        self.agent = consul.base.Consul.Agent(self)
        self.health = consul.base.Consul.Health(self)
        self.session = consul.base.Consul.Session(self)

    async def transact(self, body: bytes) -> Any:
        """Send a transaction already encoded: python-consul's `txn.put` would encode it once more."""
        return await self.http.put(consul.base.CB.json(), "/v1/txn", data=body)

    async def read(self, body: bytes) -> Any:
        """Send a transaction of reads, `consistent`; return a refusal too: it names the missing keys."""
        try:
            return await self.http.put(consul.base.CB.json(), "/v1/txn", [("consistent", "1")], data=body)
        except Refused as refused:
            if refused.status != 409:
                raise
            try:
                return orjson.loads(refused.body)
            except ValueError as error:
                raise NoAnswer("the answer is not Consul's") from error


@dataclass(frozen=True, slots=True)
class ConsulAgent:
    """One Consul address; an agent may be a server or a client agent."""

    address: str
    api: ConsulApi


class HttpClient(consul.base.HTTPClient):  # type: ignore[misc]
    """What python-consul calls; each method returns an awaitable of the callback's result."""

    def __init__(self, address: str, session: Callable[[], aiohttp.ClientSession]) -> None:
        self.base_uri = address.rstrip("/")
        self._session = session

    def get(self, callback: Callable[..., T], path: str, params: Any = None) -> Awaitable[T]:
        """Send a GET."""
        return self._send(callback, "GET", self.uri(path, params), None)

    def put(
        self, callback: Callable[..., T], path: str, params: Any = None, data: str | bytes = ""
    ) -> Awaitable[T]:
        """Send a PUT."""
        return self._send(callback, "PUT", self.uri(path, params), data)

    def delete(self, callback: Callable[..., T], path: str, params: Any = None) -> Awaitable[T]:
        """Send a DELETE."""
        return self._send(callback, "DELETE", self.uri(path, params), None)

    def post(
        self, callback: Callable[..., T], path: str, params: Any = None, data: str | bytes = ""
    ) -> Awaitable[T]:
        """Send a POST."""
        return self._send(callback, "POST", self.uri(path, params), data)

    async def _send(self, callback: Callable[..., T], method: str, uri: str, data: str | bytes | None) -> T:
        request = self._session().request(
            method, URL(uri, encoded=True), data=data or None, allow_redirects=False
        )
        async with request as response:
            body = await response.read()
        # A 404 without an index is not Consul's "no such key": a proxy answered, or the path is unknown.
        absent = response.status == 404 and "X-Consul-Index" in response.headers
        if not (absent or 200 <= response.status < 300):
            raise Refused(response.status, body)
        try:
            return callback(consul.base.Response(response.status, response.headers, body))
        except (ValueError, LookupError, TypeError) as error:
            raise NoAnswer("the answer is not Consul's") from error


class ConsulTransport:
    """Consul's addresses in order of preference, and one pool of connections to them.

    The pool has no limit of its own; its users bound what they have in flight, so that a heartbeat never
    waits behind data. Consul takes 200 connections per client address. The first use needs a running loop.
    """

    def __init__(
        self, addresses: Sequence[str], *, token: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        if not addresses:
            raise ValueError("at least one Consul address is required")
        self._token = token
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._order = AgentOrder(
            ConsulAgent(address, ConsulApi(HttpClient(address, self._open))) for address in addresses
        )
        self._probes: set[asyncio.Task[None]] = set()

    def agents(self) -> tuple[ConsulAgent, ...]:
        """Return the agents, the best first."""
        return self._order.best_first()

    async def call(
        self, agent: ConsulAgent, request: Callable[[ConsulApi], Awaitable[T]], deadline: float
    ) -> T:
        """Send one request through one agent, once.

        Raises a `ConsulFailure`, at the latest after `deadline` seconds.
        """
        try:
            async with asyncio.timeout(deadline):
                return await request(agent.api)
        except aiohttp.ClientConnectorError as error:
            self._set_back(agent, "not connected")
            raise NotSent("no connection to Consul") from error
        except TimeoutError as error:
            self._set_back(agent, "deadline")
            raise NoAnswer("Consul did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            self._set_back(agent, type(error).__name__)
            raise NoAnswer("connection to Consul lost") from error
        except Refused as refused:
            if refused.status >= 500:
                self._set_back(agent, f"status {refused.status}")
            raise

    async def read(self, request: Callable[[ConsulApi], Awaitable[T]], deadline: float) -> T:
        """Ask the best agent, and the next ones too while it errs or is slow; return the first answer.

        Only for what may be asked twice. Raises `Unavailable`, at the latest after `deadline` seconds.
        """
        self._probe(request, deadline)
        agents = self.agents()
        patience = deadline / (len(agents) + 1)
        asked: dict[asyncio.Task[T], ConsulAgent] = {}
        try:
            for number, agent in enumerate(agents, start=1):
                left = deadline - (number - 1) * patience
                asked[asyncio.create_task(self.call(agent, request, left))] = agent
                answered = await _first_success(asked, patience if number < len(agents) else None)
                if answered is not None:
                    self._set_back_slower(asked, answered)
                    self._answered(asked[answered])
                    return answered.result()
        finally:
            for task in asked:
                task.cancel()
            ended = await asyncio.gather(*asked, return_exceptions=True)
        reasons = sorted({str(failure) for failure in ended})
        raise Unavailable(f"no Consul agent answered the read: {'; '.join(reasons)}")

    async def close(self) -> None:
        """Close the connections."""
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Return the session; make it at the first use, when the loop runs."""
        if self._session is None:
            headers = {"X-Consul-Token": self._token} if self._token else {}
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True, keepalive_timeout=60),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # aiohttp has no public switch; tests/unit/test_consul_transport.py fails if this stops working.
            self._session._retry_connection = False
        return self._session

    def _set_back(self, agent: ConsulAgent, reason: str) -> None:
        """Prefer every other agent to this one."""
        if self._order.failed(agent, _now()) and len(self.agents()) > 1:
            log.info("consul agent set back address=%s reason=%s", agent.address, reason)

    def _answered(self, agent: ConsulAgent) -> None:
        """Count a read in favour of an agent that was set back."""
        if self._order.answered(agent, _now()):
            log.info("consul agent back in its place address=%s", agent.address)

    def _probe(self, request: Callable[[ConsulApi], Awaitable[Any]], deadline: float) -> None:
        """Send a read through an agent that was set back too, if one is due; nobody waits for it."""
        agent = self._order.to_probe(_now())
        if agent is None:
            return
        probe = asyncio.create_task(self._try(agent, request, deadline), name="consul-probe")
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)

    async def _try(
        self, agent: ConsulAgent, request: Callable[[ConsulApi], Awaitable[Any]], deadline: float
    ) -> None:
        """Find out whether an agent answers a read."""
        try:
            await self.call(agent, request, deadline)
        except ConsulFailure as failure:
            self._set_back(agent, str(failure))
        else:
            self._answered(agent)

    def _set_back_slower(self, asked: dict[asyncio.Task[T], ConsulAgent], answered: asyncio.Task[T]) -> None:
        """Set back the agents that were asked before the one that answered, and have not."""
        for task, agent in asked.items():
            if task is answered:
                return
            if not task.done():
                self._set_back(agent, "slow")


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _first_success(
    asked: dict[asyncio.Task[T], ConsulAgent], patience: float | None
) -> asyncio.Task[T] | None:
    """Wait for a call that succeeds; None when all have failed, or after `patience` seconds without news."""
    while pending := [task for task in asked if not task.done()]:
        done, _ = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None
        for task in done:
            error = task.exception()
            if error is None:
                return task
            if not isinstance(error, ConsulFailure):
                raise error
    return None
