"""Performs the protocol's actions as tasks, each with a deadline, and feeds their outcomes back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from haven.clock import Clock
from haven.errors import ConditionFailed, Fenced, NotApplied, OutcomeUnknown, Unavailable
from haven.ha.coordinator import Coordinator, MadeSession
from haven.ha.lease import PassChain
from haven.ha.membership import Activation, Membership
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    ChecksRead,
    EndSession,
    Event,
    LockRead,
    MakeSession,
    MoveCommitted,
    MoveRefused,
    MoveUnknown,
    PassAnswered,
    PassFailed,
    Prepare,
    Prepared,
    PrepareFailed,
    ReadAhead,
    ReadChecks,
    ReadFailed,
    ReadLock,
    Retire,
    SendLeave,
    SendMove,
    SendPass,
    SessionFailed,
    SessionMade,
    SettleWrites,
)
from haven.ha.state import OwnSession
from haven.ha.timing import Timing
from haven.tasks import TaskSet

log = logging.getLogger("haven.ha")
T = TypeVar("T")

REGISTRATION_DEADLINE = 5.0
"""How long (seconds) making or ending a session may take: several calls; nothing waits for it."""
PREPARATION_DEADLINE = 30.0
"""How long (seconds) a new holder may take to prepare before it lets another try."""
ANNOUNCEMENT_DEADLINE = 1.0
"""How long (seconds) telling the peers of a resignation may take; later the lock expires anyway."""
GRACE = 1.25
"""The coordinator keeps the call deadline itself and knows more of what became of a call; this is a net."""


class Performer:
    """Carries out actions; every one that asks something feeds exactly one event back."""

    def __init__(
        self,
        membership: Membership,
        coordinator: Coordinator,
        clock: Clock,
        timing: Timing,
        activation: Activation,
        announce_resigned: Callable[[str], Awaitable[None]],
        feed: Callable[[Event], None],
        tasks: TaskSet,
    ) -> None:
        self._membership = membership
        self._coordinator = coordinator
        self._clock = clock
        self._deadline = timing.call_deadline * GRACE
        self._activation = activation
        self._announce_resigned = announce_resigned
        self._feed = feed
        self._tasks = tasks
        self._preparation: asyncio.Task[None] | None = None

    def perform(self, action: Action) -> None:
        """Begin to carry an action out; never raises, never blocks."""
        match action:
            case Retire():
                self.cancel_preparation()
                self._activation.retire()
            case SettleWrites():
                self._activation.settle()
            case ReadAhead(term):
                self._activation.read_ahead(term)
            case Prepare(reign):
                self.cancel_preparation()
                self._preparation = asyncio.create_task(self._prepare(reign), name="ha-prepare")
            case _:
                self._tasks.spawn(f"ha-{type(action).__name__}", self._ask(action), forever=False)

    async def _ask(self, action: Action) -> None:
        """Carry out an action that asks the coordinator or the peers something."""
        match action:
            case SendPass(session):
                await self._pass(session)
            case ReadLock():
                await self._read_lock()
            case ReadChecks():
                await self._read_checks()
            case MakeSession(number, apart_from):
                await self._make_session(number, apart_from)
            case EndSession(session):
                await self.end(MadeSession(session.id, session.check_id, session.check_node))
            case SendMove(number, condition, record):
                await self._move(number, self._coordinator.move(condition, record))
            case SendLeave(number, old, record):
                await self._move(number, self._coordinator.leave(old, record))
            case AnnounceResigned(generation):
                word = f"{self._membership.run}/{generation}"
                await self._within(_true(self._announce_resigned(word)), ANNOUNCEMENT_DEADLINE)

    async def _within(self, call: Awaitable[T], deadline: float) -> T | None:
        """Return the answer of a call that may be asked again, or None where it did not come."""
        try:
            async with asyncio.timeout(deadline):
                return await call
        except (Unavailable, TimeoutError) as failure:
            log.debug("call failed error=%s", failure)
        except Exception:
            # A coordinator that answers nonsense is one that does not answer; the node must outlive it.
            log.exception("call failed unexpectedly")
        return None

    async def _pass(self, session: OwnSession) -> None:
        sent = self._clock.now()
        made = MadeSession(session.id, session.check_id, session.check_node)
        answered = await self._within(_true(self._coordinator.pass_check(made)), self._deadline)
        self._feed(PassAnswered(session.id, sent) if answered else PassFailed(session.id))

    async def _read_lock(self) -> None:
        sent = self._clock.now()
        reading = await self._within(self._coordinator.read_lock(), self._deadline)
        if reading is None:
            self._feed(ReadFailed())
        else:
            self._feed(LockRead(sent, reading.index, reading.session, reading.record))

    async def _read_checks(self) -> None:
        sent = self._clock.now()
        critical = await self._within(self._coordinator.critical_checks(), self._deadline)
        if critical is not None:
            self._feed(ChecksRead(sent, critical))

    async def _make_session(self, number: int, apart_from: str | None) -> None:
        sent = self._clock.now()
        check_id = f"haven:{self._membership.node}:{self._membership.run}:{number}"
        made = await self._within(self._coordinator.make_session(check_id, apart_from), REGISTRATION_DEADLINE)
        if made is None:
            log.warning("session not made check=%s", check_id)
            self._feed(SessionFailed(number))
        else:
            own = OwnSession(made.session, made.check_id, made.check_node, PassChain(sent))
            self._feed(SessionMade(number, own))

    async def end(self, session: MadeSession) -> None:
        """End a session; one that cannot be ended now expires by itself."""
        await self._within(self._coordinator.end_session(session), REGISTRATION_DEADLINE)

    async def _move(self, number: int, transaction: Awaitable[int]) -> None:
        """Send a lock transaction once. Whatever is not surely refused or committed is unknown."""
        try:
            async with asyncio.timeout(self._deadline):
                term = await transaction
        except (Fenced, ConditionFailed) as refusal:
            self._feed(MoveRefused(number, fenced=isinstance(refusal, Fenced)))
        except (NotApplied, OutcomeUnknown, TimeoutError):
            # What never reached a leader says nothing of the session: it must not be given up for that.
            self._feed(MoveUnknown(number))
        except Exception:
            log.exception("lock transaction failed unexpectedly number=%d", number)
            self._feed(MoveUnknown(number))
        else:
            self._feed(MoveCommitted(number, term))

    async def _prepare(self, reign: int) -> None:
        try:
            async with asyncio.timeout(PREPARATION_DEADLINE):
                await self._activation.prepare(reign)
        except Exception as failure:
            log.warning("activation failed term=%d error=%s", reign, type(failure).__name__, exc_info=True)
            self._feed(PrepareFailed(reign))
        else:
            self._feed(Prepared(reign))

    def cancel_preparation(self) -> None:
        """Stop preparing: the term is over."""
        if self._preparation:
            self._preparation.cancel()
            self._preparation = None


async def _true(call: Awaitable[Any]) -> bool:
    """Turn a call that returns nothing into one whose answer can be told from none."""
    await call
    return True
