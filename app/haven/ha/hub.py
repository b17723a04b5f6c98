"""The listening side of the cluster link: a node's followers, their candidates and their requests.

Every unsealed node has one. `close` it only after this node has stopped answering for good under
its run: its followers take the end of their links, without a goodbye before it, for its death.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from haven.clock import Clock
from haven.errors import NotActive, OutcomeUnknown
from haven.ha.connection import BUFFER, Connection, open_as_listener
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.frames import (
    CHUNK,
    Assembler,
    Frame,
    FrameError,
    Kind,
    Message,
    MessageTooLarge,
    Outcome,
    read_request,
    response_message,
)
from haven.ha.handshake import HandshakeFailed, Identity, Listener
from haven.ha.link import Link, where
from haven.ha.membership import InUse
from haven.ha.notes import HolderNote, pack_keys
from haven.ha.peers import LinkEnd, LinkTiming
from haven.ha.record import LockRecord
from haven.tasks import TaskSet

log = logging.getLogger("haven.link")

MOST_STRANGERS = 64
"""How many connections may be in the handshake at once."""
MOST_REQUESTS = 4096
"""How many forwarded requests may run at once; one more is told that it was not executed."""
MOST_LOST = 64

RequestHandler = Callable[[RawRequest], Awaitable[RawResponse]]
HolderHandler = Callable[[LockRecord, int], None]


class _Follower:
    """One link from a follower: its candidate, and what it has begun to send."""

    def __init__(self) -> None:
        self.candidate: LockRecord | None = None
        self.assembler = Assembler()


class Hub:
    """Accepts followers. `on_request` raises `NotActive` for surely not executed."""

    def __init__(
        self,
        identity: Identity,
        key: bytes,
        clock: Clock,
        on_request: RequestHandler,
        on_holder: HolderHandler,
        died: Callable[[str], None],
        timing: LinkTiming | None = None,
    ) -> None:
        self._identity, self._key, self._clock = identity, key, clock
        self._on_request, self._on_holder = on_request, on_holder
        self._timing = timing or LinkTiming()
        self._tasks = TaskSet(died)
        self._server: asyncio.Server | None = None
        self._links: dict[Link, _Follower] = {}
        self._lost: dict[str, float] = {}
        self._connections = 0
        self._alone = asyncio.Event()
        self._requests = 0
        self._notes = itertools.count(1)
        self._notices: dict[tuple[Link, int], asyncio.Future[None]] = {}
        self._closing = False

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        if self._server is None:
            raise RuntimeError("the hub has not been started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Listen; raises `OSError`."""
        self._server = await asyncio.start_server(self._accept, host, port, backlog=128, limit=BUFFER)
        log.info("cluster port open port=%s", self.port)

    def candidates(self) -> list[LockRecord]:
        """Return what the responsive followers would take over with, the one heard last first."""
        now = self._clock.now()
        found: dict[str, LockRecord] = {}
        for link in sorted(self._links, key=lambda link: link.quiet(now)):
            candidate = self._links[link].candidate
            if link.responsive and candidate:
                found.setdefault(candidate.run, candidate)
        return list(found.values())

    def followers(self) -> list[tuple[Identity, float]]:
        """Return who follows this node, and for how many seconds each has said nothing."""
        now = self._clock.now()
        return [(link.peer, link.quiet(now)) for link in self._links if not link.leaving]

    def silent(self, now: float) -> bool:
        """Tell whether there were followers and all of them have said nothing for a while.

        A follower whose connection ended, or that said goodbye, counts no more.
        """
        heard = [link.quiet(now) for link in self._links if not link.leaving]
        heard += [now - since for since in self._lost.values()]
        return bool(heard) and min(heard) >= self._timing.isolated

    def tell_in_use(self, keys: InUse) -> None:
        """Tell the followers from which keys this holder answers; nothing if that would not fit a frame."""
        payload = pack_keys(keys)
        if len(payload) > CHUNK:
            return
        for link in self._links:
            if link.responsive:
                link.outbox.post(Frame(Kind.IN_USE, payload=payload))

    async def announce_resigned(self, word: str) -> int:
        """Tell the responsive followers this run's `run/generation`: it answers no more under what it had.

        Waits until each has taken note, or became silent; returns how many know.
        """
        number = next(self._notes)
        notices = []
        for link in self._links:
            if link.responsive:
                link.outbox.post(Frame(Kind.RESIGNED, number, word.encode()))
                notice: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._notices[link, number] = notice
                notices.append(notice)
        if notices:
            await asyncio.wait(notices, timeout=self._timing.silent)
        known = sum(notice.done() and not notice.cancelled() for notice in notices)
        self._notices = {key: notice for key, notice in self._notices.items() if key[1] != number}
        log.info("resignation announced word=%s followers=%s known=%s", word, len(self._links), known)
        return known

    async def close(self, seconds: float = 2.0) -> None:
        """Begin nothing more, answer what runs within so many seconds, say goodbye, and stop listening."""
        self._closing = True
        for link in self._links:
            link.outbox.post(Frame(Kind.GOODBYE))
        self._look_around()
        try:
            async with asyncio.timeout(seconds):
                await self._alone.wait()
        except TimeoutError:
            log.warning("cluster links closed with requests in flight requests=%s", self._requests)
        if self._server:
            self._server.close()
        await self._tasks.stop()

    def received(self, link: Link, frame: Frame) -> None:
        """Take a frame from a follower; part of `LinkOwner`."""
        match frame.kind:
            case Kind.REQUEST | Kind.REST:
                self._take_request(link, frame)
            case Kind.CANCEL:
                self._links[link].assembler.cancel(frame.number)
            case Kind.CANDIDATE:
                self._take_candidate(link, frame)
            case Kind.HOLDER:
                note = HolderNote.from_bytes(frame.payload)
                link.outbox.post(Frame(Kind.DONE, frame.number))
                self._on_holder(note.record, note.term)
            case Kind.DONE:
                notice = self._notices.get((link, frame.number))
                if notice and not notice.done():
                    notice.set_result(None)
            case _:
                pass

    def silence(self, link: Link, silent: bool) -> None:
        """Note in the log that a follower is silent, or speaks again; part of `LinkOwner`."""
        log.info("follower silence node=%s run=%s silent=%s", link.peer.node, link.peer.run, silent)
        if silent:
            for (waiting, _), notice in self._notices.items():
                if waiting is link:
                    notice.cancel()
            self._look_around()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin with a connection; its task is this hub's own, so that nothing of it ends unseen."""
        if self._closing or self._connections - len(self._links) >= MOST_STRANGERS:
            writer.transport.abort()
            return
        self._connections += 1
        self._tasks.spawn("follower", self._serve(reader, writer), forever=False)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Get to know a follower, and serve its link until it ends."""
        try:
            connection = await self._meet(reader, writer)
            if connection:
                await self._accompany(Link(connection, self._clock, self._timing, self))
        finally:
            writer.transport.abort()
            self._connections -= 1
            self._look_around()

    async def _accompany(self, link: Link) -> None:
        """Serve a follower's link; one that comes during the goodbye is told so at once."""
        self._links[link] = _Follower()
        self._lost.pop(link.peer.run, None)
        log.info("follower came node=%s run=%s", link.peer.node, link.peer.run)
        if self._closing:
            link.outbox.post(Frame(Kind.GOODBYE))
        how = LinkEnd.BROKEN
        try:
            how = await link.run()
        finally:
            self._forget(link, how)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection | None:
        try:
            async with asyncio.timeout(self._timing.handshake):
                return await open_as_listener(reader, writer, Listener(self._key, self._identity))
        except HandshakeFailed as error:
            log.info("stranger refused reason=%s", error)
        except OSError as error:
            log.info("stranger left error=%s", type(error).__name__)
        except Exception as error:
            # Somebody who has proved nothing must not be able to end this process.
            log.error("handshake failed error=%s", where(error))
        return None

    def _look_around(self) -> None:
        """Let `close` go on once nobody is left who may still ask, or wait for an answer."""
        if self._closing and self._connections == sum(link.silent for link in self._links):
            self._alone.set()

    def _forget(self, link: Link, how: LinkEnd) -> None:
        """Drop a link that has ended; one that the kernel gave up on still counts as silent."""
        log.info("follower went node=%s run=%s how=%s", link.peer.node, link.peer.run, how)
        del self._links[link]
        if how is LinkEnd.LOST and not any(other.peer.run == link.peer.run for other in self._links):
            now = self._clock.now()
            self._lost[link.peer.run] = now - link.quiet(now)
            if len(self._lost) > MOST_LOST:
                del self._lost[next(iter(self._lost))]
        for (waiting, _), notice in self._notices.items():
            if waiting is link:
                notice.cancel()

    def _take_candidate(self, link: Link, frame: Frame) -> None:
        record = LockRecord.from_bytes(frame.payload) if frame.payload else None
        if frame.payload and (record is None or record.run != link.peer.run):
            raise FrameError("candidate cannot be read, or is of another run")
        self._links[link].candidate = record

    def _take_request(self, link: Link, frame: Frame) -> None:
        """Put a request together; run it when it is whole."""
        assembler = self._links[link].assembler
        taken = assembler.begin(frame) if frame.kind is Kind.REQUEST else assembler.go_on(frame)
        if isinstance(taken, Message):
            request = read_request(taken)
            if self._closing or self._requests >= MOST_REQUESTS:
                link.outbox.send(response_message(frame.number, Outcome.NOT_EXECUTED))
                return
            self._requests += 1
            name = f"forwarded request from {link.peer.node}"
            self._tasks.spawn(name, self._answer(link, frame.number, request), forever=False)
        elif taken is False:
            link.outbox.send(response_message(frame.number, Outcome.NOT_EXECUTED))

    async def _answer(self, link: Link, number: int, request: RawRequest) -> None:
        """Run a request and send the answer; a failure of unknown kind may have come after a write."""
        try:
            message = response_message(number, Outcome.ANSWERED, await self._on_request(request))
        except NotActive:
            message = response_message(number, Outcome.NOT_EXECUTED)
        except OutcomeUnknown:
            message = response_message(number, Outcome.UNKNOWN)
        except Exception as error:
            log.error("forwarded request failed error=%s", where(error))
            message = response_message(number, Outcome.UNKNOWN)
        finally:
            self._requests -= 1
        try:
            link.outbox.send(message)
        except MessageTooLarge:
            log.error("answer too large for the link bytes=%s", len(message.body))
            link.outbox.send(response_message(number, Outcome.UNKNOWN))
