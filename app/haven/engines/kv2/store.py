"""Where KV version 2 keeps what, and the lock per key that its writes take."""

from collections.abc import Sequence

from haven.core.codec import decode_value, encode_value
from haven.core.locks import KeyLocks
from haven.core.logical import COMMIT_OPERATIONS, View
from haven.engines.kv2.model import Config, Metadata
from haven.storage.base import Delete, Operation, Put

READINGS = 3
"""How often a read starts again whose version was removed under its hands."""


class Store:
    """The storage of one mount, of which one object lives at a time: its locks are the mount's."""

    def __init__(self) -> None:
        self.locks = KeyLocks()

    async def config(self, view: View) -> Config:
        """Return the mount's settings."""
        return Config.decode(await view.get("config"))

    async def save_config(self, view: View, config: Config) -> None:
        """Write the mount's settings."""
        await view.commit([Put("config", config.encode())])

    async def metadata(self, view: View, key: str) -> Metadata | None:
        """Return a key's metadata, None if there is no such key."""
        raw = await view.get(f"metadata/{key}") if key else None
        return None if raw is None else Metadata.decode(raw)

    async def value(self, view: View, key: str, number: int) -> dict[str, object] | None:
        """Return the value of one version, None if it was removed."""
        raw = await view.get(_value_key(key, number))
        value: dict[str, object] | None = None if raw is None else decode_value(raw)
        return value

    async def save(
        self,
        view: View,
        key: str,
        metadata: Metadata,
        value: object = None,
        dropped: Sequence[int] = (),
    ) -> None:
        """Write the metadata, the value of its current version if given, and remove versions: one commit."""
        operations: list[Operation] = [Put(f"metadata/{key}", metadata.encode())]
        if value is not None:
            operations.append(Put(_value_key(key, metadata.current), encode_value(value)))
        operations.extend(Delete(_value_key(key, number)) for number in dropped)
        await view.commit(operations)

    async def erase(self, view: View, key: str) -> None:
        """Remove the key and all of its versions; the last commit removes the key itself."""
        metadata = await self.metadata(view, key)
        if metadata is None:
            return
        numbers = sorted(metadata.versions)
        room = COMMIT_OPERATIONS - 1
        while len(numbers) > room:
            removed, numbers = numbers[:room], numbers[room:]
            for number in removed:
                metadata = metadata.without_version(number)
            await self.save(view, key, metadata, dropped=removed)
        operations: list[Operation] = [Delete(_value_key(key, number)) for number in numbers]
        await view.commit([*operations, Delete(f"metadata/{key}")])


def _value_key(key: str, number: int) -> str:
    # The number comes first: after the key it would collide with a key below it.
    return f"data/{number}/{key}"
