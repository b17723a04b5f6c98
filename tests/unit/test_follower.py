import asyncio
from dataclasses import replace

import pytest
from link_world import BRISK, PATIENT, Proxy, Told, echo, follower_of, get, holder_of, record, until

from haven.errors import NotActive, OutcomeUnknown, RequestError
from haven.ha.forwarding import RawRequest, RawResponse


def later(request: RawRequest) -> "asyncio.Future[RawResponse]":
    return asyncio.get_running_loop().create_future()


async def test_request_goes_to_the_holder_and_its_answer_comes_back() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        request = get("/v1/secret/x?list=true", "PUT", b"body")
        assert await two.forward(request) == RawResponse(200, {"x-target": request.target}, b"body")
        assert one.asked == [request]


async def test_run_that_speaks_is_heard_until_its_link_ends_even_when_it_holds_no_lock() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        assert two.heard() == frozenset()
        two.follow(record("one", one.hub.port))
        await until(lambda: two.heard() == {"run-one"})
        two.follow(None)
        assert not two.responsive
        assert two.heard() == {"run-one"}
        await one.kill()
        await until(lambda: two.heard() == frozenset())


async def test_many_requests_are_in_flight_at_once_and_answered_in_any_order() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        waiting: dict[str, asyncio.Future[RawResponse]] = {}

        def hold(request: RawRequest) -> "asyncio.Future[RawResponse]":
            return waiting.setdefault(request.target, later(request))

        one.answer = hold
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        tasks = [asyncio.create_task(two.forward(get(str(number)))) for number in range(50)]
        await until(lambda: len(waiting) == 50)
        for target in reversed(waiting):
            waiting[target].set_result(RawResponse(200, {}, target.encode()))
        assert [(await task).body for task in tasks] == [str(number).encode() for number in range(50)]


async def test_big_bodies_go_both_ways_while_small_requests_overtake_them() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        body = bytes(range(256)) * (8 * 4096)
        big = asyncio.create_task(two.forward(get(method="PUT", body=body)))
        await asyncio.sleep(0)
        small = asyncio.create_task(two.forward(get()))
        done, _ = await asyncio.wait({big, small}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {small}
        assert (await big).body == body


async def test_request_is_not_active_without_a_link_and_when_the_holder_says_so() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        with pytest.raises(NotActive):
            await two.forward(get())
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)

        def refuse(request: RawRequest) -> RawResponse:
            raise NotActive

        one.answer = refuse
        with pytest.raises(NotActive):
            await two.forward(get())


@pytest.mark.parametrize("error", [OutcomeUnknown("x"), RuntimeError("secret")])
async def test_failure_at_the_holder_is_an_unknown_outcome(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)

        def fail(request: RawRequest) -> RawResponse:
            raise error

        one.answer = fail
        with pytest.raises(OutcomeUnknown):
            await two.forward(get())
        one.answer = echo
        assert (await two.forward(get())).status == 200
    assert "secret" not in caplog.text


async def test_request_too_large_for_the_link_is_refused_and_the_link_goes_on() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        with pytest.raises(RequestError) as refused:
            await two.forward(RawRequest("GET", "/" + "x" * 70_000, {}, b""))
        assert refused.value.status == 413
        assert (await two.forward(get())).status == 200


async def test_answer_too_large_for_the_link_is_an_unknown_outcome() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        one.answer = lambda request: RawResponse(200, {"x": "x" * 70_000}, b"")
        with pytest.raises(OutcomeUnknown):
            await two.forward(get())


async def test_request_in_flight_when_the_link_ends_has_an_unknown_outcome() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        one.answer = later
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get(method="PUT")))
        await until(lambda: len(one.asked) == 1)
        one.reset_links()
        with pytest.raises(OutcomeUnknown):
            await task


async def test_request_that_a_holder_which_speaks_never_answers_does_not_wait_for_ever() -> None:
    hasty = replace(PATIENT, answer=0.2)
    async with holder_of("one") as one, follower_of("two", timing=hasty) as two:
        one.answer = later
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        for method in ("PUT", "GET"):  # the gate asks a read again, and tells of a write that nobody knows
            async with asyncio.timeout(30.0):
                with pytest.raises(OutcomeUnknown):
                    await two.forward(get(method=method))
        assert two.responsive
        one.answer = echo
        assert (await two.forward(get())).status == 200


async def test_request_that_was_not_sent_whole_when_the_link_ends_was_surely_not_executed() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        await one.met()
        proxy.stall()
        task = asyncio.create_task(two.forward(get(method="PUT", body=bytes(30_000_000))))
        (link,) = two._open
        await until(lambda: bool(link.outbox._messages))
        one.reset_links()
        await proxy.stop()
        with pytest.raises(NotActive):
            await task
        assert one.asked == []


async def test_request_in_flight_on_a_holder_that_falls_silent_fails_and_is_no_death() -> None:
    told = Told()
    async with holder_of("one", timing=BRISK) as one, follower_of("two", told, BRISK) as two:
        one.answer = later
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get(method="PUT")))
        await until(lambda: len(one.asked) == 1)
        changes = told.changes
        proxy.stall()
        with pytest.raises(OutcomeUnknown):
            await task
        assert not two.responsive
        with pytest.raises(NotActive):
            await two.forward(get())
        proxy.go_on()
        one.answer = echo
        await until(lambda: two.responsive)
        assert (await two.forward(get())).status == 200
        assert told.deaths == []
        assert told.changes > changes
        await proxy.stop()


async def test_silent_link_is_replaced_by_one_that_works() -> None:
    told = Told()
    async with holder_of("one", timing=BRISK) as one, follower_of("two", told, BRISK) as two:
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        before = set(two._open)
        proxy.stall_present()
        await until(lambda: two.responsive and len(two._open) == 1 and not before & set(two._open))
        assert (await two.forward(get())).status == 200
        assert told.deaths == []
        await proxy.stop()


async def test_request_given_up_halfway_leaves_nothing_at_the_holder() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        proxy = Proxy(one.hub.port)
        await proxy.start()
        two.follow(record("one", proxy.port))
        await until(lambda: two.responsive)
        await one.met()
        (follower,) = one.hub._links.values()
        task = asyncio.create_task(two.forward(get(method="PUT", body=bytes(30_000_000))))
        await until(lambda: bool(follower.assembler._partial))
        proxy.stall()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.go_on()
        assert (await two.forward(get())).status == 200
        assert follower.assembler._partial == {}
        assert len(one.asked) == 1
        await proxy.stop()


async def test_client_that_goes_away_leaves_the_link_in_order() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        waiting = later(get())
        one.answer = lambda request: waiting
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get()))
        await until(lambda: len(one.asked) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiting.set_result(RawResponse(200, {}, b""))
        one.answer = echo
        assert (await two.forward(get())).status == 200


async def test_candidate_is_known_while_its_node_is_connected() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.offer(record("two", session="first"))
        two.follow(record("one", one.hub.port))
        await until(lambda: one.hub.candidates() == [record("two", session="first")])
        two.offer(record("two", session="second"))
        await until(lambda: one.hub.candidates() == [record("two", session="second")])
        two.offer(None)
        await until(lambda: one.hub.candidates() == [])
        two.offer(record("two"))
        await until(lambda: len(one.hub.candidates()) == 1)
        await two.close()
        await until(lambda: one.hub.candidates() == [])


async def test_follower_that_reconnects_is_known_again_with_its_candidate() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        two.offer(record("two"))
        two.follow(record("one", one.hub.port))
        await until(lambda: len(one.hub.candidates()) == 1)
        await one.reset_and_forget()
        await until(lambda: two.responsive and len(one.hub.candidates()) == 1)
        assert told.deaths == []


async def test_resignation_reaches_every_follower_before_it_counts_as_announced() -> None:
    first, second = Told(), Told()
    async with (
        holder_of("one") as one,
        follower_of("two", first) as two,
        follower_of("three", second) as three,
    ):
        for follower in (two, three):
            follower.follow(record("one", one.hub.port))
        await until(lambda: two.responsive and three.responsive)
        await one.met()
        assert await one.hub.announce_resigned("run-one/3") == 2
        assert first.resigned == second.resigned == ["run-one/3"]


async def test_run_cannot_resign_for_another() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: len(one.hub._links) == 1)
        assert await one.hub.announce_resigned("run-three/0") == 0
        assert told.resigned == []


async def test_predecessor_is_told_who_holds_the_lock_now() -> None:
    async with holder_of("one") as one, holder_of("three") as three, follower_of("two") as two:
        two.follow(record("one", one.hub.port), 4)
        await until(lambda: two.responsive)
        two.follow(record("three", three.hub.port), 7)
        await until(lambda: one.told == [(record("three", three.hub.port), 7)])
        await until(lambda: two.responsive)
        assert (await two.forward(get())).status == 200
        assert (len(one.asked), len(three.asked)) == (0, 1)
        assert three.told == []


async def test_holder_is_not_told_of_itself_when_the_lock_looks_free() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port), 4)
        await until(lambda: two.responsive)
        two.follow(None)
        predecessor = two._predecessors["run-one"]
        assert predecessor.link
        await until(lambda: predecessor.link is not None and predecessor.link.outbox.empty)
        two._tell(predecessor)
        assert predecessor.link.outbox.empty
        two.follow(record("three"), 6)
        assert not predecessor.link.outbox.empty


async def test_predecessor_is_told_by_the_new_holder_itself_and_after_its_link_came_back() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port), 4)
        await until(lambda: two.responsive)
        await one.met()
        one.reset_links()
        two.follow(record("two"), 7)
        await until(lambda: (record("two"), 7) in one.told)
        assert not two.responsive


async def test_request_in_flight_at_a_predecessor_is_still_answered() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        waiting = later(get())
        one.answer = lambda request: waiting
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get()))
        await until(lambda: len(one.asked) == 1)
        two.follow(None)
        with pytest.raises(NotActive):
            await two.forward(get())
        waiting.set_result(RawResponse(204, {}, b""))
        assert (await task).status == 204


async def test_holder_that_moves_to_another_session_keeps_its_link() -> None:
    async with holder_of("one") as one, follower_of("two") as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive and len(one.hub._links) == 1)
        two.follow(record("one", one.hub.port, session="other"))
        assert two.responsive
        assert len(one.hub._links) == 1


async def test_bad_cluster_address_is_no_link_and_no_failure() -> None:
    async with follower_of("two") as two:
        two.follow(record("one", port=99_999))
        assert not two.responsive
