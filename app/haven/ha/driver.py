"""The driver: runs the pure protocol of one unsealed node against a coordinator.

It turns time, answers and peers' words into events, has the actions performed, and tells
everybody who waits that authority may have changed. It decides nothing itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

from haven.clock import Clock
from haven.errors import NotActive, Unavailable
from haven.ha import protocol
from haven.ha.coordinator import Coordinator, MadeSession
from haven.ha.membership import Activation, Membership, Standing
from haven.ha.messages import (
    Beat,
    DeathSeen,
    DoubtRaised,
    Event,
    Isolated,
    Leave,
    LinksHeard,
    LockHint,
    MoveCommitted,
    ResignationSeen,
)
from haven.ha.narrator import Narrator
from haven.ha.observer import Observer
from haven.ha.performer import Performer
from haven.ha.record import LockRecord, Road
from haven.ha.state import GiveAway, State
from haven.ha.timing import Timing
from haven.storage.authority import Warrant
from haven.storage.base import Fence
from haven.tasks import TaskSet
from haven.telemetry import Telemetry

__all__ = ["Activation", "Member", "Membership", "Standing"]

LOCK_KEY = "core/lock"
WRITING_PATIENCE = 5.0
"""How long (seconds) a write waits while this node is in doubt: longer than a Consul election takes."""
SETTLING_PATIENCE = 10.0
"""How long (seconds) to wait for the end of a doubt before an outcome stays unknown."""
JITTER = 0.1
"""The share by which a beat may be shorter or longer, so that nodes do not beat together."""


class Member:
    """One unsealed node's part in the protocol; implements `haven.storage.authority.Authority`."""

    def __init__(
        self,
        membership: Membership,
        coordinator: Coordinator,
        clock: Clock,
        timing: Timing,
        telemetry: Telemetry,
        activation: Activation,
        *,
        announce_resigned: Callable[[str], Awaitable[None]],
        died: Callable[[str], None],
        random: Random,
    ) -> None:
        """`announce_resigned` hands every peer a word for its `saw_resigned`; returns when it is sent.

        `died` is told of a loop of this member that ended though it should not.
        """
        self._state = State(
            node=membership.node,
            run=membership.run,
            api_address=membership.api_address,
            cluster_address=membership.cluster_address,
            timing=timing,
        )
        self._coordinator = coordinator
        self._clock = clock
        self._timing = timing
        self._telemetry = telemetry
        self._random = random
        self._tasks = TaskSet(died)
        self._performer = Performer(
            membership, coordinator, clock, timing, activation, announce_resigned, self._feed, self._tasks
        )
        self._narrator = Narrator(clock, telemetry)
        self._observer = Observer(clock, telemetry)
        self._running = False
        self._heard: tuple[int, LockRecord] | None = None
        self._left = 0

    # Life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to beat and to watch the lock."""
        self._running = True
        self._tasks.spawn("ha-beat", self._beat())
        self._tasks.spawn("ha-watch", self._watch())

    async def stop(self) -> None:
        """End: answer nothing more; end the own sessions if Consul has a leader right now.

        An agent blocks everybody's passes over a deregistration that it cannot pass on.
        """
        self._running = False
        sessions = (*self._state.sessions(), *self._state.abandoned)
        self._state = replace(self._state, tenure=None, yielding=None)
        self._observer.review(self._state, self._clock.now(), "stopping")
        self._performer.cancel_preparation()
        await self._tasks.stop()
        try:
            async with asyncio.timeout(self._timing.call_deadline):
                await self._coordinator.read_lock()
        except (Unavailable, TimeoutError):
            return  # what is left expires by itself
        made = [MadeSession(own.id, own.check_id, own.check_node) for own in sessions]
        await asyncio.gather(*(self._performer.end(session) for session in made))

    async def _beat(self) -> None:
        """Beat for ever, a little unevenly, and measure how late the loop was."""
        planned = self._clock.now()
        while True:
            now = self._clock.now()
            self._telemetry.heartbeat(max(0.0, now - planned))
            self._feed(Beat())
            interval = self._timing.beat * self._random.uniform(1 - JITTER, 1 + JITTER)
            planned = max(planned + interval, now)
            await asyncio.sleep(max(0.0, planned - self._clock.now()))

    async def _watch(self) -> None:
        """Follow the lock by blocking queries; what they show is a hint."""
        index = 0
        while True:
            try:
                reading, index = await self._coordinator.watch_lock(index)
            except Unavailable:
                index = 0
                await asyncio.sleep(self._timing.beat * self._random.uniform(0.5, 1.0))
            else:
                self._feed(LockHint(reading.index, reading.session, reading.record))
                await asyncio.sleep(0)  # what the hint gave rise to is sent before the next watch

    def _feed(self, event: Event) -> None:
        """Take one step of the protocol and have its actions performed."""
        if not self._running:
            return
        now, before = self._clock.now(), self._state
        self._state, actions = protocol.step(before, event, now)
        reason = self._narrator.tell(before, event, self._state, actions, now)
        if isinstance(event, MoveCommitted) and before.move and isinstance(before.move.purpose, GiveAway):
            self._left = event.number
        for action in actions:
            self._performer.perform(action)
        self._observer.review(self._state, now, reason)

    # Authority -----------------------------------------------------------------------------

    def reading(self) -> Warrant:
        """Return the warrant to answer reads now; raises `NotActive`."""
        if not self._state.may_read(self._clock.now()):
            raise NotActive("this node may not answer now")
        return self._warrant()

    async def writing(self) -> Warrant:
        """Return the warrant to hand a write to storage; waits while in doubt; raises `NotActive`."""
        deadline = self._clock.now() + WRITING_PATIENCE
        while True:
            now = self._clock.now()
            if self._state.may_write(now):
                return self._warrant()
            if self._state.tenure is None or now >= deadline:
                raise NotActive("this node may not write now")
            await self.changed(deadline - now)

    def holds(self, warrant: Warrant) -> bool:
        """Tell whether this node may answer for what ran under `warrant`: nobody else held the lock since."""
        tenure = self._state.tenure
        same = tenure is not None and tenure.reign <= warrant.term <= tenure.term
        return same and self._state.may_read(self._clock.now())

    def doubt(self, warrant: Warrant) -> None:
        """Report an unknown or fenced write under this warrant's session."""
        if warrant.fence:
            self._feed(DoubtRaised(warrant.fence.session))

    async def settled(self, warrant: Warrant) -> bool:
        """Wait until nothing sent under `warrant` can be applied any more; see `Authority`."""
        deadline = self._clock.now() + SETTLING_PATIENCE
        while True:
            now, tenure = self._clock.now(), self._state.tenure
            if tenure is None or warrant.term < tenure.reign or now >= deadline:
                return False
            if tenure.term > warrant.term and self._state.may_read(now):
                return True
            await self.changed(deadline - now)

    def _warrant(self) -> Warrant:
        tenure = self._state.tenure
        if tenure is None:
            raise NotActive("this node does not hold the lock")
        return Warrant(tenure.term, Fence(LOCK_KEY, tenure.session))

    # The cluster ---------------------------------------------------------------------------

    async def leave(self, successor: LockRecord | None, reason: str = "step-down") -> bool:
        """Give the lock away, after admission stopped and what ran was drained.

        True when the transaction is known to have committed. Otherwise the term is over all the same.
        """
        began, left = self._clock.now(), self._left
        if self._state.tenure is None:
            return False
        self._feed(Leave(successor, reason))
        deadline = began + 4 * self._timing.call_deadline
        while (self._state.yielding or self._state.leaving) and self._clock.now() < deadline:
            await self.changed(deadline - self._clock.now())
        if self._left == left:
            return False
        self._telemetry.handed_over(self._clock.now() - began)
        return True

    def candidate(self) -> LockRecord | None:
        """Return what a holder may put into the lock to hand it to this standby, or None."""
        state, main = self._state, self._state.main
        if not self._running or state.tenure or state.move or main is None:
            return None
        sound = main.chain.sound(self._clock.now(), self._timing)
        return state.record(main, Road.HAND_OVER, False) if sound else None

    def saw_death(self, run: str) -> None:
        """Take note that the liveness connection to a run ended and a reconnect found it gone."""
        self._feed(DeathSeen(run))

    def saw_resigned(self, word: str) -> None:
        """Take note of a peer's resignation, as its `announce_resigned` was given it."""
        run, _, generation = word.rpartition("/")
        if run and generation.isdecimal():
            self._feed(ResignationSeen(run, int(generation)))

    def hears(self, runs: frozenset[str]) -> None:
        """Take note of the runs that speak over a link, each time that may have changed."""
        if runs != self._state.heard:
            self._feed(LinksHeard(runs))

    def heard_holder(self, record: LockRecord, term: int) -> None:
        """Take a peer's word for who holds the lock: a hint for routing, never authority."""
        if self._heard is None or term > self._heard[0]:
            self._heard = (term, record)
            self._observer.notify()

    def isolated(self, isolated: bool) -> None:
        """Take note that this holder's followers are all silent and nothing comes in, or no longer so."""
        self._feed(Isolated(isolated))

    def holder(self) -> LockRecord | None:
        """Return the best hint of who answers: the holder of the highest term known, None if free."""
        lock = self._state.lock
        known = (lock.index, lock.record if lock.session else None) if lock else (0, None)
        return max(known, self._heard or known, key=lambda hint: hint[0])[1]

    async def changed(self, seconds: float) -> None:
        """Wait until authority, or the known holder, may have changed, or for so many seconds."""
        await self._observer.changed(seconds)

    @property
    def status(self) -> Standing:
        """Tell this node's part in the cluster, from memory."""
        state, now = self._state, self._clock.now()
        tenure, observed = state.tenure, self._observer.observed
        known = max(state.lock.index if state.lock else 0, self._heard[0] if self._heard else 0)
        return Standing(
            role=self._observer.role_of(state, now),
            reason=observed.reason,
            since=observed.since,
            term=tenure.term if tenure else known,
            road=tenure.road if tenure else None,
            holder=self.holder(),
            holds_lock=tenure is not None,
            in_doubt=tenure is not None and state.doubt,
            lease_remaining=max(0.0, tenure.lease.until - now) if tenure else 0.0,
        )
