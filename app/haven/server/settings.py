"""gunicorn's settings for a node; each has its reason in docs/adr/0001 or beside it."""

import logging
import ssl
import time
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from haven.config import Config
from haven.server.worker import LEAVING_SECONDS

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a directory that gunicorn makes its own file in
GRACEFUL_SECONDS = 20
"""Compose's `stop_grace_period` must be longer."""
BLOCKED_SECONDS = 30
SUSPENDED_SECONDS = 3.0
"""After so long without a look at its worker, the arbiter did not run itself: it looks once a second."""


class ForwardingLogger(Logger):  # type: ignore[misc]
    """Send gunicorn's records to the node's own log; write no access log."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers to the root logger."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
        # gunicorn explains at info level what the node's own lines say already.
        self.error_log.setLevel(max(logging.WARNING, logging.getLogger().level))


def settings(config: Config) -> dict[str, Any]:
    """Return gunicorn's settings by name."""
    if LEAVING_SECONDS >= GRACEFUL_SECONDS:
        raise ValueError(f"leaving takes {LEAVING_SECONDS} s, graceful_timeout is {GRACEFUL_SECONDS} s")
    return {
        "bind": str(config.http.listen),
        "worker_class": "haven.server.worker.NodeWorker",
        "workers": 1,
        "threads": 1,
        "preload_app": False,
        "max_requests": 0,
        "asgi_loop": "uvloop",
        "asgi_lifespan": "on",
        # A handler outlives its client long enough for any write, parked or in doubt.
        "asgi_disconnect_grace_period": 120,
        "http_parser": "fast",
        "backlog": 2048,
        "worker_connections": config.http.connections,
        # Longer than HAProxy keeps an idle connection, so that it is HAProxy that closes.
        "keepalive": 75,
        "timeout": BLOCKED_SECONDS,
        "graceful_timeout": GRACEFUL_SECONDS,
        "limit_request_fields": 64,
        "forwarded_allow_ips": ",".join(config.http.trusted_proxies),
        "control_socket_disable": True,
        "worker_tmp_dir": SHARED_MEMORY if Path(SHARED_MEMORY).is_dir() else None,
        "logger_class": ForwardingLogger,
        "accesslog": None,
        "child_exit": halt_without_worker,
        "proc_name": "haven",
        **_tls(config),
    }


def halt_without_worker(arbiter: Any, worker: Any) -> None:
    """End the arbiter with its worker: a new one would be another node, and the container restarts anyway."""
    stopping = not arbiter.LISTENERS
    if not stopping:
        raise HaltServer("worker ended", 1)


class SoleWorkerArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter without the signals that would start a second worker, hence a second node."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._looked = time.monotonic()
        self._spared_until = self._looked

    def murder_workers(self) -> None:
        """Kill a worker that hangs; one that was suspended together with this process does not.

        A frozen container or a paused machine costs the lock, and must not cost the unsealed key too.
        """
        now = time.monotonic()
        if now > self._looked + SUSPENDED_SECONDS:
            logging.getLogger("haven.server").warning("suspended for %.1f s", now - self._looked)
            self._spared_until = now + self.timeout
        self._looked = now
        if now >= self._spared_until:
            super().murder_workers()

    def ignore(self) -> None:
        """Do nothing."""
        logging.getLogger("haven.server").info("signal ignored")

    handle_hup = handle_ttin = handle_ttou = handle_usr2 = handle_winch = ignore


def _tls(config: Config) -> dict[str, Any]:
    """Return the settings of the certificate, if there is one."""
    tls = config.http.tls
    if tls is None:
        return {}
    return {
        "certfile": str(tls.certificate),
        "keyfile": str(tls.key),
        "ca_certs": str(tls.client_ca) if tls.client_ca else None,
        "cert_reqs": ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE,
    }
