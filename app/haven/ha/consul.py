"""Coordination by Consul: sessions bound to TTL checks, and one lock moved by conditional transactions.

Rests on these rules of Consul: a session ends with its check; a transaction is applied whole or not at all;
`lock` fails while another session holds the key; `ModifyIndex` grows with each change of the key.
Not promised: that a pass proves anything of the lock, for an agent cut off from the servers answers it too.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from haven.errors import OutcomeUnknown, Unavailable
from haven.ha.coordinator import Condition, LockReading, MadeSession
from haven.ha.lock_operations import LockOperation, Verb, leaving, taking
from haven.ha.record import LockRecord
from haven.storage.consul_meter import ConsulMeter
from haven.storage.consul_transaction import transact
from haven.storage.consul_transport import ConsulAgent, ConsulApi, ConsulFailure, ConsulTransport
from haven.storage.kv_operations import TxnOperation, body_of, kv_operation, modify_index
from haven.telemetry import Telemetry

LOCK_KEY = "core/lock"
DEREGISTER_AFTER = "1m"
"""The shortest that Consul takes; it removes what a crashed node left."""


class ConsulCoordinator:
    """Implements `haven.ha.coordinator.Coordinator` over a transport that its storage closes."""

    def __init__(
        self,
        transport: ConsulTransport,
        telemetry: Telemetry,
        *,
        check_ttl: float,
        prefix: str = "haven/",
        service: str = "haven",
        deadline: float = 0.4,
        registration_deadline: float = 1.0,
        watch: float = 2.0,
    ) -> None:
        """All durations are in seconds; `watch` is how long Consul may hold a watch open."""
        self._transport = transport
        self._meter = ConsulMeter(telemetry)
        self._lock = prefix + LOCK_KEY
        self._service = service
        self._check_ttl = check_ttl
        self._deadline = deadline
        self._registration_deadline = registration_deadline
        self._watch = watch
        self._made_through: dict[str, ConsulAgent] = {}
        self._stuck: ConsulAgent | None = None

    async def read_lock(self) -> LockReading:
        """Read the lock with `consistent`."""
        with self._meter.call("read-lock"):
            _, entry = await self._transport.read(
                lambda api: api.kv.get(self._lock, consistency="consistent"), self._deadline
            )
        return _reading(entry)

    async def watch_lock(self, index: int) -> tuple[LockReading, int]:
        """Wait in a blocking query until the lock may differ from what it was at this wait index."""
        # Consul adds up to a sixteenth of the wait, so that watchers do not return together.
        deadline = self._watch * (1 + 1 / 16) + self._deadline if index else self._deadline
        wait = f"{round(self._watch * 1000)}ms"
        with self._meter.call("watch-lock"):
            raw, entry = await self._ask(
                self._transport.agents()[0],
                lambda api: api.kv.get(self._lock, index=index, wait=wait),
                deadline,
            )
        following = int(raw)
        # Consul's rule: an index that went back (a restored snapshot) starts over.
        return _reading(entry), following if following >= index else 0

    async def critical_checks(self) -> tuple[tuple[str, str], ...]:
        """Return (check id, output) of every critical check of Haven's services."""
        with self._meter.call("critical-checks"):
            _, checks = await self._transport.read(lambda api: api.health.state("critical"), self._deadline)
        return tuple(
            (check["CheckID"], check["Output"]) for check in checks if check["ServiceName"] == self._service
        )

    async def make_session(self, check_id: str, apart_from: str | None) -> MadeSession:
        """Register service, TTL check and session through the best agent other than `apart_from`'s.

        The agent through which the last try failed comes last: it may answer reads and yet hold back every
        registration for many seconds after an election. Only an agent that answers a `consistent` read now
        is asked to register: one without a leader would block every pass through it. Once asked, no other
        agent is tried under this id, because two checks of one id would make the expiry of one look like
        that of the other.
        """
        apart, stuck = self._made_through.get(apart_from or ""), self._stuck
        # The sort is stable: it keeps the order of preference and puts the agents to avoid last.
        for agent in sorted(self._transport.agents(), key=lambda agent: (agent is stuck, agent is apart)):
            if await self._has_leader(agent):
                self._stuck = agent
                with self._meter.call("make-session"):
                    made = await self._register(agent, check_id)
                self._stuck = None
                return made
        raise Unavailable("no Consul agent can register a session now")

    async def pass_check(self, session: MadeSession) -> None:
        """Pass the check through the agent that it was made through; no note."""
        with self._meter.call("pass"):
            await self._ask(
                self._agent_of(session),
                lambda api: api.agent.check.ttl_pass(session.check_id),
                self._deadline,
            )

    async def end_session(self, session: MadeSession) -> None:
        """Destroy the session and deregister its service; only call it while Consul has a leader."""
        agent = self._agent_of(session)
        with self._meter.call("end-session"):
            await self._ask(
                agent, lambda api: api.session.destroy(session.session), self._registration_deadline
            )
            await self._ask(
                agent,
                lambda api: api.agent.service.deregister(session.check_id),
                self._registration_deadline,
            )

    async def move(self, condition: Condition, record: LockRecord) -> int:
        """Commit the lock transaction that puts `record` and its session in place; return the term."""
        return await self._commit("move", taking(condition, record))

    async def leave(self, old: str, record: LockRecord) -> int:
        """Unlock under `old`, leave `record`; lock its session too unless it says `released`."""
        return await self._commit("leave", leaving(old, record))

    async def close(self) -> None:
        """Do nothing: the connections are the storage's, which closes them."""

    async def _commit(self, name: str, operations: Sequence[LockOperation]) -> int:
        """Send a lock transaction and return the index that it gave the lock."""
        body = body_of([_encoded(self._lock, operation) for operation in operations])
        fenced = operations[0].verb is Verb.CHECK_SESSION
        with self._meter.call(name):
            answer = await transact(self._transport, body, self._deadline, fenced=fenced)
            try:
                return modify_index(answer)
            except (LookupError, TypeError, ValueError) as error:
                raise OutcomeUnknown("the transaction's answer names no index") from error

    async def _has_leader(self, agent: ConsulAgent) -> bool:
        """Tell whether the agent reaches a leader that has a majority."""
        try:
            with self._meter.call("probe"):
                await self._ask(
                    agent, lambda api: api.kv.get(self._lock, consistency="consistent"), self._deadline
                )
        except Unavailable:
            return False
        return True

    async def _register(self, agent: ConsulAgent, check_id: str) -> MadeSession:
        """Make service, check and session through one agent."""
        check = {
            "CheckID": check_id,
            "TTL": f"{self._check_ttl}s",
            "Status": "passing",
            "DeregisterCriticalServiceAfter": DEREGISTER_AFTER,
        }
        deadline = self._registration_deadline
        await self._ask(
            agent,
            lambda api: api.agent.service.register(self._service, service_id=check_id, check=check),
            deadline,
        )
        session = await self._ask(
            agent,
            lambda api: api.session.create(name=check_id, checks=["serfHealth", check_id], lock_delay=0),
            deadline,
        )
        _, info = await self._ask(agent, lambda api: api.session.info(session), deadline)
        if info is None:
            raise Unavailable("the session ended at once")
        self._made_through[info["Node"]] = agent
        return MadeSession(session, check_id, info["Node"])

    def _agent_of(self, session: MadeSession) -> ConsulAgent:
        """Return the agent that a session was made through."""
        agent = self._made_through.get(session.check_node)
        if agent is None:
            raise Unavailable("the session was not made here")
        return agent

    async def _ask(
        self, agent: ConsulAgent, request: Callable[[ConsulApi], Awaitable[Any]], deadline: float
    ) -> Any:
        """Send one request through one agent; raises `Unavailable`."""
        try:
            return await self._transport.call(agent, request, deadline)
        except ConsulFailure as failure:
            raise Unavailable(str(failure)) from failure


def _reading(entry: dict[str, Any] | None) -> LockReading:
    """Turn Consul's entry into what the protocol reads of the lock."""
    if entry is None:
        return LockReading(0, "", None)
    record = LockRecord.from_bytes(entry["Value"] or b"")
    return LockReading(entry["ModifyIndex"], entry.get("Session", ""), record)


def _encoded(key: str, operation: LockOperation) -> TxnOperation:
    """Write an operation on the lock as Consul takes it; `unlock` without a value would empty the key."""
    value = operation.record.to_bytes() if operation.record else None
    fields: dict[str, str | int] = {}
    if operation.session:
        fields["Session"] = operation.session
    if operation.verb is Verb.CHECK_INDEX:
        fields["Index"] = operation.index
    return kv_operation(operation.verb, key, value, **fields)
