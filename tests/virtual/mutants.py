"""Deliberately broken request paths, each with the faults that should show it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from haven import unsealed
from haven.api import errors, gate
from haven.api.admission import Admission
from haven.api.gate import Gate
from haven.errors import HavenError, NotActive, NotApplied, OutcomeUnknown
from haven.ha.forwarding import RawRequest, RawResponse
from haven.storage.active import ActiveStore, Phase
from haven.storage.authority import Warrant
from haven.storage.base import Delete, Operation
from haven.storage.cache import Cache, Fill
from haven.storage.group_commit import GroupCommit, Member
from haven.unsealed import Unsealed
from virtual import faults
from virtual.faults import Mix
from virtual.play import Aim


@dataclass(frozen=True)
class Mutant:
    """What is broken, and what to aim at it."""

    name: str
    aim: Aim
    patches: Mapping[tuple[Any, str], Callable[..., Any]]

    def in_force(self) -> AbstractContextManager[object]:
        """Break the code for as long as the context lasts."""
        stack = ExitStack()
        for (owner, name), broken in self.patches.items():
            stack.enter_context(patch.object(owner, name, broken))
        return stack


_make_cache = Cache.__init__

# Reads -------------------------------------------------------------------------------------------


def without_the_check_after(self: ActiveStore, warrant: Warrant) -> None:
    """Answers what was read, whatever happened meanwhile."""


async def read_without_the_lease(self: ActiveStore, key: str) -> bytes | None:
    """Answers as long as nobody has told it otherwise."""
    if self._phase is Phase.PREPARING:
        return await self._storage.get(key)
    cached = self._cache.get(key)
    return await self._fetch(key) if cached is None else cached.value


def while_it_has_a_duty(self: Unsealed) -> bool:
    return self._duty is not None


def filled_in_any_case(self: Cache, fill: Fill, value: bytes | None) -> None:
    """Keeps what a read brought although the key was written meanwhile."""
    self._put(fill.key, value, asked=True)


def of_few_entries(self: Cache) -> None:
    """Breaks nothing: it only lets a cache miss often."""
    _make_cache(self, limit_bytes=2500)


async def fetched_past_no_write(self: ActiveStore, key: str) -> bytes | None:
    """Fills the cache while a write of the key is on its way, or not settled."""
    fill = self._cache.begin(key)
    value = await self._storage.get(key)
    self._cache.end(fill, value)
    return value


async def without_waiting(self: ActiveStore, keys: set[str]) -> None:
    """Lets the next write begin while one of the same key is not settled."""


async def sent_beside_the_cache(self: ActiveStore, operations: Any, warrant: Warrant) -> bool:
    """Leaves the old values in the cache while a write is on its way."""
    try:
        await self._group.commit(operations, warrant.fence)
    except OutcomeUnknown:
        self._authority.doubt(warrant)
        return await self._settle(operations, warrant)
    for operation in operations:
        self._cache.written(operation.key, None if isinstance(operation, Delete) else operation.value)
    return True


class StoreForEver(ActiveStore):
    """One store for all activations of a process."""

    def __new__(cls, storage: Any, authority: Any, telemetry: Any) -> "StoreForEver":
        known = getattr(storage, "kept_store", None)
        if known is None:
            known = storage.kept_store = super().__new__(cls)
        return known

    def __init__(self, storage: Any, authority: Any, telemetry: Any) -> None:
        if not hasattr(self, "_cache"):
            super().__init__(storage, authority, telemetry)
        self._phase = Phase.PREPARING

    def end(self) -> None:
        self._phase = Phase.ENDED


# Writes ------------------------------------------------------------------------------------------

_park, _send, _unknown = Gate._park, GroupCommit._send, gate._unknown


async def parked_and_sent_twice(self: Gate, raw: RawRequest, result: HavenError) -> RawResponse:
    answer = await _park(self, raw, result)
    await self._try(raw)
    return answer


def repeated_after_unknown(raw: RawRequest, error: OutcomeUnknown) -> RawResponse | HavenError:
    return NotActive("try again")


def told_as_refused(raw: RawRequest, error: OutcomeUnknown) -> RawResponse | HavenError:
    return _unknown(raw, error) if raw.is_read else errors.translate(NotApplied("refused"))


async def answered_before_the_commit(self: GroupCommit, members: list[Member]) -> None:
    for member in members:
        if not member.outcome.done():
            member.outcome.set_result(None)
    await _send(self, members)


async def called_failed(self: ActiveStore, operations: list[Operation], warrant: Warrant) -> bool:
    """Takes a write of unknown outcome for one that was not applied."""
    raise NotApplied("no answer")


async def without_draining(self: Admission, seconds: float) -> bool:
    return True


CHANGES: Mix = {faults.pause: 3, faults.usurp: 2, faults.step_down: 2, faults.crash: 1, faults.cut: 1}
UNKNOWNS: Mix = {faults.crash: 2, faults.pause: 2, faults.unlink: 1, faults.cut: 1, faults.reset_links: 2}
LOSSES: Mix = {faults.lose_request: 2, faults.delay_request: 2, faults.lose_reply: 2}
LAPSES: Mix = {faults.usurp: 2, faults.pause: 2, faults.isolate: 1, faults.deafen: 1}
AT_COMMIT = ("commit",)

MUTANTS = (
    Mutant(
        "reads without the check after the read",
        Aim({faults.pause: 1}, moments=("read",)),
        {(ActiveStore, "_require"): without_the_check_after},
    ),
    Mutant(
        "reads without the lease",
        Aim(LAPSES),
        {(ActiveStore, "get"): read_without_the_lease, (Unsealed, "may_serve"): while_it_has_a_duty},
    ),
    Mutant("parked request sent twice", Aim(CHANGES), {(Gate, "_park"): parked_and_sent_twice}),
    Mutant(
        "cache filled by a read that raced a write",
        # Only a miss can race with a write, so the cache is too small for the secrets.
        Aim(
            {faults.crash: 1, faults.step_down: 2, faults.slow_network: 3},
            most=12,
            moments=("read", "commit"),
        ),
        {(Cache, "end"): filled_in_any_case, (Cache, "__init__"): of_few_entries},
    ),
    Mutant(
        "old values read while a write is on its way",
        Aim({faults.lose_reply: 1}, most=6, moments=AT_COMMIT, lists=0.6),
        {(ActiveStore, "_sent"): sent_beside_the_cache},
    ),
    Mutant(
        "keys not held while unsettled",
        Aim({faults.delay_requests: 1}, most=6, moments=AT_COMMIT),
        {
            (ActiveStore, "_fetch"): fetched_past_no_write,
            (ActiveStore, "_wait_for_settlement"): without_waiting,
        },
    ),
    Mutant(
        "store of one activation used in the next",
        Aim({faults.step_down: 3, faults.crash: 1, faults.terminate: 0.3}, most=8),
        {(unsealed, "ActiveStore"): StoreForEver},
    ),
    Mutant(
        "forwarded write repeated after unknown", Aim(UNKNOWNS), {(gate, "_unknown"): repeated_after_unknown}
    ),
    Mutant("unknown write told as refused", Aim(UNKNOWNS), {(gate, "_unknown"): told_as_refused}),
    Mutant("unknown write called failed", Aim(LOSSES), {(ActiveStore, "_settle"): called_failed}),
    Mutant(
        "group member answered before the commit",
        Aim({**LOSSES, faults.crash: 2}),
        {(GroupCommit, "_send"): answered_before_the_commit},
    ),
    Mutant(
        "hand-over without draining",
        Aim({faults.step_down: 1}, most=1, moments=AT_COMMIT),
        {(Admission, "drain"): without_draining},
    ),
)
