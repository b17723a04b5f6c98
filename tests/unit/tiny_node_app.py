"""A tiny application with a node's hooks, for tests of the server in real processes."""

import asyncio
import ctypes
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

DIARY = Path(os.environ.get("TINY_DIARY", os.devnull))
PR_GET_DUMPABLE = 3


def note(line: str) -> None:
    with DIARY.open("a") as diary:
        diary.write(line + "\n")


class Life:
    """The lifespan of the tiny node."""

    def __init__(self) -> None:
        self.hooks: Any = None

    async def process_startup(self, scope: dict[str, Any], event: dict[str, Any]) -> None:
        from haven.server.hooks import of

        if os.environ.get("TINY_FAIL"):
            raise RuntimeError("start-up fails")
        self.hooks = of(scope)
        self.hooks.on_hand_over(self._hand_over)

    async def process_shutdown(self, scope: dict[str, Any], event: dict[str, Any]) -> None:
        note("shutdown")

    async def _hand_over(self) -> None:
        note("handing over")
        await asyncio.sleep(0.3)
        note("handed over")


class Tiny:
    def __init__(self, life: Life) -> None:
        self._life = life

    async def on_get(self, req: Any, resp: Any) -> None:
        match req.get_param("do"):
            case "sleep":
                await asyncio.sleep(float(req.get_param("seconds")))
            case "block":
                time.sleep(120)
            case "fail":
                self._life.hooks.fail("test")
        resp.media = {"pid": os.getpid()}

    async def on_list(self, req: Any, resp: Any) -> None:
        resp.media = {"keys": ["a"]}

    async def on_put(self, req: Any, resp: Any) -> None:
        length = len(await req.stream.read())
        if req.get_param("do") == "keep":
            note("keeping")
            await asyncio.sleep(1)
            note("kept")
        note(f"body {length}")
        resp.media = {"length": length}


class Hardening:
    async def on_get(self, req: Any, resp: Any) -> None:
        dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
        core = resource.getrlimit(resource.RLIMIT_CORE)
        resp.media = {"dumpable": dumpable, "core": core, "interval": sys.getswitchinterval()}


def create() -> Any:
    import falcon.asgi

    life = Life()
    app = falcon.asgi.App(middleware=[life])
    app.add_route("/tiny", Tiny(life))
    app.add_route("/hardening", Hardening())
    return app


def main() -> None:
    import json

    from haven.config import Config
    from haven.server import protocol
    from haven.server.start import serve

    protocol.HEADER_SECONDS = float(os.environ.get("TINY_HEADER_SECONDS", "10"))
    values = {name: value for name, value in os.environ.items() if name.startswith("HAVEN_")}
    changes = json.loads(os.environ.get("TINY_CHANGES", "{}"))
    serve(Config.from_environment(values), "tiny_node_app:create()", **changes)


if __name__ == "__main__":
    main()
