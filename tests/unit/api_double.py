"""A double of a node's system endpoints, over real HTTP, for tests of the command line."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ApiDouble:
    """Remembers whether it is initialised and sealed; `drop_init` loses the answer to sys/init."""

    def __init__(self, seal: str = "static") -> None:
        self.seal = seal
        self.initialised = False
        self.sealed = True
        self.inits: list[dict[str, Any]] = []
        self.drop_init = False
        self.busy = 0
        self.health = 200
        self.metrics = ""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        with self._lock:
            match method, path:
                case "PUT", "/v1/sys/init":
                    return self._init(body)
                case "PUT", "/v1/sys/unseal":
                    self.sealed = body["key"] != base64.b64encode(b"key").decode()
                    return 200, {"sealed": self.sealed}
                case "GET", "/v1/sys/init":
                    return 200, {"initialized": self.initialised}
                case "GET", "/v1/sys/seal-status":
                    return 200, {"type": self.seal, "sealed": self.sealed}
                case "GET", "/v1/sys/health":
                    return self.health, {"sealed": self.sealed}
                case "GET", "/v1/sys/leader":
                    return 200, {"leader_address": "http://haven-2:8200"}
                case "GET", "/metrics":
                    return 200, self.metrics
        return 404, {"errors": []}

    def _init(self, body: dict[str, Any]) -> tuple[int, Any] | None:
        if self.busy:
            self.busy -= 1
            return 503, {"errors": ["no active node"]}
        if self.initialised:
            return 400, {"errors": ["Vault is already initialized"]}
        self.initialised = True
        self.inits.append(body)
        if self.drop_init:
            return None
        return 200, {"root_token": "hvs.rootrootroot", "keys_base64": [base64.b64encode(b"key").decode()]}

    def _handler(double: "ApiDouble") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                answer = double.answer(self.command, self.path, body)
                if answer is None:
                    self.close_connection = True
                    return
                status, told = answer
                raw = told.encode() if isinstance(told, str) else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_PUT = _serve

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
