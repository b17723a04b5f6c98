"""`delete/`, `undelete/` and `destroy/`: change the state of chosen versions."""

from collections.abc import Iterator, Sequence

from haven.clock import Clock
from haven.core import fields
from haven.core.logical import COMMIT_OPERATIONS, Request, Response, Verb, View
from haven.core.refusals import unsupported_operation
from haven.engines.kv2.store import Store
from haven.errors import RequestError


class Versions:
    """Answer requests that name versions; those that do not exist are passed over."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def delete(self, key: str, request: Request, view: View) -> Response | None:
        """Mark versions as deleted; their values stay."""
        numbers = _numbers(request, "No version number provided")
        async with self._store.locks.hold(key):
            if (metadata := await self._store.metadata(view, key)) is not None:
                await self._store.save(view, key, metadata.deleted(numbers, self._clock.wall()))
        return None

    async def undelete(self, key: str, request: Request, view: View) -> Response | None:
        """Bring deleted versions back; a configured `delete_version_after` starts again."""
        numbers = _numbers(request, "No version number provided")
        async with self._store.locks.hold(key):
            if (metadata := await self._store.metadata(view, key)) is not None:
                config = await self._store.config(view)
                await self._store.save(view, key, metadata.undeleted(numbers, config, self._clock.wall()))
        return None

    async def destroy(self, key: str, request: Request, view: View) -> Response | None:
        """Remove the values of versions for good."""
        numbers = sorted(set(_numbers(request, "no version number provided")))
        async with self._store.locks.hold(key):
            if (metadata := await self._store.metadata(view, key)) is None:
                return None
            present = [number for number in numbers if number in metadata.versions]
            for part in _parts(present, COMMIT_OPERATIONS - 1):
                metadata = metadata.with_destroyed(part)
                await self._store.save(view, key, metadata, dropped=part)
        return None


def _numbers(request: Request, refusal: str) -> list[int]:
    if request.verb is not Verb.UPDATE:
        raise unsupported_operation()
    numbers = fields.integers(request.data, "versions")
    if not numbers:
        raise RequestError(400, refusal)
    return numbers


def _parts(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
