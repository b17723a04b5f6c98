"""Storage in Consul's key-value store.

Promised: reads are linearizable (`consistent`); a commit is one transaction, sent once, that begins with
the fence. Not promised: that a commit of unknown outcome is settled when `OutcomeUnknown` is raised; it may
be applied seconds later, until the lock has moved to another session.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from haven.errors import Unavailable, ValueTooLarge
from haven.storage.base import Fence, Limits, Operation
from haven.storage.consul_meter import ConsulMeter
from haven.storage.consul_transaction import transact
from haven.storage.consul_transport import ConsulTransport
from haven.storage.kv_operations import (
    MAX_BODY_BYTES,
    MAX_OPERATIONS,
    TxnOperation,
    absent_operations,
    body_of,
    check_session,
    data_operation,
    kv_operation,
    values_of,
)
from haven.storage.limits import can_exist, check_commit
from haven.telemetry import Telemetry

DATA_BYTES = 370_000
"""Bytes of values that fit one transaction: base64 makes them 493,336, the rest is for keys and verbs."""


class ConsulStorage:
    """Implements `haven.storage.base.Storage` below a key prefix that ends in a slash."""

    limits = Limits(operations=MAX_OPERATIONS - 1, value_bytes=DATA_BYTES, commit_bytes=DATA_BYTES)

    def __init__(
        self,
        transport: ConsulTransport,
        telemetry: Telemetry,
        *,
        prefix: str = "haven/",
        read_deadline: float = 1.0,
        write_deadline: float = 0.4,
        in_flight: int = 32,
    ) -> None:
        """Deadlines are in seconds, for a read over all addresses and for a write to its one address.

        `in_flight` bounds the calls at one time; a read may use a connection to each address.
        """
        self._transport = transport
        self._meter = ConsulMeter(telemetry)
        self._prefix = prefix
        self._read_deadline = read_deadline
        self._write_deadline = write_deadline
        self._slots = asyncio.Semaphore(in_flight)

    async def get(self, key: str) -> bytes | None:
        """Return the value, linearizably, or None; raises `Unavailable`."""
        if not can_exist(key):
            return None
        async with self._slots:
            with self._meter.call("get"):
                _, entry = await self._transport.read(
                    lambda api: api.kv.get(self._prefix + key, consistency="consistent"), self._read_deadline
                )
        # Consul gives an empty value as null.
        return None if entry is None else bytes(entry["Value"] or b"")

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the value of each key, linearizably, in one call for 64 keys; raises `Unavailable`."""
        known = [key for key in keys if can_exist(key)]
        parts = [known[first : first + MAX_OPERATIONS] for first in range(0, len(known), MAX_OPERATIONS)]
        found: dict[str, bytes | None] = dict.fromkeys(keys)
        for values in await asyncio.gather(*map(self._get_at_once, parts)):
            found.update(values)
        return found

    async def _get_at_once(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Read keys in one transaction; in a second one if some do not exist, for which Consul refuses it."""
        left = list(keys)
        while left:
            answer = await self._answer([kv_operation("get", self._prefix + key) for key in left])
            try:
                absent = absent_operations(answer)
                if not absent:
                    return dict(zip(left, values_of(answer), strict=True))
                absent_keys = {left[number] for number in absent}
            except (LookupError, TypeError, ValueError) as error:
                raise Unavailable("the answer to a transaction of reads is not Consul's") from error
            left = [key for key in left if key not in absent_keys]
        return {}

    async def _answer(self, operations: Sequence[TxnOperation]) -> Any:
        """Send a transaction of reads; raises `Unavailable`."""
        body = body_of(operations)
        async with self._slots:
            with self._meter.call("get-many"):
                return await self._transport.read(lambda api: api.read(body), self._read_deadline)

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix`, sorted, folders with a slash; raises `Unavailable`."""
        if prefix and not can_exist(prefix):
            return []
        folder = self._prefix + prefix
        async with self._slots:
            with self._meter.call("list"):
                _, keys = await self._transport.read(
                    lambda api: api.kv.get(folder, keys=True, separator="/", consistency="consistent"),
                    self._read_deadline,
                )
        return sorted(name for key in keys or () if (name := key.removeprefix(folder)))

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        """Apply all operations or none, under the fence; see `haven.storage.base.Storage`."""
        check_commit(operations, self.limits)
        if not operations:
            return
        transaction = [data_operation(self._prefix, operation) for operation in operations]
        if fence is not None:
            transaction.insert(0, check_session(self._prefix + fence.lock_key, fence.session))
        body = body_of(transaction)
        if len(body) > MAX_BODY_BYTES:
            raise ValueTooLarge(DATA_BYTES)
        async with self._slots:
            with self._meter.call("commit"):
                await transact(self._transport, body, self._write_deadline, fenced=fence is not None)

    async def close(self) -> None:
        """Close the transport, which this storage may share with the coordinator of the same node."""
        await self._transport.close()
