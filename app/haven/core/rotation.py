"""`sys/rotate`, `sys/rotate/config` and `sys/key-status`: new key terms, on the active node only."""

import logging
from collections.abc import Mapping
from typing import Any

from haven.barrier.barrier import Barrier, KeyChange, Store
from haven.barrier.keyring import MAX_OPERATIONS, MIN_INTERVAL, MIN_OPERATIONS, Keyring, RotationConfig
from haven.clock import Clock
from haven.core import fields, layout
from haven.core.times import go_duration, rfc3339
from haven.errors import RequestError
from haven.storage.base import Delete, Operation, Put

log = logging.getLogger("haven.core.rotation")

UPGRADE_GRACE = 120
"""Seconds for which the way to a new term stays published, as in Vault: longer only weakens a rotation."""


class Rotation:
    """Rotates the barrier's key under one term of authority: `store` writes with that term's fence."""

    def __init__(self, barrier: Barrier, clock: Clock, store: Store) -> None:
        self._barrier = barrier
        self._clock = clock
        self._store = store

    async def rotate(self) -> None:
        """Encrypt with a new key from now on; old keys stay to decrypt."""
        now = self._clock.wall()

        def alter(keyring: Keyring) -> KeyChange:
            rotated = keyring.rotated(now)
            path = layout.upgrade(keyring.active.term)
            return KeyChange(rotated, [Put(path, rotated.upgrade())])

        await self._barrier.change(self._store, alter)
        log.info("key rotated term=%d", self._barrier.keyring.active.term)

    def key_status(self) -> dict[str, Any]:
        """Return the body of `sys/key-status`."""
        active = self._barrier.keyring.active
        return {
            "term": active.term,
            "install_time": rfc3339(active.installed),
            "encryptions": self._barrier.encryptions,
        }

    def config(self) -> dict[str, Any]:
        """Return the body of `sys/rotate/config`."""
        config = self._barrier.keyring.rotation
        return {
            "max_operations": config.max_operations,
            "enabled": not config.disabled,
            "interval": go_duration(config.interval) if config.interval else 0,
        }

    async def configure(self, body: Mapping[str, Any]) -> None:
        """Change what the body names; raises `RequestError` for what Vault refuses."""
        await self._barrier.change(
            self._store, lambda keyring: KeyChange(keyring.with_rotation(_changed(keyring.rotation, body)))
        )

    async def maintain(self) -> None:
        """Do what is due: rotate, or store the count of encryptions; remove old upgrades.

        To be called every few minutes while active; a crash loses the count since the last call.
        """
        reason = self._due()
        if reason:
            log.info("rotation is due reason=%s", reason)
            await self.rotate()
        elif self._barrier.uncounted:
            await self._barrier.change(self._store, KeyChange)
        await self._remove_upgrades()

    def _due(self) -> str:
        keyring = self._barrier.keyring
        config, age = keyring.rotation, self._clock.wall() - keyring.active.installed
        if config.disabled:
            return ""
        if self._barrier.encryptions >= config.max_operations:
            return "operations"
        return "interval" if config.interval and age >= config.interval else ""

    async def _remove_upgrades(self) -> None:
        """Remove the way to terms that every standby has had time to follow."""
        limit = self._clock.wall() - UPGRADE_GRACE
        keys = self._barrier.keyring.keys
        terms = [int(name) for name in await self._store.list(layout.UPGRADES) if name.isdecimal()]
        old: list[Operation] = [
            Delete(layout.upgrade(term))
            for term in terms
            if term + 1 in keys and keys[term + 1].installed <= limit
        ]
        if old:
            await self._store.commit(old)


def _changed(config: RotationConfig, body: Mapping[str, Any]) -> RotationConfig:
    operations = fields.integer(body, "max_operations")
    interval = fields.duration(body, "interval")
    enabled = fields.boolean(body, "enabled")
    operations = config.max_operations if operations is None else operations
    interval = config.interval if interval is None else interval
    disabled = config.disabled if enabled is None else not enabled
    if 0 != interval < MIN_INTERVAL:
        raise RequestError(400, f"interval must be greater or equal to {go_duration(MIN_INTERVAL)}")
    if not MIN_OPERATIONS <= operations <= MAX_OPERATIONS:
        raise RequestError(400, f"max_operations must be in the range [{MIN_OPERATIONS},{MAX_OPERATIONS}]")
    return RotationConfig(disabled, operations, interval)
