"""The network between hosts: delays, partitions per pair and direction, and what kernels do for processes.

A partition delays what is sent, as TCP does, and says nothing to anybody. The end of a process
reaches its peers where they can be reached. A host without its process refuses connections for a
moment and then says nothing, as a container does whose network has gone.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from virtual.loop import Loop, Process

REFUSING = 0.07
"""Seconds for which the address of a dead container still refuses connections."""


class Network:
    """Who reaches whom, and every open connection."""

    def __init__(self, loop: Loop, chance: random.Random) -> None:
        self.loop, self.chance = loop, chance
        self.slow = 0.01
        """The share of messages that take much longer than usual."""
        self.blocked: dict[tuple[str, str], float] = {}
        self.refusing: dict[str, float] = {}
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.ends: dict[Process, list[End]] = {}
        loop.dial, loop.listen = self._dial, self._listen

    def trip(self) -> float:
        """Return how long a message takes."""
        if self.chance.random() < self.slow:
            return self.chance.uniform(0.005, 0.05)
        return 0.0002 + self.chance.expovariate(2000.0)

    def block(self, source: str, target: str, seconds: float) -> None:
        pair = source, target
        self.blocked[pair] = max(self.blocked.get(pair, 0.0), self.loop.now + seconds)

    def reaches(self, source: str, target: str) -> bool:
        return self.loop.now >= self.blocked.get((source, target), 0.0)

    def answers_for_the_dead(self, host: str) -> bool:
        """Tell whether the kernel of a host without its process still speaks."""
        return self.loop.now < self.refusing.get(host, 0.0)

    # Connections -----------------------------------------------------------------------------

    def _listen(self, process: Process, port: int, factory: Callable[[], Any]) -> "Listener":
        listener = Listener(self, process, port, factory)
        self.listeners[process.host, port] = listener
        return listener

    def _dial(
        self,
        process: Process,
        host: str,
        port: int,
        factory: Callable[[], Any],
        connected: asyncio.Future[Any],
    ) -> None:
        if not self.reaches(process.host, host):
            return  # no answer, until the caller's deadline
        self.loop.at(self.trip(), self._arrive, process, host, port, factory, connected)

    def _arrive(
        self,
        process: Process,
        host: str,
        port: int,
        factory: Callable[[], Any],
        connected: asyncio.Future[Any],
    ) -> None:
        listener = self.listeners.get((host, port))
        if not self.reaches(host, process.host) or process.dead:
            return
        if listener is None or listener.process.dead:
            alive = listener is None or self.answers_for_the_dead(host)
            if alive:
                self.loop.at(self.trip(), _refuse, connected, of=process)
            return
        near = End(self, process, host, port)
        far = End(self, listener.process, process.host, 0)
        near.peer, far.peer = far, near
        self.ends.setdefault(process, []).append(near)
        self.ends.setdefault(listener.process, []).append(far)
        self.loop.soon(listener.process, far.begin, listener.factory)
        self.loop.at(self.trip(), near.begin, factory, connected, of=process)

    def ended(self, process: Process) -> None:
        """Tell the peers of a process that is gone."""
        self.refusing[process.host] = self.loop.now + REFUSING
        for end in self.ends.pop(process, []):
            end.gone(reset=self.chance.random() < 0.3)

    def reset(self, one: str, other: str) -> None:
        """Reset every connection between two hosts, as a middlebox may."""
        for process, ends in self.ends.items():
            for end in list(ends):
                if end.peer and process.host == one and end.peer.process.host == other:
                    self.loop.soon(process, end._take, "reset", b"")
                    self.loop.soon(end.peer.process, end.peer._take, "reset", b"")


class Listener:
    """A listening socket; also asyncio's server object."""

    def __init__(self, network: Network, process: Process, port: int, factory: Callable[[], Any]) -> None:
        self.network, self.process, self.port, self.factory = network, process, port, factory
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        return self.process.host, self.port

    def close(self) -> None:
        if self.network.listeners.get((self.process.host, self.port)) is self:
            del self.network.listeners[self.process.host, self.port]


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, process: Process, host: str, port: int) -> None:
        super().__init__()
        self.network, self.process = network, process
        self.peer: End | None = None
        self.protocol: Any = None
        self._name = host, port
        self._out: deque[tuple[float, str, bytes]] = deque()
        self._pumping = False
        self._early: list[tuple[str, bytes]] = []
        self._closing = False
        self._lost = False

    def begin(self, factory: Callable[[], Any], connected: asyncio.Future[Any] | None = None) -> None:
        if connected is not None and connected.done():
            self.abort()
            return
        self.protocol = factory()
        self.protocol.connection_made(self)
        if connected is not None:
            connected.set_result((self, self.protocol))
        early, self._early = self._early, []
        for kind, data in early:
            self._take(kind, data)

    # The transport -----------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._name, "socket": _Socket}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data: Any) -> None:
        if not self._closing:
            self._send("data", bytes(data))

    def close(self) -> None:
        if not self._closing:
            self._send("eof")
            self._end()

    def abort(self) -> None:
        if not self._closing:
            self._send("reset" if self.network.chance.random() < 0.3 else "eof")
            self._end()

    def _end(self) -> None:
        self._closing = True
        self.network.loop.soon(self.process, self._lose, None)

    # The kernel's side -------------------------------------------------------------------------

    def gone(self, reset: bool) -> None:
        """Close as the kernel does for a process that is gone."""
        self._lost = self._closing = True
        self._send("reset" if reset else "eof")

    def _send(self, kind: str, data: bytes = b"") -> None:
        network = self.network
        due = network.loop.now + network.trip()
        if self._out:
            due = max(due, self._out[-1][0])
        self._out.append((due, kind, data))
        if not self._pumping:
            self._pumping = True
            network.loop.at(due - network.loop.now, self._pump)

    def _pump(self) -> None:
        """Hand over what is due, unless a partition is in the way: then again when it is over."""
        network, peer = self.network, self.peer
        assert peer is not None
        pair = self.process.host, peer.process.host
        if not network.reaches(*pair):
            left = network.blocked[pair] - network.loop.now
            network.loop.at(left + network.chance.uniform(0.001, 0.2), self._pump)
            return
        while self._out and self._out[0][0] <= network.loop.now:
            _, kind, data = self._out.popleft()
            if peer.process.dead or peer._lost:
                self._unwanted(peer)
            else:
                network.loop.soon(peer.process, peer._take, kind, data)
        self._pumping = bool(self._out)
        if self._out:
            network.loop.at(self._out[0][0] - network.loop.now, self._pump)

    def _unwanted(self, peer: "End") -> None:
        """Data for a connection that is no more: its kernel answers with a reset, if there is one."""
        network = self.network
        speaks = not peer.process.dead or network.answers_for_the_dead(peer.process.host)
        if speaks and network.reaches(peer.process.host, self.process.host) and not self._lost:
            network.loop.at(network.trip(), self._take, "reset", b"", of=self.process)

    def _take(self, kind: str, data: bytes) -> None:
        if self._lost:
            return
        if self.protocol is None:
            self._early.append((kind, data))
        elif kind == "data":
            self.protocol.data_received(data)
        elif kind == "eof":
            self.protocol.eof_received()
        else:
            self._closing = True
            self._lose(ConnectionResetError("reset"))

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        ends = self.network.ends.get(self.process, [])
        if self in ends:
            ends.remove(self)
        if self.protocol is not None:
            self.protocol.connection_lost(error)


class _Socket:
    @staticmethod
    def setsockopt(*_: object) -> None:
        pass


def _refuse(connected: asyncio.Future[Any]) -> None:
    if not connected.done():
        connected.set_exception(ConnectionRefusedError("refused"))
