"""The composition root: makes every concrete part of a node and puts them together.

The server imports `app`; nothing is made before the lifespan begins, on the worker's own loop.
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

from haven.api.admission import Admission
from haven.api.app import build_app, build_gate
from haven.api.intake import Intake
from haven.api.settings import ApiSettings
from haven.barrier.seals import SealConfiguration, read_static_key
from haven.clock import BootClock, Clock
from haven.config import Config, Forwarding, SealKind, StorageKind
from haven.core.bootstrap import initial_entries
from haven.core.core import Core
from haven.ha.alone import Alone
from haven.ha.cluster import Cluster, ClusterParts
from haven.ha.consul import ConsulCoordinator
from haven.ha.hub import RequestHandler
from haven.ha.leadership import Leadership
from haven.ha.membership import Activation, Membership
from haven.ha.parking import ParkingLimits, ParkingLot
from haven.node import Node
from haven.server import hardening, hooks
from haven.server.metrics import MetricsServer
from haven.storage.base import Storage
from haven.storage.consul import ConsulStorage
from haven.storage.consul_transport import ConsulTransport
from haven.storage.memory import MemoryStorage
from haven.storage.sqlite import SqliteStorage
from haven.tasks import TaskSet
from haven.telemetry import Telemetry
from haven.unsealed import Addresses, Parts

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Lead = Callable[[Membership, bytes, Activation, RequestHandler], Leadership]
LOOPBACK = ("127.", "::1")


class Inbound:
    """When somebody last reached the HTTP port; the container's own health check does not count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last = clock.now()

    def note(self, scope: Scope) -> None:
        """Take note of a connection's request."""
        client = scope.get("client")
        if client and not str(client[0]).startswith(LOOPBACK):
            self.last = self._clock.now()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A node and what serves it."""

    node: Node
    http: Intake
    metrics: MetricsServer
    inbound: Inbound


class Application:
    """The ASGI application: starts and stops the node with the server, and serves its HTTP side."""

    def __init__(self) -> None:
        self._assembled: Assembled | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(hooks.of(scope), receive, send)
        elif self._assembled:
            self._assembled.inbound.note(scope)
            await self._assembled.http(scope, receive, send)

    async def _live(self, server: hooks.Hooks, receive: Receive, send: Send) -> None:
        """Start, wait for the end, stop. What fails at the start ends the process with its reason."""
        await receive()
        assembled = assemble(Config.from_environment(os.environ), server.fail)
        await assembled.metrics.start()
        await assembled.node.start()
        server.on_hand_over(assembled.node.hand_over)
        self._assembled = assembled
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await assembled.node.stop()
        await assembled.metrics.stop()
        await send({"type": "lifespan.shutdown.complete"})


def assemble(config: Config, died: Callable[[str], None]) -> Assembled:
    """Make a node from its configuration; raises `BadSealKey` and what storage raises."""
    clock = BootClock()
    telemetry = Telemetry(clock)
    inbound = Inbound(clock)
    admission = Admission(TaskSet(died))
    operations = TaskSet(died)
    limits = ParkingLimits(config.parking.requests, config.parking.body_bytes, config.parking.seconds)
    lot = ParkingLot(limits, clock, telemetry, operations)
    storage, lead = _storage(config, clock, telemetry, inbound, died)
    parts = Parts(
        core=Core(storage, _seal(config), clock, initial_entries),
        storage=storage,
        clock=clock,
        telemetry=telemetry,
        admission=admission,
        addresses=Addresses(config.node, config.http.api_address, config.cluster.address),
        ha_enabled=config.storage is StorageKind.CONSUL,
        lead=lead,
        parked=lambda: lot.count,
        died=died,
    )
    node = Node(parts, config.storage.value, hardening.freeze_after_unseal)
    settings = ApiSettings(max_body=config.http.max_body, redirect=config.forwarding is Forwarding.REDIRECT)
    gate = build_gate(node, admission, operations, lot, settings, telemetry)
    node.on_forwarded = gate.handle_forwarded
    http = build_app(node, gate, operations, clock, settings, telemetry)
    metrics = MetricsServer(telemetry.registry, config.metrics.host, config.metrics.port)
    return Assembled(node, http, metrics, inbound)


def _storage(
    config: Config, clock: Clock, telemetry: Telemetry, inbound: Inbound, died: Callable[[str], None]
) -> tuple[Storage, Lead]:
    """Make the storage, and the kind of leadership that it makes possible."""
    if config.storage is not StorageKind.CONSUL:
        embedded = config.storage is StorageKind.SQLITE
        storage: Storage = SqliteStorage(config.sqlite_path) if embedded else MemoryStorage()
        return storage, lambda _membership, _key, activation, _handler: Alone(
            clock, telemetry, activation, died
        )
    consul = config.consul
    tls = ssl.create_default_context(cafile=str(consul.ca_file)) if consul.ca_file else None
    transport = ConsulTransport(consul.addresses, token=consul.token or None, tls=tls)

    def lead(
        membership: Membership, key: bytes, activation: Activation, handler: RequestHandler
    ) -> Leadership:
        coordinator = ConsulCoordinator(
            transport,
            telemetry,
            check_ttl=config.timing.check_ttl,
            prefix=consul.prefix,
            deadline=config.timing.call_deadline,
        )
        parts = ClusterParts(
            coordinator=coordinator,
            clock=clock,
            timing=config.timing,
            telemetry=telemetry,
            random=SystemRandom(),
            listen=(config.cluster.listen.host, config.cluster.listen.port),
            trust_resets=config.cluster.trust_resets,
            last_inbound=lambda: inbound.last,
            died=died,
        )
        return Cluster(membership, key, parts, activation, handler)

    storage = ConsulStorage(
        transport, telemetry, prefix=consul.prefix, write_deadline=config.timing.call_deadline
    )
    return storage, lead


def _seal(config: Config) -> SealConfiguration:
    if config.seal is SealKind.STATIC:
        return SealConfiguration.static(read_static_key(config.seal_key_file))
    return SealConfiguration.shamir()


app = Application()
