"""Bodies that were cut off or are too large."""

import json
from collections.abc import Iterable
from typing import Any

import falcon.asgi
import pytest

from haven.server.guard import BodyGuard, BodyRefused


class Store:
    """A resource that remembers what it took for complete."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def on_put(self, req: Any, resp: Any) -> None:
        self.taken.append(await req.stream.read())
        resp.media = {}


async def serve(
    app: Any, events: Iterable[dict[str, Any]], headers: Iterable[tuple[bytes, bytes]] = ()
) -> list[dict[str, Any]]:
    """Run one request; return the messages that were sent."""
    left, sent = list(events), []

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "path": "/store",
        "query_string": b"",
        "headers": list(headers),
        "server": ("h", 80),
        "client": ("c", 1),
    }
    await app(scope, receive, send)
    return sent


def chunk(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def guarded(store: Store) -> BodyGuard:
    app = falcon.asgi.App()
    app.add_route("/store", store)

    async def hide(req: Any, resp: Any, error: Exception, params: Any) -> None:
        resp.status = 500

    app.add_error_handler(Exception, hide)
    return BodyGuard(app, 10)


def status(sent: list[dict[str, Any]]) -> int:
    return int(sent[0]["status"])


async def test_a_whole_body_passes(guarded: BodyGuard, store: Store) -> None:
    sent = await serve(guarded, [chunk(b"12345"), chunk(b"67890", more=False)])
    assert status(sent) == 200
    assert store.taken == [b"1234567890"]


async def test_a_body_cut_off_is_400_and_never_taken(guarded: BodyGuard, store: Store) -> None:
    sent = await serve(guarded, [chunk(b"123")], [(b"content-length", b"9")])
    assert status(sent) == 400
    assert json.loads(sent[1]["body"]) == {"errors": ["request body was cut off"]}
    assert store.taken == []


async def test_a_declared_length_over_the_limit_is_413_at_once(guarded: BodyGuard, store: Store) -> None:
    sent = await serve(guarded, [chunk(b"1" * 11, more=False)], [(b"content-length", b"11")])
    assert status(sent) == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert store.taken == []


async def test_chunks_are_counted(guarded: BodyGuard, store: Store) -> None:
    sent = await serve(guarded, [chunk(b"123456"), chunk(b"78901"), chunk(b"", more=False)])
    assert status(sent) == 413
    assert store.taken == []


async def test_a_client_gone_before_its_body_is_not_served(guarded: BodyGuard, store: Store) -> None:
    sent = await serve(guarded, [])
    assert status(sent) == 400
    assert store.taken == []


async def test_an_answer_that_has_begun_is_not_replaced() -> None:
    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await receive()
        finally:
            await send({"type": "http.response.body", "body": b"partial"})

    with pytest.raises(BodyRefused):
        await serve(BodyGuard(streams, 10), [])


async def test_other_scopes_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope, receive, send))

    scope, receive, send = {"type": "lifespan"}, object(), object()
    await BodyGuard(app, 10)(scope, receive, send)  # type: ignore[arg-type]
    assert seen == [scope, receive, send]
