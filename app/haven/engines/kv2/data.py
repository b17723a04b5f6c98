"""`data/` and `subkeys/`: read, write, patch and delete the values of a key."""

from typing import Any

from haven.clock import Clock
from haven.core import fields
from haven.core.logical import Request, Response, Verb, View
from haven.core.refusals import unsupported_operation
from haven.engines.kv2.model import Config, Metadata, merge_patch, without_values
from haven.engines.kv2.store import READINGS, Store
from haven.errors import RequestError, not_found


class Data:
    """Answer requests for values."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def handle(self, key: str, request: Request, view: View) -> Response | None:
        """Answer a request below `data/`."""
        if request.verb is Verb.READ:
            return await self._read(key, request, view, "data")
        if request.verb is Verb.UPDATE:
            return await self._write(key, request, view)
        if request.verb is Verb.PATCH:
            return await self._patch(key, request, view)
        if request.verb is Verb.DELETE:
            await self._delete(key, view)
            return None
        raise unsupported_operation()

    async def subkeys(self, key: str, request: Request, view: View) -> Response:
        """Answer a request below `subkeys/`: the keys of a value with null in place of all else."""
        if request.verb is not Verb.READ:
            raise unsupported_operation()
        depth = fields.integer(request.query, "depth") or 0
        response = await self._read(key, request, view, "subkeys")
        data = dict(response.data or {})
        if data["subkeys"] is not None:
            data["subkeys"] = without_values(data["subkeys"], depth)
        return Response(data=data, status=response.status)

    async def _read(self, key: str, request: Request, view: View, name: str) -> Response:
        asked = fields.integer(request.query, "version") or 0
        # No lock: a read must not wait for a write that waits for authority. A version whose
        # value has just been removed has left the metadata in the same commit: look again.
        for _ in range(READINGS):
            metadata = await self._store.metadata(view, key)
            number = asked if asked > 0 else metadata.current if metadata else 0
            if metadata is None or number not in metadata.versions:
                raise not_found()
            described = metadata.describe_version(number)
            if metadata.versions[number].is_gone(self._clock.wall()):
                return Response(data={name: None, "metadata": described}, status=404)
            value = await self._store.value(view, key, number)
            if value is not None:
                return Response(data={name: value, "metadata": described})
        raise RequestError(500, "could not find version data")

    async def _write(self, key: str, request: Request, view: View) -> Response:
        if not key:
            raise RequestError(400, "missing path")
        value = _required_data(request)
        async with self._store.locks.hold(key):
            config = await self._store.config(view)
            metadata = await self._store.metadata(view, key)
            now = self._clock.wall()
            known = metadata or Metadata(created=now, updated=now)
            _check_and_set(request, config, known)
            return await self._add(key, view, config, known, value)

    async def _patch(self, key: str, request: Request, view: View) -> Response:
        patch = _required_data(request)
        async with self._store.locks.hold(key):
            metadata = await self._store.metadata(view, key)
            if metadata is None:
                raise not_found()
            config = await self._store.config(view)
            _check_and_set(request, config, metadata)
            number = metadata.current
            if number not in metadata.versions:
                raise not_found()
            if metadata.versions[number].is_gone(self._clock.wall()):
                return Response(data=metadata.describe_version(number), status=404)
            value = await self._store.value(view, key, number)
            if value is None:
                raise RequestError(500, "could not find version data")
            return await self._add(key, view, config, metadata, merge_patch(value, patch))

    async def _add(self, key: str, view: View, config: Config, metadata: Metadata, value: Any) -> Response:
        """Store a new version and answer with what is known of it; the key's lock is held."""
        added, dropped = metadata.added(config, self._clock.wall())
        await self._store.save(view, key, added, value, dropped)
        return Response(data=added.describe_version(added.current))

    async def _delete(self, key: str, view: View) -> None:
        async with self._store.locks.hold(key):
            metadata = await self._store.metadata(view, key)
            if metadata is None or metadata.current not in metadata.versions:
                return
            now = self._clock.wall()
            if metadata.versions[metadata.current].is_gone(now):
                return
            await self._store.save(view, key, metadata.deleted([metadata.current], now))


def _required_data(request: Request) -> dict[str, Any]:
    data = fields.mapping(request.data, "data")
    if data is None:
        raise RequestError(400, "no data provided")
    return data


def _check_and_set(request: Request, config: Config, metadata: Metadata) -> None:
    options = fields.mapping(request.data, "options") or {}
    if "cas" not in options:
        if config.cas_required or metadata.cas_required:
            raise RequestError(400, "check-and-set parameter required for this call")
        return
    try:
        expected = fields.as_integer(0 if options["cas"] is None else options["cas"])
    except ValueError:
        raise RequestError(400, "error parsing check-and-set parameter") from None
    if expected != metadata.current:
        raise RequestError(400, "check-and-set parameter did not match the current version")
