"""Keeping one link to one run of a node, and finding out whether that run is dead."""

import asyncio
import logging
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from haven.clock import Clock
from haven.ha.connection import Connection, open_as_dialler
from haven.ha.frames import Frame
from haven.ha.handshake import Dialler, HandshakeFailed, Identity
from haven.ha.link import Link
from haven.ha.peers import DeathJudge, Dialled, LinkEnd, LinkTiming, pauses, split_address
from haven.ha.record import LockRecord
from haven.tasks import TaskSet

log = logging.getLogger("haven.link")

MOST_DIALS = 4
"""How many tries to connect may run at once: one whose first packet is lost hangs for a second."""
BY_NAME_EVERY = 4
"""Every so many tries the address is looked up again: the node may have come back elsewhere."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every link of this node is made with."""

    identity: Identity
    key: bytes = field(repr=False)
    clock: Clock
    timing: LinkTiming
    random: Random


class PursuitOwner(Protocol):
    """Who follows runs; each call is short."""

    def connected(self, pursuit: "Pursuit", link: Link) -> None:
        """Note a new link to the run."""
        ...

    def received(self, pursuit: "Pursuit", link: Link, frame: Frame) -> None:
        """Take a frame; raises `FrameError` to end the link."""
        ...

    def disturbed(self, pursuit: "Pursuit", link: Link) -> None:
        """Note that a link has ended or become silent: what was asked over it will not be answered."""
        ...

    def died(self, pursuit: "Pursuit") -> None:
        """Note that the run is dead."""
        ...

    def changed(self) -> None:
        """Note that the run can be asked again, or no longer."""
        ...


class Pursuit:
    """Follows one run at the address of its lock record, until it is dead or `stop` is called.

    While there is no responsive link it tries to connect: at once, then more and more seldom,
    beside a link that is only silent. Tries overlap, so that a lost packet hides no death.
    """

    def __init__(self, record: LockRecord, around: Surroundings, owner: PursuitOwner, tasks: TaskSet) -> None:
        self.node, self.run = record.node, record.run
        self.link: Link | None = None
        self._address = split_address(record.cluster_address)
        self._endpoint: tuple[str, int] | None = None
        self._around, self._owner, self._tasks = around, owner, tasks
        self._judge = DeathJudge()
        self._dials = 0
        self._tries = 0
        self._pauses = pauses(around.timing.first_retry, around.timing.most_retry, around.random)
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._complaint = ""

    @property
    def responsive(self) -> bool:
        """Tell whether the run can be expected to answer a request now."""
        return self.link is not None and self.link.responsive

    @property
    def dead(self) -> bool:
        """Tell whether the run is known to be dead."""
        return self._judge.dead

    def start(self) -> None:
        """Begin to connect."""
        self._begin(self._around.timing.first_retry)

    async def stop(self, seconds: float) -> None:
        """Say goodbye and close, after at most so many seconds."""
        self._stopped = True
        if self._timer:
            self._timer.cancel()
        link = self.link
        if link is None or link.end is not None:
            return
        link.finish()
        try:
            async with asyncio.timeout(seconds):
                await link.ended()
        except TimeoutError:
            link.close()

    def received(self, link: Link, frame: Frame) -> None:
        """Pass a frame on; part of `LinkOwner`."""
        self._owner.received(self, link, frame)
        if link.leaving and link is self.link:
            self._owner.changed()

    def silence(self, link: Link, silent: bool) -> None:
        """Look for another way to a silent peer, beside the silent one; part of `LinkOwner`."""
        if link is not self.link:
            return
        log.info("peer silence node=%s run=%s silent=%s", self.node, self.run, silent)
        if silent:
            self._owner.disturbed(self, link)
            self.start()
        self._owner.changed()

    def _begin(self, pause: float) -> None:
        """Begin to try, at once, and then again after a pause that grows."""
        self._tries = 0
        self._pauses = pauses(pause, self._around.timing.most_retry, self._around.random)
        self._again(at_once=True)

    def _again(self, at_once: bool = False) -> None:
        """Try to connect, unless that is needless now, and set the time for the next try.

        `at_once` lets one try begin beside however many hang: the moment of an end does not come back.
        """
        if self._timer:
            self._timer.cancel()
        if self._stopped or self.dead or (self.link and self.link.end is None and not self.link.silent):
            return
        if at_once or self._dials < MOST_DIALS:
            self._dials += 1
            by_name = self._endpoint is None or self._tries % BY_NAME_EVERY == BY_NAME_EVERY - 1
            self._tries += 1
            self._tasks.spawn(f"dial {self.node}", self._dial(by_name), forever=False)
        self._timer = asyncio.get_running_loop().call_later(next(self._pauses), self._again)

    async def _dial(self, by_name: bool) -> None:
        """Try once; only what is found where the last link led counts as evidence."""
        begun = self._judge.dialling()
        host, port = self._address if by_name or self._endpoint is None else self._endpoint
        dialler = Dialler(self._around.key, self._around.identity)
        connection: Connection | None = None
        found = Dialled.NOTHING
        try:
            async with asyncio.timeout(self._around.timing.handshake):
                connection = await open_as_dialler(host, port, dialler, self.run)
            found = self._recognise(connection)
        except ConnectionRefusedError:
            found = Dialled.REFUSED
        except HandshakeFailed as error:
            self._complain(str(error))
        except OSError as error:
            log.debug("peer not reached node=%s error=%s", self.node, type(error).__name__)
        finally:
            self._dials -= 1
        if connection and found is Dialled.SAME_RUN:
            await self._adopt(connection)
        elif not by_name:
            self._conclude(begun, found)

    def _complain(self, reason: str) -> None:
        """Log why a handshake failed, once for as long as the reason stays the same."""
        if reason != self._complaint:
            log.info("handshake failed node=%s reason=%s", self.node, reason)
        self._complaint = reason

    def _recognise(self, connection: Connection) -> Dialled:
        """Tell who answered. Another node at this address is a mistake in the network, no evidence."""
        if connection.peer.run == self.run:
            return Dialled.SAME_RUN
        return Dialled.OTHER_RUN if connection.peer.node == self.node else Dialled.NOTHING

    def _conclude(self, begun: int, found: Dialled) -> None:
        if self._stopped or self.dead or not self._judge.dialled(begun, found):
            return
        log.warning("peer dead node=%s run=%s evidence=%s", self.node, self.run, found)
        self._owner.died(self)

    async def _adopt(self, connection: Connection) -> None:
        """Serve a new link until it ends, in the place of one that has ended or is silent."""
        before = self.link
        if self._stopped or self.dead or (before and before.end is None and not before.silent):
            connection.writer.transport.abort()
            return
        link = Link(connection, self._around.clock, self._around.timing, self)
        self.link, self._endpoint = link, link.endpoint
        self._judge.established()
        self._complaint = ""
        if before:
            before.close()
        log.info("link up node=%s run=%s", self.node, self.run)
        self._owner.connected(self, link)
        self._owner.changed()
        self._ended(link, await link.run())

    def _ended(self, link: Link, how: LinkEnd) -> None:
        self._owner.disturbed(self, link)
        if link is not self.link or self._stopped:
            return
        log.info("link ended node=%s run=%s how=%s", self.node, self.run, how)
        self._judge.ended(how)
        self._begin(self._around.timing.urgent_retry)
        self._owner.changed()
