"""HAProxy as `haproxy/haproxy.cfg` sets it up: checks, a preference for the active node, and repeats."""

import asyncio
import random
from collections.abc import Sequence

from haven.api.ports import Role
from haven.ha.forwarding import RawRequest, RawResponse
from virtual.host import Exchange, Host
from virtual.loop import Loop
from virtual.network import Network

CHECK = 0.1
"""Seconds between two looks for the active node; the backends for reads and for writes look half as often."""
CHECK_PATIENCE = 0.5
WRITES_CHECK_PATIENCE, WRITES_FALL = 1.52, 2
"""Seconds until two checks of the backend for writes have had no answer; and how many must fail."""
READ_PATIENCE, LIST_PATIENCE = 1.5, 5.0
CONNECT_PATIENCE = 0.1
WRITE_PATIENCE = 120.0
READ_TRIES, WRITE_TRIES = 7, 4
NAME = "proxy"


class Entrance:
    """One HAProxy."""

    def __init__(self, loop: Loop, network: Network, hosts: Sequence[Host], chance: random.Random) -> None:
        self.loop, self.network, self.hosts, self.chance = loop, network, hosts, chance
        self.active = {host.name: False for host in hosts}
        self.up_for_reads = dict(self.active)
        self.failed_for_writes = {host.name: WRITES_FALL for host in hosts}
        self.heard = {host.name: 0.0 for host in hosts}
        self.writes: dict[str, set[Exchange]] = {host.name: set() for host in hosts}

    async def run(self) -> None:
        """Check each node for ever, for reads and for writes in turn."""
        for_reads = True
        while True:
            for host in self.hosts:
                role = self._check(host)
                silent = self.loop.now - self.heard[host.name] if role is None else 0.0
                if role is not None or silent > CHECK_PATIENCE:
                    self.active[host.name] = role is Role.ACTIVE
                    if for_reads:
                        self.up_for_reads[host.name] = _unsealed(role)
                if not for_reads and (role is not None or silent > WRITES_CHECK_PATIENCE):
                    self._note_for_writes(host.name, role)
            for_reads = not for_reads
            await asyncio.sleep(CHECK)

    def _check(self, host: Host) -> Role | None:
        """Return what a check finds, `SEALED` for nobody there; None while there is no answer."""
        now, name = self.loop.now, host.name
        linked = self.network.reaches(NAME, name) and self.network.reaches(name, NAME)
        process = host.process
        if not host.takes_connections() or process is None or host.node is None:
            return Role.SEALED
        if linked and now >= process.paused_until:
            host.check(NAME)
            self.heard[name] = now
            return process.context.run(host.node.status).role
        return None

    def _note_for_writes(self, name: str, role: Role | None) -> None:
        before = self.failed_for_writes[name]
        failed = before + 1 if role is not None else WRITES_FALL
        self.failed_for_writes[name] = 0 if _unsealed(role) else failed
        if before < WRITES_FALL <= self.failed_for_writes[name]:
            for exchange in list(self.writes[name]):
                if exchange.arrived and not exchange.result.done():
                    exchange.result.set_result("shut")

    async def send(self, raw: RawRequest) -> RawResponse | str:
        """Send a request, and again elsewhere where that is harmless; return the last result."""
        tries = READ_TRIES if raw.is_read else WRITE_TRIES
        result: RawResponse | str = "nobody"
        tried: list[str] = []
        for _ in range(tries):
            host = self._choose(tried, raw.is_read)
            tried.append(host.name)
            result = await self._once(host, raw)
            if isinstance(result, RawResponse):
                if result.status != 503:
                    return result
            elif not raw.is_read and result not in {"refused", "unconnected"}:
                return result
        return result

    def _choose(self, tried: Sequence[str], is_read: bool) -> Host:
        """Take the active node first; a request that is repeated goes to another one."""
        usable = [host for host in self.hosts if self._is_up(host.name, is_read)] or list(self.hosts)
        if not tried:
            return next((host for host in usable if self.active[host.name]), self.chance.choice(usable))
        others = [host for host in usable if host.name != tried[-1]] or usable
        return min(others, key=lambda host: tried.count(host.name))

    def _is_up(self, name: str, is_read: bool) -> bool:
        return self.up_for_reads[name] if is_read else self.failed_for_writes[name] < WRITES_FALL

    async def _once(self, host: Host, raw: RawRequest) -> RawResponse | str:
        if not self.network.reaches(NAME, host.name) or not self._has_kernel(host):
            await asyncio.sleep(CONNECT_PATIENCE)
            self._disappointed(host.name, raw.is_read)
            return "unconnected"
        exchange = host.request(NAME, raw)
        if not raw.is_read:
            self.writes[host.name].add(exchange)
        try:
            async with asyncio.timeout(_patience(raw)):
                result = await exchange.result
        except TimeoutError:
            result = "timeout"
        finally:
            self.writes[host.name].discard(exchange)
        if isinstance(result, str):
            if result in {"timeout", "shut"}:
                host.hang_up(exchange)
            elif result == "refused":
                self._disappointed(host.name, raw.is_read)
        return result

    def _disappointed(self, name: str, is_read: bool) -> None:
        """Take no connection for a failed check, in the backend for reads."""
        if is_read:
            self.up_for_reads[name] = False

    def _has_kernel(self, host: Host) -> bool:
        return host.running or self.network.answers_for_the_dead(host.name)


def _patience(raw: RawRequest) -> float:
    if not raw.is_read:
        return WRITE_PATIENCE
    return LIST_PATIENCE if raw.method == "LIST" else READ_PATIENCE


def _unsealed(role: Role | None) -> bool:
    return role is not None and role not in (Role.SEALED, Role.UNINITIALISED)
