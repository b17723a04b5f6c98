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
CHECK_PATIENCE = 0.5
READ_PATIENCE = 1.8
CONNECT_PATIENCE = 0.1
WRITE_PATIENCE = 120.0
READ_TRIES, WRITE_TRIES = 6, 4
NAME = "proxy"


class Entrance:
    """One HAProxy."""

    def __init__(self, loop: Loop, network: Network, hosts: Sequence[Host], chance: random.Random) -> None:
        self.loop, self.network, self.hosts, self.chance = loop, network, hosts, chance
        self.up = {host.name: False for host in hosts}
        self.active = {host.name: False for host in hosts}
        self.heard = {host.name: 0.0 for host in hosts}
        self.writes: dict[str, set[Exchange]] = {host.name: set() for host in hosts}

    async def run(self) -> None:
        """Check each node for ever."""
        while True:
            for host in self.hosts:
                self._check(host)
            await asyncio.sleep(CHECK)

    def _check(self, host: Host) -> None:
        now, name = self.loop.now, host.name
        linked = self.network.reaches(NAME, name) and self.network.reaches(name, NAME)
        process = host.process
        if not host.takes_connections() or process is None or host.node is None:
            self._mark(name, False, False)
        elif linked and now >= process.paused_until:
            host.check(NAME)
            self.heard[name] = now
            role = process.context.run(host.node.status).role
            self._mark(name, role not in (Role.SEALED, Role.UNINITIALISED), role is Role.ACTIVE)
        elif now - self.heard[name] > CHECK_PATIENCE:
            self._mark(name, False, False)

    def _mark(self, name: str, up: bool, active: bool) -> None:
        if self.up[name] and not up:
            for exchange in list(self.writes[name]):
                if exchange.arrived and not exchange.result.done():
                    exchange.result.set_result("shut")
        self.up[name], self.active[name] = up, active

    async def send(self, raw: RawRequest) -> RawResponse | str:
        """Send a request, and again elsewhere where that is harmless; return the last result."""
        tries = READ_TRIES if raw.is_read else WRITE_TRIES
        result: RawResponse | str = "nobody"
        tried: list[str] = []
        for _ in range(tries):
            host = self._choose(tried)
            tried.append(host.name)
            result = await self._once(host, raw)
            if isinstance(result, RawResponse):
                if result.status != 503:
                    return result
            elif not raw.is_read and result not in {"refused", "unconnected"}:
                return result
        return result

    def _choose(self, tried: Sequence[str]) -> Host:
        """Take the active node first; a request that is repeated goes to another one."""
        usable = [host for host in self.hosts if self.up[host.name]] or list(self.hosts)
        if not tried:
            return next((host for host in usable if self.active[host.name]), self.chance.choice(usable))
        others = [host for host in usable if host.name != tried[-1]] or usable
        return min(others, key=lambda host: tried.count(host.name))

    async def _once(self, host: Host, raw: RawRequest) -> RawResponse | str:
        if not self.network.reaches(NAME, host.name) or not self._has_kernel(host):
            await asyncio.sleep(CONNECT_PATIENCE)
            self._mark(host.name, False, False)
            return "unconnected"
        exchange = host.request(NAME, raw)
        if not raw.is_read:
            self.writes[host.name].add(exchange)
        try:
            async with asyncio.timeout(READ_PATIENCE if raw.is_read else WRITE_PATIENCE):
                result = await exchange.result
        except TimeoutError:
            result = "timeout"
        finally:
            self.writes[host.name].discard(exchange)
        if isinstance(result, str):
            if result in {"timeout", "shut"}:
                host.hang_up(exchange)
            elif result == "refused":
                self._mark(host.name, False, False)
        return result

    def _has_kernel(self, host: Host) -> bool:
        return host.running or self.network.answers_for_the_dead(host.name)
