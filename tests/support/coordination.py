"""Coordinators of several nodes over one service, with the storage that their fences guard."""

import uuid
from typing import Protocol

from haven.clock import BootClock
from haven.ha.consul import ConsulCoordinator
from haven.ha.coordinator import Coordinator
from haven.ha.memory import MemoryCoordinator, MemoryService
from haven.storage.base import Storage
from haven.storage.consul import ConsulStorage
from haven.storage.consul_transport import ConsulTransport
from haven.storage.memory import MemoryStorage
from haven.telemetry import Telemetry

PATIENT = 20.0
"""Seconds per call: a busy test machine is no fault of the servers."""
LASTING = 60.0
"""Seconds that a session lives without passes, where a test is not about its end."""


class Coordination(Protocol):
    """A lock that no other test uses."""

    @property
    def storage(self) -> Storage: ...

    def coordinator(self, number: int) -> Coordinator:
        """Return the coordinator of a node; node n prefers the n-th agent."""
        ...

    async def close(self) -> None: ...


class ConsulCoordination:
    """Over real servers."""

    def __init__(
        self, addresses: list[str], *, check_ttl: float = LASTING, deadline: float = PATIENT
    ) -> None:
        self._addresses = addresses
        self._check_ttl = check_ttl
        self._deadline = deadline
        self._prefix = f"{uuid.uuid4()}/"
        self._transports: list[ConsulTransport] = []
        self.storage = ConsulStorage(
            self._transport(0),
            Telemetry(),
            prefix=self._prefix,
            read_deadline=deadline,
            write_deadline=deadline,
        )

    def coordinator(self, number: int) -> ConsulCoordinator:
        return ConsulCoordinator(
            self._transport(number),
            Telemetry(),
            check_ttl=self._check_ttl,
            prefix=self._prefix,
            deadline=self._deadline,
            registration_deadline=PATIENT,
        )

    async def close(self) -> None:
        for transport in self._transports:
            await transport.close()

    def _transport(self, number: int) -> ConsulTransport:
        self._transports.append(ConsulTransport(self._addresses[number:] + self._addresses[:number]))
        return self._transports[-1]


class MemoryCoordination:
    """In memory, in real time."""

    def __init__(self, *, check_ttl: float = LASTING) -> None:
        service = MemoryService(BootClock(), check_ttl)
        self._service = service
        self.storage = MemoryStorage(holder=lambda lock_key: service.entry().session)

    def coordinator(self, number: int) -> MemoryCoordinator:
        agents = ["agent-1", "agent-2", "agent-3"]
        return MemoryCoordinator(self._service, agents[number:] + agents[:number])

    async def close(self) -> None:
        """Leave nothing open."""
