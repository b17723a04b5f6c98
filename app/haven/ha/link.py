"""One authenticated, encrypted connection between two nodes, whichever of them dialled."""

import asyncio
import logging
import traceback
from typing import Protocol

from haven.clock import Clock
from haven.ha.connection import Connection
from haven.ha.frames import CHUNK, LENGTH, Frame, FrameError, Kind, OpeningCipher, SealingCipher, wire_length
from haven.ha.outbox import Outbox
from haven.ha.peers import LinkEnd, LinkTiming, Quiet
from haven.tasks import TaskSet

log = logging.getLogger("haven.link")


def where(error: BaseException) -> str:
    """Return an error's kind and traceback without its text, which may quote a request."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


class LinkOwner(Protocol):
    """Who has a link; called from the link's own tasks, so each call is short."""

    def received(self, link: "Link", frame: Frame) -> None:
        """Take a frame; raises `FrameError` to end the link."""
        ...

    def silence(self, link: "Link", silent: bool) -> None:
        """Note that the peer has become silent, or speaks again."""
        ...


class Link:
    """The frames of one connection, both ways, with pings; it judges silence and says how it ended."""

    def __init__(self, connection: Connection, clock: Clock, timing: LinkTiming, owner: LinkOwner) -> None:
        self.peer = connection.peer
        self.outbox = Outbox()
        self.leaving = False
        """Whether the peer has said goodbye."""
        self.silent = False
        self.end: LinkEnd | None = None
        self._reader, self._writer = connection.reader, connection.writer
        self._sealing = SealingCipher(connection.keys.sending)
        self._opening = OpeningCipher(connection.keys.receiving)
        self._clock, self._timing, self._owner = clock, timing, owner
        self._quiet = Quiet(clock.now(), 2 * timing.tick)
        self._ping_due = clock.now()
        self._ours: LinkEnd | None = None
        self._finishing = False
        self._ended = asyncio.Event()
        self._tasks = TaskSet(lambda name: self._abort(LinkEnd.BROKEN))

    @property
    def responsive(self) -> bool:
        """Tell whether the peer can be expected to answer a request now."""
        return self.end is None and not self.silent and not self.leaving

    @property
    def endpoint(self) -> tuple[str, int]:
        """Return the peer's numeric address and port."""
        host, port = self._writer.get_extra_info("peername")[:2]
        return host, port

    def quiet(self, now: float) -> float:
        """Return how long the peer has been quiet, in seconds."""
        return self._quiet.seconds(now)

    async def run(self) -> LinkEnd:
        """Serve the link until it ends; return how."""
        self._tasks.spawn("link writer", self._write())
        self._tasks.spawn("link pulse", self._pulse())
        try:
            how = await self._read()
        finally:
            self.end = LinkEnd.BROKEN
            self._writer.transport.abort()
            await self._tasks.stop()
            self._ended.set()
        self.end = self._ours or (LinkEnd.GOODBYE if self.leaving else how)
        return self.end

    async def ended(self) -> None:
        """Wait until the link has ended."""
        await self._ended.wait()

    def finish(self) -> None:
        """Say goodbye, and close once everything that waits has been written."""
        if self._finishing:
            return
        self._finishing = True
        self.outbox.post(Frame(Kind.GOODBYE))

    def close(self) -> None:
        """Close the connection at once."""
        self._abort(LinkEnd.CLOSED)

    def _abort(self, how: LinkEnd) -> None:
        self._ours = self._ours or how
        self._writer.transport.abort()

    async def _read(self) -> LinkEnd:
        """Hand frames to the owner until the connection ends; tell how it did."""
        try:
            while True:
                length = await self._reader.readexactly(LENGTH)
                sealed = await self._reader.readexactly(wire_length(length))
                self._take(self._opening.open(length, sealed))
        except asyncio.IncompleteReadError:
            return LinkEnd.EOF
        except (ConnectionResetError, BrokenPipeError):
            return LinkEnd.RESET
        except OSError:
            return LinkEnd.LOST
        except FrameError as error:
            log.warning("link broken peer=%s reason=%s", self.peer.node, error)
            return LinkEnd.BROKEN
        except Exception as error:
            # A failure over one peer's bytes costs that link, not this process: the peer dials again.
            log.critical("link failed peer=%s error=%s", self.peer.node, where(error))
            return LinkEnd.BROKEN

    def _take(self, frame: Frame) -> None:
        self._quiet.heard(self._clock.now())
        if self.silent:
            self.silent = False
            self._owner.silence(self, False)
        if frame.kind is Kind.GOODBYE:
            self.leaving = True
        if frame.kind is not Kind.PING:
            self._owner.received(self, frame)

    async def _write(self) -> None:
        """Write what waits; how the connection ended is for the reader to say, which knows better.

        (A writer is told of a reset whatever the reason was.)
        """
        while True:
            await self.outbox.filled()
            while batch := self._batch():
                self._writer.write(batch)
                try:
                    await self._writer.drain()
                except OSError:
                    break
            if self._finishing and self.outbox.empty:
                self._ours = self._ours or LinkEnd.CLOSED
                self._writer.close()
            if self._writer.is_closing():
                await self._ended.wait()

    def _batch(self) -> bytes:
        """Seal what waits, up to about a chunk; what is not taken, as while closing, is surely not sent."""
        batch = bytearray()
        while len(batch) < CHUNK and not self._writer.is_closing() and (frame := self.outbox.next()):
            batch += self._sealing.seal(frame)
        return bytes(batch)

    async def _pulse(self) -> None:
        """Look at the time: ping, and judge silence."""
        while True:
            await asyncio.sleep(self._timing.tick)
            now = self._clock.now()
            self._quiet.tick(now)
            if not self.silent and self._quiet.seconds(now) >= self._timing.silent:
                self.silent = True
                self._owner.silence(self, True)
            if now >= self._ping_due:
                self._ping_due = now + self._timing.ping
                if not self.outbox.lone:
                    self.outbox.post(Frame(Kind.PING))
