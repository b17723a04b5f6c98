"""Says what the protocol decided: one log line per decision, and the durations of each change of holder."""

import logging
from collections.abc import Sequence

from haven.clock import Clock
from haven.ha.messages import (
    Action,
    AnnounceResigned,
    Event,
    LockRead,
    MoveRefused,
    MoveUnknown,
    Prepared,
    SendLeave,
    SendMove,
)
from haven.ha.state import Refence, State, Tenure
from haven.telemetry import Telemetry

log = logging.getLogger("haven.ha")


class Narrator:
    """Compares the state before and after a step; keeps only the beginnings of what it times."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._doubt_since = clock.now()
        self._obtainable_since = clock.now()
        self._taken_at = clock.now()

    def tell(self, before: State, event: Event, after: State, actions: Sequence[Action], now: float) -> str:
        """Log what was decided and return the reason that a change of role has, if there is one."""
        self._tell_of_moves(before, event, actions, now)
        self._tell_of_sessions(before, after)
        if after.doubt and not before.doubt:
            self._doubt_since = now
            log.warning("in doubt term=%d event=%s", _term(after.tenure), type(event).__name__)
        for action in actions:
            if isinstance(action, AnnounceResigned):
                log.warning("resigned: no Consul agent answers generation=%d", action.generation)
                return "resigned"
        return self._tell_of_tenure(before, event, after, now)

    def _tell_of_moves(self, before: State, event: Event, actions: Sequence[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, SendMove):
                log.info(
                    "lock transaction sent number=%d condition=%s road=%s owes_wait=%s check=%s",
                    action.number,
                    type(action.condition).__name__,
                    action.record.road,
                    action.record.owes_wait,
                    action.record.check_id,
                )
            elif isinstance(action, SendLeave):
                successor = "none" if action.record.released else action.record.node
                log.info("giving the lock away number=%d successor=%s", action.number, successor)
        if (
            isinstance(event, MoveRefused | MoveUnknown)
            and before.move
            and before.move.number == event.number
        ):
            outcome = "refused" if isinstance(event, MoveRefused) else "unknown"
            log.warning("lock transaction %s number=%d", outcome, event.number)
            if isinstance(before.move.purpose, Refence):
                self._telemetry.refenced(outcome, now - self._doubt_since)

    def _tell_of_sessions(self, before: State, after: State) -> None:
        known, kept = {own.id for own in before.sessions()}, {own.id for own in after.sessions()}
        for own in after.sessions():
            if own.id not in known:
                log.info("session made check=%s agent=%s", own.check_id, own.check_node)
        for own in before.sessions():
            if own.id not in kept:
                log.info("session given up check=%s broken=%s", own.check_id, own.chain.broken)

    def _tell_of_tenure(self, before: State, event: Event, after: State, now: float) -> str:
        old, new = before.tenure, after.tenure
        if new is None:
            return self._tell_of_standby(before, event, after, now)
        if old is None or old.reign != new.reign:
            self._taken_at = now
            wait = max(0.0, new.answers_from - now)
            log.info("lock taken term=%d road=%s wait=%.2f", new.term, new.road, wait)
        elif old.term != new.term:
            self._telemetry.refenced("committed", now - self._doubt_since)
            log.info("refenced term=%d after=%.3f", new.term, now - self._doubt_since)
        if new.ready and (old is None or not old.ready) and isinstance(event, Prepared):
            self._telemetry.activated(now - self._taken_at)
            waited = max(now, new.answers_from) - min(self._obtainable_since, self._taken_at)
            self._telemetry.took_over(new.road, waited)
            log.info("activated term=%d road=%s took=%.3f", new.term, new.road, now - self._taken_at)
        return str(new.road)

    def _tell_of_standby(self, before: State, event: Event, after: State, now: float) -> str:
        if after.move and not before.move:
            self._obtainable_since = min(now, after.lock.first_seen if after.lock else now)
        if before.tenure is None:
            return "lost"
        gone = after.leaving or before.yielding
        reason = gone.reason if gone else "lost"
        holder = after.lock.record.node if after.lock and after.lock.record else "unknown"
        seen = holder if isinstance(event, LockRead) and after.lock and after.lock.session else "none"
        log.warning("term over term=%d reason=%s holder=%s", before.tenure.term, reason, seen)
        return reason


def _term(tenure: Tenure | None) -> int:
    return tenure.term if tenure else 0
