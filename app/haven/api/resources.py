"""Falcon resources: what this node answers itself, and the sink for everything else."""

from collections.abc import Mapping
from typing import Any

import falcon
import orjson
from falcon.asgi import Request, Response

from haven.api import bodies, errors, replies, status, targets
from haven.api.gate import Gate
from haven.api.intake import RAW
from haven.api.ports import Node, Role
from haven.api.requests import PREFIX, token
from haven.api.settings import ApiSettings
from haven.clock import Clock
from haven.errors import NotActive, RequestError
from haven.exposition import expose
from haven.ha.forwarding import RawRequest, RawResponse
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

INIT_FIELDS: Mapping[str, type] = {
    "secret_shares": int,
    "secret_threshold": int,
    "stored_shares": int,
    "pgp_keys": list,
    "root_token_pgp_key": str,
    "recovery_shares": int,
    "recovery_threshold": int,
    "recovery_pgp_keys": list,
}
UNSEAL_FIELDS: Mapping[str, type] = {"key": str, "reset": bool, "migrate": bool}
NO_KEY = "'key' must be specified in request body as JSON, or 'reset' set to true"
NO_MIGRATION = "can't perform a seal migration, no migration seal found"
STANDBY_CANNOT_SEAL = "vault cannot seal when in standby mode; please restart instead"


def raw_of(req: Request) -> RawRequest:
    """Return the request as the intake took it."""
    raw: RawRequest = req.scope[RAW]
    return raw


def write(resp: Response, answer: RawResponse) -> None:
    """Copy an answer into Falcon's response."""
    resp.status = answer.status
    resp.set_headers(dict(answer.headers))
    resp.data = answer.body


class Health:
    """`sys/health`: what balancers ask."""

    def __init__(self, node: Node, clock: Clock, settings: ApiSettings) -> None:
        self._node = node
        self._clock = clock
        self._settings = settings

    async def on_get(self, req: Request, resp: Response) -> None:
        """Tell the node's state by the status."""
        query = targets.fields(raw_of(req).target.partition("?")[2])
        write(resp, status.health(self._node.status(), self._clock.wall(), query, self._settings))

    async def on_head(self, req: Request, resp: Response) -> None:
        """Tell it without a body."""
        await self.on_get(req, resp)


class SealStatusResource:
    """`sys/seal-status`."""

    def __init__(self, node: Node, settings: ApiSettings) -> None:
        self._node = node
        self._settings = settings

    async def on_get(self, req: Request, resp: Response) -> None:
        """Tell how far unsealing is."""
        write(resp, status.seal_status(self._node.status().seal, self._settings))


class Leader:
    """`sys/leader`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def on_get(self, req: Request, resp: Response) -> None:
        """Tell who is active, as far as this node knows."""
        write(resp, status.leader(self._node.status()))


class Init:
    """`sys/init`."""

    def __init__(self, node: Node, operations: TaskSet) -> None:
        self._node = node
        self._operations = operations

    async def on_get(self, req: Request, resp: Response) -> None:
        """Tell whether the cluster is initialised; until it is, that is read from storage."""
        write(resp, replies.reply(200, {"initialized": await self._node.initialized()}))

    async def on_put(self, req: Request, resp: Response) -> None:
        """Initialise the cluster; ends even if the client goes away."""
        body = bodies.read_fields(raw_of(req).body, INIT_FIELDS)
        result = await self._operations.shield(self._node.initialize(body))
        write(resp, replies.reply(200, dict(result)))

    on_post = on_put


class Unseal:
    """`sys/unseal`: strictly this node."""

    def __init__(self, node: Node, operations: TaskSet, settings: ApiSettings) -> None:
        self._node = node
        self._operations = operations
        self._settings = settings

    async def on_put(self, req: Request, resp: Response) -> None:
        """Take one share, or forget those given."""
        body = bodies.read_fields(raw_of(req).body, UNSEAL_FIELDS)
        if not body.get("reset") and not body.get("key"):
            raise RequestError(400, NO_KEY)
        if body.get("migrate"):
            raise RequestError(500, NO_MIGRATION)
        seal = await self._operations.shield(self._node.unseal(body))
        write(resp, status.seal_status(seal, self._settings))

    on_post = on_put


class Seal:
    """`sys/seal`: this node, whoever is active."""

    def __init__(self, node: Node, operations: TaskSet) -> None:
        self._node = node
        self._operations = operations

    async def on_put(self, req: Request, resp: Response) -> None:
        """Hand over if active, then seal; a node that is sealed already agrees."""
        presented = token(raw_of(req).headers)
        if self._node.status().role not in (Role.SEALED, Role.UNINITIALISED):
            try:
                await self._operations.shield(self._node.seal(presented))
            except NotActive:
                raise RequestError(500, STANDBY_CANNOT_SEAL) from None
        write(resp, replies.empty())

    on_post = on_put


class Metrics:
    """`sys/metrics`: this node's own series, for those whose token may read them."""

    def __init__(self, gate: Gate, settings: ApiSettings, telemetry: Telemetry) -> None:
        self._gate = gate
        self._settings = settings
        self._telemetry = telemetry

    async def on_get(self, req: Request, resp: Response) -> None:
        """Give the series in a format of Prometheus."""
        raw = raw_of(req)
        query = targets.fields(raw.target.partition("?")[2])
        accept = raw.headers.get("accept", "")
        if query.get("format", "") != "prometheus" and "openmetrics" not in accept:
            raise RequestError(400, "metric response format must be prometheus")
        refusal = None if self._settings.unauthenticated_metrics else await self._refusal(raw)
        if refusal is not None:
            write(resp, refusal)
            return
        content_type, body = await expose(self._telemetry.registry, accept)
        write(resp, RawResponse(200, {"Cache-Control": "no-store", "Content-Type": content_type}, body))

    async def _refusal(self, raw: RawRequest) -> RawResponse | None:
        """Ask whoever can check the token what it may do here; None if it may read."""
        question = RawRequest(
            "POST",
            "/v1/sys/capabilities-self",
            {**raw.headers, "content-type": "application/json"},
            orjson.dumps({"paths": ["sys/metrics"]}),
        )
        answer = await self._gate.answer(question)
        if answer.status != 200:
            return answer
        granted = orjson.loads(answer.body)["data"].get("sys/metrics", [])
        if {"read", "root", "sudo"}.isdisjoint(granted):
            return replies.errors(403, ["permission denied"])
        return None


class Everything:
    """The sink: requests that only the active node can answer."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def on_request(self, req: Request, resp: Response | None, **kwargs: Any) -> None:
        """Have the request answered, wherever."""
        assert resp is not None, "Falcon leaves it out for websockets only, which have no route"
        if not req.path.startswith(PREFIX):
            raise RequestError(404)
        write(resp, await self._gate.answer(raw_of(req)))


async def on_http_error(req: Request, resp: Response, error: falcon.HTTPError, params: Any) -> None:
    """Answer for Falcon: the only thing that it finds itself is a method that a resource has not."""
    write(resp, replies.errors(405))


async def on_error(req: Request, resp: Response, error: Exception, params: Any) -> None:
    """Answer for everything that a resource raises."""
    write(resp, errors.translate(error))
