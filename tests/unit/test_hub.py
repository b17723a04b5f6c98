import asyncio
import contextlib

import pytest
from link_world import (
    BRISK,
    CLOCK,
    KEY,
    Proxy,
    Told,
    echo,
    follower_of,
    get,
    holder_of,
    identity,
    record,
    until,
)

from haven.errors import NotActive, OutcomeUnknown
from haven.ha.connection import Connection, _hear, _say, open_as_dialler
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.frames import Frame, FrameError, Kind
from haven.ha.handshake import Dialler, HandshakeFailed
from haven.ha.link import Link
from haven.ha.notes import read_keys
from haven.ha.peers import LinkEnd


class Mute:
    """Owns a link and does nothing with it."""

    def received(self, link: Link, frame: Frame) -> None:
        pass

    def silence(self, link: Link, silent: bool) -> None:
        pass


async def test_closing_answers_what_is_in_flight_and_begins_nothing_more() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        waiting: asyncio.Future[RawResponse] = asyncio.get_running_loop().create_future()
        one.answer = lambda request: waiting
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get(method="PUT")))
        await until(lambda: len(one.asked) == 1)
        closing = asyncio.create_task(one.hub.close(30.0))
        await until(lambda: not two.responsive)
        with pytest.raises(NotActive):
            await two.forward(get(method="PUT"))
        assert not closing.done()
        waiting.set_result(RawResponse(204, {}, b""))
        assert (await task).status == 204
        await closing
        assert len(one.asked) == 1


async def test_followers_learn_which_keys_are_in_use() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        one.hub.tell_in_use((["before anybody came"], []))
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive and bool(one.hub.followers()))
        one.hub.tell_in_use((["core/mounts", "logical/é"], ["absent"]))
        await until(lambda: bool(told.in_use))
        assert told.in_use == [(["core/mounts", "logical/é"], ["absent"])]


async def test_keys_that_do_not_fit_a_frame_are_not_told_and_break_no_link() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive and bool(one.hub.followers()))
        one.hub.tell_in_use((["x" * 4000] * 24, []))
        one.hub.tell_in_use((["short"], []))
        await until(lambda: bool(told.in_use))
        assert told.in_use == [(["short"], [])]
        assert two.responsive


@pytest.mark.parametrize("payload", [b"", b"{}", b"[[]]", b"[[],[1]]", b"[1,2]", b'[["a"],[]'])
def test_keys_that_cannot_be_read_break_the_link(payload: bytes) -> None:
    with pytest.raises(FrameError):
        read_keys(payload)


async def test_request_that_crosses_the_goodbye_was_surely_not_executed() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        tasks = [asyncio.create_task(two.forward(get(method="PUT"))) for _ in range(20)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(one.hub.close(30.0))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await closing
        answered = [outcome for outcome in outcomes if isinstance(outcome, RawResponse)]
        assert len(answered) == len(one.asked)
        assert all(isinstance(outcome, RawResponse | NotActive) for outcome in outcomes)


async def test_follower_that_comes_during_the_goodbye_is_told_so() -> None:
    async with holder_of("one") as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.hub.port)
        await until(lambda: one.hub._connections == 1)
        closing = asyncio.create_task(one.hub.close(30.0))
        await asyncio.sleep(0)
        dialler = Dialler(KEY, identity("two"))
        await _say(writer, dialler.hello())
        peer, proof, keys = dialler.answer(await _hear(reader))
        await _say(writer, proof)
        link = Link(Connection(reader, writer, peer, keys), CLOCK, one.hub._timing, Mute())
        running = asyncio.create_task(link.run())
        await until(lambda: link.leaving)
        link.finish()
        await running
        await closing


async def test_closing_does_not_wait_for_ever() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        one.answer = lambda request: asyncio.get_running_loop().create_future()
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get(method="PUT")))
        await until(lambda: len(one.asked) == 1)
        await one.hub.close(0.05)
        with pytest.raises(OutcomeUnknown):
            await task


async def test_silent_means_that_all_followers_are_and_not_that_they_left() -> None:
    async with holder_of("one", timing=BRISK) as one, follower_of("two", timing=BRISK) as two:
        assert not one.hub.silent(CLOCK.now())
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.offer(record("two"))
        two.follow(record("one", proxy.port))
        await until(lambda: len(one.hub.candidates()) == 1)
        assert not one.hub.silent(CLOCK.now())
        proxy.stall()
        await until(lambda: one.hub.silent(CLOCK.now()))
        assert one.hub.candidates() == []
        async with follower_of("three", timing=BRISK) as three:
            three.follow(record("one", one.hub.port))
            await until(lambda: not one.hub.silent(CLOCK.now()))
        await until(lambda: one.hub.silent(CLOCK.now()))
        one.reset_links()
        await until(lambda: not one.hub.silent(CLOCK.now()))
        await proxy.stop()


async def test_closing_does_not_wait_for_a_silent_follower() -> None:
    async with holder_of("one", timing=BRISK) as one, follower_of("two", timing=BRISK) as two:
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        await one.met()
        proxy.stall()
        async with asyncio.timeout(30):
            await one.hub.close(300.0)
        await proxy.stop()


async def test_follower_that_the_kernel_gave_up_on_still_counts_as_silent_until_it_is_back() -> None:
    async with holder_of("one", timing=BRISK) as one, follower_of("two", timing=BRISK) as two:
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        await one.met()
        proxy.stall()
        await until(lambda: one.hub.silent(CLOCK.now()))
        for link in one.hub._links:
            link._reader.set_exception(TimeoutError())
        await until(lambda: not one.hub._links)
        assert one.hub.silent(CLOCK.now())
        proxy.go_on()
        await until(lambda: not one.hub.silent(CLOCK.now()))
        await until(lambda: two.responsive)
        await two.close()
        await until(lambda: not one.hub._links)
        assert not one.hub.silent(CLOCK.now())
        await proxy.stop()


async def test_resignation_does_not_wait_for_a_silent_follower() -> None:
    async with holder_of("one", timing=BRISK) as one, follower_of("two", timing=BRISK) as two:
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        proxy.stall()
        assert await one.hub.announce_resigned("run-one/0") == 0
        await proxy.stop()


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff" + b"x" * 70_000, b"\x00\x05nope!", b"\x00"]
)
async def test_stranger_is_hung_up_on_and_the_hub_goes_on(said: bytes) -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.hub.port)
        writer.write(said)
        writer.write_eof()
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        assert one.hub._links == {}
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)


async def test_stranger_that_says_nothing_is_hung_up_on_in_time() -> None:
    async with holder_of("one", timing=BRISK.__class__(handshake=0.05)) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.hub.port)
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()


async def test_node_with_another_key_is_no_follower() -> None:
    async with holder_of("one") as one:
        with pytest.raises(HandshakeFailed):
            await open_as_dialler("127.0.0.1", one.hub.port, Dialler(b"x" * 32, identity("two")), None)
        assert one.hub._links == {}


async def test_candidate_of_another_run_ends_the_link() -> None:
    async with holder_of("one") as one:
        connection = await open_as_dialler(
            "127.0.0.1", one.hub.port, Dialler(KEY, identity("two")), "run-one"
        )
        link = Link(connection, CLOCK, one.hub._timing, Mute())
        link.outbox.post(Frame(Kind.CANDIDATE, payload=record("three").to_bytes()))
        async with asyncio.timeout(30):
            assert await link.run() in {LinkEnd.EOF, LinkEnd.RESET}
        assert one.hub.candidates() == []


async def test_freshest_candidate_comes_first_and_each_run_once() -> None:
    async with holder_of("one") as one, follower_of("two") as two, follower_of("three") as three:
        for follower, name in ((two, "two"), (three, "three")):
            follower.offer(record(name))
            follower.follow(record("one", one.hub.port))
        await until(lambda: len(one.hub.candidates()) == 2)
        assert {found.node for found in one.hub.candidates()} == {"two", "three"}
        two.offer(record("two", session="fresh"))
        await until(lambda: record("two", session="fresh") in one.hub.candidates())


async def test_request_with_the_hub_full_was_surely_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haven.ha.hub.MOST_REQUESTS", 1)
    async with holder_of("one") as one, follower_of("two") as two:
        waiting: asyncio.Future[RawResponse] = asyncio.get_running_loop().create_future()
        one.answer = lambda request: waiting
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        first = asyncio.create_task(two.forward(get()))
        await until(lambda: len(one.asked) == 1)
        with pytest.raises(NotActive):
            await two.forward(get())
        waiting.set_result(RawResponse(200, {}, b""))
        await first
        one.answer = echo
        assert (await two.forward(get())).status == 200


async def test_follower_that_leaves_does_not_stop_its_request() -> None:
    async with holder_of("one") as one:
        finished: list[RawRequest] = []
        waiting: asyncio.Future[RawResponse] = asyncio.get_running_loop().create_future()

        async def run(request: RawRequest) -> RawResponse:
            answer = await waiting
            finished.append(request)
            return answer

        one.answer = lambda request: asyncio.ensure_future(run(request))
        async with follower_of("two") as two:
            two.follow(record("one", one.hub.port))
            await until(lambda: two.responsive)
            task = asyncio.create_task(two.forward(get(method="PUT")))
            await until(lambda: len(one.asked) == 1)
        with pytest.raises(OutcomeUnknown):
            await task
        await until(lambda: one.hub._links == {})
        waiting.set_result(RawResponse(204, {}, b""))
        await until(lambda: len(finished) == 1)
