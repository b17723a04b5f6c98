import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import generate_latest

from haven.api.settings import ApiSettings
from support.fake_node import Answer, FakeNode, Site, failing

SMALL = ApiSettings(max_body=100)
GONE = {"type": "http.disconnect"}


def part(body: bytes, more: bool = True) -> Mapping[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def put(
    site: Site, chunks: list[Mapping[str, Any]], headers: list[tuple[bytes, bytes]] | None = None
) -> Answer:
    return await site.exchange("PUT", "/v1/secret/a", headers or [], chunks)


async def test_a_body_in_pieces_is_put_together() -> None:
    node = FakeNode()
    answer = await put(Site(node), [part(b'{"a"'), part(b""), part(b":1}", more=False)])
    assert (answer.status, node.requests[0].data) == (200, {"a": 1})


@pytest.mark.parametrize("chunks", [[GONE], [part(b"{}"), GONE], [part(b'{"a":1}'), part(b""), GONE]])
async def test_a_body_that_was_cut_off_is_never_executed(chunks: list[Mapping[str, Any]]) -> None:
    node = FakeNode()
    answer = await put(Site(node), chunks)
    assert (answer.status, answer.json) == (400, {"errors": ["request body was cut off"]})
    assert (node.requests, node.forwards) == ([], [])


@pytest.mark.parametrize("length", [b"3", b"10"])
async def test_a_body_of_another_length_than_declared_is_never_executed(length: bytes) -> None:
    node = FakeNode()
    answer = await put(Site(node), [part(b"{}", more=False)], [(b"content-length", length)])
    assert (answer.status, node.requests) == (400, [])


@pytest.mark.parametrize("length", [b"", b"-1", b"1.5", b"x", b"9" * 40, b"\xb2"])
async def test_a_length_that_is_none(length: bytes) -> None:
    answer = await put(Site(), [part(b"{}", more=False)], [(b"content-length", length)])
    assert answer.status == 400


async def test_two_lengths() -> None:
    lengths = [(b"content-length", b"2"), (b"Content-Length", b"2")]
    assert (await put(Site(), [part(b"{}", more=False)], lengths)).status == 400


async def test_an_oversized_body_is_refused_before_it_is_read() -> None:
    answer = await put(Site(settings=SMALL), [], [(b"content-length", b"101")])
    assert answer.status == 413
    assert answer.json == {"errors": ["request body exceeds the limit of 100 bytes"]}
    assert answer.headers["connection"] == "close"


async def test_an_oversized_body_in_pieces_is_refused_while_it_is_counted() -> None:
    node = FakeNode()
    answer = await put(Site(node, SMALL), [part(b" " * 60), part(b" " * 41)])
    assert (answer.status, node.requests) == (413, [])


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    answer = await put(Site(settings=SMALL), [part(b"{" + b" " * 98 + b"}", more=False)])
    assert answer.status == 200


async def test_a_body_that_drips_ends_at_the_deadline() -> None:
    node = FakeNode()
    site = Site(node, ApiSettings(body_seconds=0.02))
    answer = await asyncio.wait_for(put(site, [part(b"{")]), 60)
    assert (answer.status, answer.headers["connection"], node.requests) == (408, "close", [])


async def test_refusals_of_head_have_no_body() -> None:
    answer = await Site().exchange("HEAD", "/v1/secret/%ff", [], [part(b"", more=False)])
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize(
    ("method", "target", "labels"),
    [
        ("GET", "/v1/secret/a", 'method="GET",status="2xx"'),
        ("GET", "/v1/secret/%ff", 'method="GET",status="4xx"'),
        ("GET", "/v1//a", 'method="GET",status="3xx"'),
        ("BREW", "/v1/secret/a", 'method="other",status="4xx"'),
        ("LIST", "/v1/secret/fail", 'method="LIST",status="5xx"'),
    ],
)
async def test_each_request_is_counted_once(method: str, target: str, labels: str) -> None:
    node = FakeNode()
    if target.endswith("fail"):
        node.handler = failing(KeyError("x"))
    site = Site(node)
    await site.call(method, target)
    text = generate_latest(site.telemetry.registry).decode()
    assert f"haven_http_request_duration_seconds_count{{{labels}}} 1.0" in text
    assert "secret/a" not in text


async def test_lifespan_goes_through() -> None:
    sent: list[str] = []
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Mapping[str, Any]:
        return events.pop(0)

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event["type"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    await Site().app(scope, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("field", ["max_body", "body_seconds"])
@pytest.mark.parametrize("value", [0, -1])
def test_settings_that_make_no_sense(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        ApiSettings(**{field: value})
