"""The worker process of a node: serves, and leaves without dropping a request.

Leaving: hand the lock over while still serving; then answer with `Connection: close` for a while, so that
clients and HAProxy turn away; then close the listener and idle connections, let running requests end, shut
the application down. The bounds add up to less than gunicorn's `graceful_timeout`, when the arbiter kills.
"""

import asyncio
import logging
import os
import sys
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.workers.gasgi import ASGIWorker

from haven.server import hardening
from haven.server.hooks import STATE_KEY, Hooks
from haven.server.protocol import Connection, prime_parser

log = logging.getLogger("haven.server")

BEAT_SECONDS = 1.0
HAND_OVER_SECONDS = 6.0
LINGER_SECONDS = 1.0
DRAIN_SECONDS = 6.0
SHUTDOWN_SECONDS = 4.0
LEAVING_SECONDS = HAND_OVER_SECONDS + LINGER_SECONDS + DRAIN_SECONDS + SHUTDOWN_SECONDS


class NodeWorker(ASGIWorker):  # type: ignore[misc]
    """gunicorn's ASGI worker with a hand-over, limits and no silent failure."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.connections: set[Connection] = set()
        self.connection_limit = 0
        self._stop = asyncio.Event()
        self._failed = False
        self.state[STATE_KEY] = Hooks(self._fail)

    def init_process(self) -> None:
        """Prepare the process, then serve until it is told to stop."""
        hardening.lock_memory()
        hardening.tune_interpreter()
        self.connection_limit = hardening.connection_limit(self.cfg.worker_connections)
        prime_parser()
        super().init_process()

    def handle_exit_signal(self) -> None:
        """Leave; the signals that gunicorn calls quick leave the same way, for the lock's sake."""
        self._stop.set()

    handle_quit_signal = handle_exit_signal

    def run(self) -> None:
        """Serve; end with status 1 where the node failed."""
        try:
            self.loop.run_until_complete(self._serve())
        except Exception:
            log.exception("worker failed")
            self._failed = True
        finally:
            # gunicorn's clean-up waits at most a second for cancelled tasks then.
            self._quick_shutdown = True
            self._cleanup()
        if self._failed:
            sys.exit(1)

    async def _serve(self) -> None:
        await self._start_application()
        beat = asyncio.create_task(self._beat())
        await self._listen()
        await self._stop.wait()
        await self._leave()
        beat.cancel()

    async def _start_application(self) -> None:
        """Run the application's start-up; a failure ends gunicorn and not only this worker."""
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        try:
            await self.lifespan.startup()
        except Exception as error:
            # The text is the application's own; no request has been read yet that it could quote.
            log.critical("application failed to start reason=%s", error)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None

    async def _listen(self) -> None:
        """Serve every socket; asyncio would shrink the backlog to 100 if it were not told."""
        context = self._get_ssl_context()
        for listener in self.sockets:
            server = await self.loop.create_server(
                lambda: Connection(self), sock=listener.sock, ssl=context, backlog=self.cfg.backlog
            )
            self.servers.append(server)
            log.info("listening address=%s", listener)

    async def _beat(self) -> None:
        """Tell the arbiter that the loop turns; follow it when it dies."""
        while True:
            self.notify()
            if self.ppid != os.getppid():
                log.error("parent process is gone")
                self._stop.set()
            await asyncio.sleep(BEAT_SECONDS)

    async def _leave(self) -> None:
        """Stop serving in the order that this module's text gives."""
        log.info("leaving connections=%d", self.nr_conns)
        await self._hand_over()
        self.alive = False
        await asyncio.sleep(LINGER_SECONDS)
        for server in self.servers:
            server.close()
        await self._drain()
        try:
            await asyncio.wait_for(self.lifespan.shutdown(), SHUTDOWN_SECONDS)
        except TimeoutError:
            log.error("application did not shut down in time seconds=%g", SHUTDOWN_SECONDS)

    async def _hand_over(self) -> None:
        """Have the application give up the lock; going on without is right, the lease ends by itself."""
        started = self.loop.time()
        try:
            await asyncio.wait_for(self.state[STATE_KEY].hand_over(), HAND_OVER_SECONDS)
        except TimeoutError:
            log.error("hand-over did not end in time seconds=%g", HAND_OVER_SECONDS)
        except Exception:
            log.exception("hand-over failed")
        else:
            log.info("handed over seconds=%.3f", self.loop.time() - started)

    async def _drain(self) -> None:
        """Wait for running requests and for handlers whose client is gone."""
        deadline = self.loop.time() + DRAIN_SECONDS
        while self.connections and self.loop.time() < deadline:
            for connection in tuple(self.connections):
                connection.close_if_idle()
            await asyncio.sleep(0.02)
        if self.connections:
            log.warning("connections cut off count=%d", len(self.connections))

    def _fail(self, reason: str) -> None:
        log.critical("process ends reason=%s", reason)
        self._failed = True
        self._stop.set()
