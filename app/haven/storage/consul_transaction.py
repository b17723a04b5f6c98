"""Send one Consul transaction once, and say which of the three outcomes it had.

The classes come from transactions sent while a leader was killed (docs/DESIGN.md 3.1): every answer is listed
that was never seen with an applied transaction; all others are unknown, whatever their text says.
"""

from contextlib import suppress
from typing import Any

from haven.errors import NotApplied, OutcomeUnknown
from haven.storage.consul_transport import ConsulFailure, ConsulTransport, NotSent, Refused
from haven.storage.kv_operations import refusal

_NOT_APPLIED_STATUSES = frozenset({400, 405, 413})
_NEVER_REACHED_A_LEADER = b"rpc error getting client"


async def transact(
    transport: ConsulTransport, body: bytes, deadline: float, *, fenced: bool
) -> dict[str, Any]:
    """Commit a transaction, encoded by `body_of`, and return Consul's answer.

    It goes to the best agent, and to the next one only where no connection could be made: so it is sent once.
    `fenced` tells that operation 0 is the fence. Raises `Fenced`, another `NotApplied` or `OutcomeUnknown`;
    `deadline` is in seconds, for each agent.
    """
    try:
        answer = await _send_once(transport, body, deadline)
    except ConsulFailure as failure:
        raise outcome_of(failure, fenced) from failure
    if not isinstance(answer, dict) or answer.get("Errors"):
        raise OutcomeUnknown("the transaction's answer is not Consul's")
    return answer


async def _send_once(transport: ConsulTransport, body: bytes, deadline: float) -> Any:
    """Send to the first agent to which a connection can be made."""
    *others, last = transport.agents()
    for agent in others:
        with suppress(NotSent):
            return await transport.call(agent, lambda api: api.transact(body), deadline)
    return await transport.call(last, lambda api: api.transact(body), deadline)


def outcome_of(failure: ConsulFailure, fenced: bool) -> NotApplied | OutcomeUnknown:
    """Return the outcome that a failed transaction had."""
    if isinstance(failure, NotSent):
        return NotApplied("the transaction was not sent: no connection to Consul")
    if isinstance(failure, Refused):
        if failure.status == 409:
            return refusal(failure.body, fenced)
        if failure.status in _NOT_APPLIED_STATUSES:
            return NotApplied(f"Consul answered {failure.status} to the transaction")
        if failure.status == 500 and _NEVER_REACHED_A_LEADER in failure.body:
            return NotApplied("Consul's agent had no connection to a leader for the transaction")
        return OutcomeUnknown(f"Consul answered {failure.status} to the transaction")
    return OutcomeUnknown(f"the transaction's outcome is unknown: {failure}")
