"""Put the HTTP side together."""

import uuid
from collections.abc import Callable

import falcon
from falcon.asgi import App

from haven.api import resources
from haven.api.admission import Admission
from haven.api.gate import Gate
from haven.api.intake import Intake
from haven.api.ports import Node
from haven.api.service import Service
from haven.api.settings import ApiSettings
from haven.clock import Clock
from haven.ha.parking import ParkingLot
from haven.tasks import TaskSet
from haven.telemetry import Telemetry


def new_request_id() -> str:
    """Make the id of a request."""
    return str(uuid.uuid4())


def build_gate(
    node: Node,
    admission: Admission,
    operations: TaskSet,
    lot: ParkingLot,
    settings: ApiSettings,
    telemetry: Telemetry,
    new_id: Callable[[], str] = new_request_id,
) -> Gate:
    """Build what decides who answers; the link calls its `handle_forwarded`.

    `operations` runs what must end although its client goes away and no hand-over may wait for:
    initialisation, unsealing, sealing and stepping down.
    """
    service = Service(node, admission, operations, new_id)
    return Gate(node, service, admission, lot, telemetry, redirect=settings.redirect)


def build_app(
    node: Node,
    gate: Gate,
    operations: TaskSet,
    clock: Clock,
    settings: ApiSettings,
    telemetry: Telemetry,
) -> Intake:
    """Build the ASGI application."""
    app = App()
    health = resources.Health(node, clock, settings)
    app.add_route("/sys/health", health)
    app.add_route("/v1/sys/health", health)
    app.add_route("/v1/sys/seal-status", resources.SealStatusResource(node, settings))
    app.add_route("/v1/sys/leader", resources.Leader(node))
    app.add_route("/v1/sys/init", resources.Init(node, operations))
    app.add_route("/v1/sys/unseal", resources.Unseal(node, operations, settings))
    app.add_route("/v1/sys/seal", resources.Seal(node, operations))
    app.add_route("/v1/sys/metrics", resources.Metrics(gate, settings, telemetry))
    app.add_sink(resources.Everything(gate).on_request, "/")
    app.add_error_handler(Exception, resources.on_error)
    app.add_error_handler(falcon.HTTPError, resources.on_http_error)
    return Intake(app, clock, settings, telemetry)
