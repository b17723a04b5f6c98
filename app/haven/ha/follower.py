"""A standby's side of the cluster link: it follows the holder and hands requests on to it."""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Protocol

from haven.clock import Clock
from haven.errors import NotActive, RequestError
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.frames import Frame, FrameError, Kind, MessageTooLarge
from haven.ha.handshake import Identity
from haven.ha.link import Link
from haven.ha.membership import InUse
from haven.ha.notes import HolderNote, read_keys, speaks_for
from haven.ha.peers import LinkTiming
from haven.ha.pursuit import Pursuit, Surroundings
from haven.ha.record import LockRecord
from haven.ha.requests import OpenRequests
from haven.tasks import TaskSet

log = logging.getLogger("haven.link")

MOST_PREDECESSORS = 4
FAREWELL = 0.5
"""Seconds that a link may take to say goodbye."""


class FollowerEvents(Protocol):
    """Who wants to know; called from the links' tasks, so each call is short and does not raise."""

    def on_death(self, run: str) -> None:
        """Learn that a followed run is dead: its process is gone."""
        ...

    def on_resigned(self, word: str) -> None:
        """Learn a run's word, as given to `Hub.announce_resigned`, that it answers no more."""
        ...

    def on_in_use(self, keys: InUse) -> None:
        """Learn from which keys the holder answers."""
        ...

    def on_changed(self) -> None:
        """Learn that `responsive` and `heard` may have changed."""
        ...


class Follower:
    """Follows the holder of the lock; safe to tell the same thing twice."""

    def __init__(
        self,
        identity: Identity,
        key: bytes,
        clock: Clock,
        events: FollowerEvents,
        died: Callable[[str], None],
        timing: LinkTiming | None = None,
        random: Random | None = None,
    ) -> None:
        timing = timing or LinkTiming()
        self._around = Surroundings(identity, key, clock, timing, random or Random())  # noqa: S311 (jitter)
        self._events = events
        self._tasks = TaskSet(died)
        self._current: Pursuit | None = None
        self._predecessors: dict[str, Pursuit] = {}
        self._open: dict[Link, OpenRequests] = {}
        self._candidate: LockRecord | None = None
        self._note: HolderNote | None = None
        self._notes = 0
        self._told: dict[str, int] = {}
        self._closed = False

    @property
    def responsive(self) -> bool:
        """Tell whether the holder is another node that can be expected to answer now."""
        return self._current is not None and self._current.responsive

    def heard(self) -> frozenset[str]:
        """Return the runs, of holders past and present, that can be expected to answer now."""
        pursuits = (*self._predecessors.values(), *([self._current] if self._current else []))
        return frozenset(pursuit.run for pursuit in pursuits if pursuit.responsive)

    def follow(self, record: LockRecord | None, term: int = 0) -> None:
        """Follow the run that holds the lock; None, and this node's own record, mean nobody.

        A link to the run followed before is kept for a while, to tell it who holds the lock now.
        """
        if self._closed:
            return
        other = record if record and record.run != self._around.identity.run else None
        before = self._current
        if (other.run if other else None) != (before.run if before else None):
            self._current = self._pursue(other) if other else None
            if before:
                self._predecessors[before.run] = before
                self._tasks.spawn(f"linger {before.node}", self._linger(before), forever=False)
            if len(self._predecessors) > MOST_PREDECESSORS:
                del self._predecessors[next(iter(self._predecessors))]
            self._events.on_changed()
        if record and (self._note is None or self._note.record != record):
            self._notes += 1
            self._note = HolderNote(record, term)
            for predecessor in self._predecessors.values():
                self._tell(predecessor)

    def offer(self, candidate: LockRecord | None) -> None:
        """Set the record with which this node would take over if the lock were handed to it now."""
        if candidate == self._candidate:
            return
        self._candidate = candidate
        for link in self._open:
            self._introduce(link)

    async def forward(self, request: RawRequest) -> RawResponse:
        """Have the holder answer a request.

        Raises `NotActive` when it was surely not executed, `OutcomeUnknown` when it may have been,
        and `RequestError` (413) when it is too large to send.
        """
        link = self._current.link if self._current else None
        requests = self._open.get(link) if link else None
        if requests is None:
            raise NotActive("there is no link to an active node")
        try:
            return await requests.ask(request)
        except MessageTooLarge as error:
            raise RequestError(413, str(error)) from error

    async def close(self) -> None:
        """Say goodbye on every link and end; what is in flight fails."""
        self._closed = True
        pursuits = [*self._predecessors.values(), *([self._current] if self._current else [])]
        await asyncio.gather(*(pursuit.stop(FAREWELL) for pursuit in pursuits))
        for requests in list(self._open.values()):
            requests.abandon()
        await self._tasks.stop()

    def connected(self, pursuit: Pursuit, link: Link) -> None:
        """Introduce this node's candidate; part of `PursuitOwner`."""
        self._open[link] = OpenRequests(link, self._around.timing.answer)
        self._introduce(link)

    def received(self, pursuit: Pursuit, link: Link, frame: Frame) -> None:
        """Take a frame from a holder; part of `PursuitOwner`."""
        requests = self._open.get(link)
        if requests is None:
            return
        if frame.kind in {Kind.RESPONSE, Kind.REST}:
            requests.take(frame)
        elif frame.kind is Kind.RESIGNED:
            self._resigned(link, frame)
        elif frame.kind is Kind.IN_USE:
            self._events.on_in_use(read_keys(frame.payload))
        elif frame.kind is Kind.DONE:
            self._told[pursuit.run] = frame.number
        if link.leaving and requests.idle:
            link.finish()

    def disturbed(self, pursuit: Pursuit, link: Link) -> None:
        """Fail what waits for a silent or ended link; part of `PursuitOwner`."""
        requests = self._open.get(link)
        if requests:
            requests.abandon()
        if link.end is not None:
            self._open.pop(link, None)

    def died(self, pursuit: Pursuit) -> None:
        """Pass on that a run is dead; part of `PursuitOwner`."""
        self._events.on_death(pursuit.run)

    def changed(self) -> None:
        """Pass on that a holder answers, or no longer; part of `PursuitOwner`."""
        self._events.on_changed()

    def _pursue(self, record: LockRecord) -> Pursuit | None:
        """Follow a run: again, if the link to it is still kept."""
        known = self._predecessors.pop(record.run, None)
        if known:
            return known
        try:
            pursuit = Pursuit(record, self._around, self, self._tasks)
        except ValueError:
            log.error("holder cannot be followed node=%s reason=bad-cluster-address", record.node)
            return None
        pursuit.start()
        return pursuit

    async def _linger(self, pursuit: Pursuit) -> None:
        """Repeat to a predecessor who holds the lock now, until it has taken note; let go in the end."""
        timing, clock = self._around.timing, self._around.clock
        until = clock.now() + timing.linger
        while clock.now() < until and not pursuit.dead and self._predecessors.get(pursuit.run) is pursuit:
            await asyncio.sleep(timing.repeat)
            self._tell(pursuit)
        if pursuit is self._current:
            return
        if self._predecessors.get(pursuit.run) is pursuit:
            del self._predecessors[pursuit.run]
        self._told.pop(pursuit.run, None)
        await pursuit.stop(FAREWELL)

    def _tell(self, pursuit: Pursuit) -> None:
        """Send a predecessor the note on who holds the lock, unless it has taken note or is that holder."""
        note, link = self._note, pursuit.link
        if note is None or note.record.run == pursuit.run or self._told.get(pursuit.run) == self._notes:
            return
        if link is not None and link.responsive:
            link.outbox.post(Frame(Kind.HOLDER, self._notes, note.to_bytes()))

    def _introduce(self, link: Link) -> None:
        candidate = self._candidate
        link.outbox.post(Frame(Kind.CANDIDATE, payload=candidate.to_bytes() if candidate else b""))

    def _resigned(self, link: Link, frame: Frame) -> None:
        """Take a run's own word, and no other run's, that it answers no more."""
        word = frame.payload.decode("utf-8", "replace")
        if not speaks_for(word, link.peer.run):
            raise FrameError("a run can resign for itself only")
        log.info("peer resigned node=%s word=%s", link.peer.node, word)
        self._events.on_resigned(word)
        link.outbox.post(Frame(Kind.DONE, frame.number))
