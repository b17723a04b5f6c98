"""Delay between a node and Consul servers: their traffic is led through a slow proxy in this process."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from stack.running import STORAGE, Stack

HOST = f"{STORAGE}.1"
"""This machine in the storage network."""
PORT = 8500
T = TypeVar("T")


class SlowPath:
    """While entered, every chunk between the node and the servers comes so many seconds later."""

    def __init__(self, stack: Stack, node: str, consuls: Sequence[str], seconds: float) -> None:
        self._containers = stack.containers
        self._node = node
        self._targets = [f"{STORAGE}.1{consul[-1]}" for consul in consuls]
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules: list[tuple[str, ...]] = []

    def __enter__(self) -> "SlowPath":
        self._thread.start()
        for target in self._targets:
            port = self._run(self._listen(target))
            rule = ("OUTPUT", "-p", "tcp", "-d", target, "--dport", str(PORT), "-j")
            self._lead("nat", *rule, "DNAT", "--to-destination", f"{HOST}:{port}")
            # New connections are led away before this rule sees them; it ends those that were there.
            self._lead("filter", *rule, "REJECT", "--reject-with", "tcp-reset")
        return self

    def __exit__(self, *_: object) -> None:
        for table, *rule in self._rules:
            self._containers.iptables(self._node, "-t", table, "-D", *rule)
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _lead(self, table: str, *rule: str) -> None:
        self._containers.iptables(self._node, "-t", table, "-I", *rule)
        self._rules.append((table, *rule))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self, target: str) -> int:
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._join(target, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(serve, HOST, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _join(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(target, PORT)
        except OSError:  # the server is down: so is the way to it
            writer.close()
            return
        await asyncio.gather(self._copy(reader, upstream[1]), self._copy(upstream[0], writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, late but in order; chunks may follow each other within the delay."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send(late, writer))
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                late.put_nowait((self._loop.time() + self._seconds, chunk))
        late.put_nowait((0.0, b""))
        await sender

    async def _send(self, late: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while (item := await late.get())[1]:
                await asyncio.sleep(max(0.0, item[0] - self._loop.time()))
                writer.write(item[1])
                await writer.drain()
        writer.close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
