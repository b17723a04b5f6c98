"""The server's parts that need no process of their own."""

import asyncio
import gc
import socket
from typing import Any

import aiohttp
import pytest
import uvloop
from gunicorn.errors import HaltServer

from haven.config import Config
from haven.server import hardening, hooks, worker
from haven.server.metrics import MetricsServer
from haven.server.settings import GRACEFUL_SECONDS, halt_without_worker, settings
from haven.telemetry import Telemetry


async def test_metrics_are_served_on_their_own_port() -> None:
    telemetry = Telemetry()
    server = MetricsServer(telemetry.registry, "127.0.0.1", 0)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                assert "haven_fenced_total 0.0" in await answer.text()
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                assert answer.status == 404
    finally:
        await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


def test_the_settings_are_those_that_the_measurements_ask_for() -> None:
    made = settings(Config.from_environment({"HAVEN_TRUSTED_PROXIES": "10.1.0.0/16"}))
    assert made["workers"] == 1
    assert made["max_requests"] == 0
    assert made["preload_app"] is False
    assert made["asgi_lifespan"] == "on"
    assert made["control_socket_disable"] is True
    assert made["forwarded_allow_ips"] == "10.1.0.0/16"
    assert worker.LEAVING_SECONDS < made["graceful_timeout"] == GRACEFUL_SECONDS


def test_leaving_must_fit_into_the_time_before_the_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haven.server.settings.LEAVING_SECONDS", 20.0)
    with pytest.raises(ValueError, match="graceful_timeout"):
        settings(Config.from_environment({}))


class ArbiterDouble:
    """An arbiter that listens, or is stopping already."""

    def __init__(self, listeners: list[object]) -> None:
        self.LISTENERS = listeners


def test_the_loss_of_the_worker_halts_unless_a_stop_is_under_way() -> None:
    with pytest.raises(HaltServer):
        halt_without_worker(ArbiterDouble([object()]), None)
    halt_without_worker(ArbiterDouble([]), None)


async def test_hooks_pass_the_hand_over_and_the_failure() -> None:
    failures: list[str] = []
    done: list[bool] = []
    made = hooks.Hooks(failures.append)
    await made.hand_over()

    async def hand_over() -> None:
        done.append(True)

    found = hooks.of({"state": {hooks.STATE_KEY: made}})
    found.on_hand_over(hand_over)
    found.fail("reason")
    await made.hand_over()
    assert (failures, done) == (["reason"], [True])


def test_under_another_server_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    hooks.of({"type": "lifespan"}).fail("heartbeat")
    assert "reason=heartbeat" in caplog.text


def test_objects_alive_at_unseal_are_frozen() -> None:
    before = gc.get_freeze_count()
    try:
        hardening.freeze_after_unseal()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_the_connection_limit_never_exceeds_the_wish() -> None:
    assert hardening.connection_limit(10) == 10


def test_connections_do_not_wait_to_fill_packets() -> None:
    loop = uvloop.new_event_loop()
    seen: list[int] = []

    class Watch(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            sock = transport.get_extra_info("socket")
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def connect() -> None:
        server = await loop.create_server(Watch, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        while not seen:
            await asyncio.sleep(0.001)
        writer.close()
        server.close()

    loop.run_until_complete(asyncio.wait_for(connect(), 60))
    loop.close()
    assert seen[0] == 1
