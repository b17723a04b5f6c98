import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from haven.api.ports import Holder, RawRequest, RawResponse, Role
from haven.api.settings import ApiSettings
from haven.core.logical import Request, Response, Verb
from haven.errors import Fenced, NotActive, NotApplied, OutcomeUnknown, RequestError, Sealed, Unavailable
from support.fake_node import OTHER, FakeNode, Site, failing, failing_once, not_active

THIRD = Holder("haven-3", "https://haven-3:8200", "haven-3:8201", is_self=False)
READS = ["GET", "LIST"]
WRITES = ["PUT", "POST", "DELETE"]
PATH = "/v1/secret/a"
NOBODY = "local node not active but active cluster node not found"
SURELY_NOT_EXECUTED = [NotActive("x"), Fenced("other"), NotApplied("x"), Unavailable("x")]
FORWARDED = RawRequest("PUT", PATH, {}, b'{"a":1}')


def standby(holder: Holder | None = OTHER) -> FakeNode:
    node = FakeNode(Role.STANDBY)
    node.become(Role.STANDBY, holder)
    return node


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("method", READS + WRITES)
async def test_the_active_node_answers_itself(method: str) -> None:
    node = FakeNode()
    answer = await Site(node).call(method, PATH)
    assert answer.status == 200
    assert (len(node.requests), node.forwards) == (1, [])


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_standby_forwards_the_request_as_it_came(method: str) -> None:
    node = standby()
    answer = await Site(node).call(
        method,
        "/v1/secret/%C3%A4%2Fb?version=2",
        b"{}",
        {"X-Vault-Token": "t", "Content-Type": "application/json", "Cookie": "c"},
    )
    assert (answer.status, answer.json) == (200, {"from": "holder"})
    sent = node.forwards[0]
    assert (sent.method, sent.target, sent.body) == (method, "/v1/secret/%C3%A4%2Fb?version=2", b"{}")
    assert sent.headers == {"x-vault-token": "t", "content-type": "application/json"}
    assert node.requests == []


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_node_about_to_end_sends_the_client_elsewhere_at_once(method: str) -> None:
    node = standby()
    node.forwarder = failing(Sealed())
    answer = await Site(node).call(method, PATH)
    assert (answer.status, answer.json) == (503, {"errors": ["Vault is sealed"]})
    assert len(node.forwards) == 1


@pytest.mark.parametrize("role", [Role.SEALED, Role.UNINITIALISED])
@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_sealed_node_answers_nothing(role: Role, method: str) -> None:
    answer = await Site(FakeNode(role)).call(method, PATH)
    assert (answer.status, answer.json) == (503, {"errors": ["Vault is sealed"]})


@pytest.mark.parametrize(
    "header", ["X-Vault-No-Request-Forwarding", "X-Vault-Internal-No-Request-Forwarding"]
)
async def test_a_client_may_ask_for_a_redirection(header: str) -> None:
    node = standby()
    answer = await Site(node).call("PUT", "/v1/secret/a%2Fb?x=%20", {"a": 1}, {header: "1"})
    assert (answer.status, answer.body) == (307, b"")
    assert answer.headers["location"] == "https://haven-2:8200/v1/secret/a%2Fb?x=%20"
    assert node.forwards == []


async def test_redirection_can_be_configured() -> None:
    answer = await Site(standby(), ApiSettings(redirect=True)).call("GET", PATH)
    assert (answer.status, answer.headers["location"]) == (307, f"https://haven-2:8200{PATH}")


async def test_an_empty_header_asks_for_nothing() -> None:
    node = standby()
    await Site(node).call("GET", PATH, headers={"X-Vault-No-Request-Forwarding": ""})
    assert len(node.forwards) == 1


async def test_the_active_node_never_redirects() -> None:
    answer = await Site().call("GET", PATH, headers={"X-Vault-No-Request-Forwarding": "1"})
    assert answer.status == 200


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_parked_request_goes_to_the_node_that_becomes_active(method: str) -> None:
    node = standby(None)
    site = Site(node)
    waiting = asyncio.create_task(site.call(method, PATH))
    await until(lambda: site.lot.count == 1)
    node.become(Role.STANDBY, OTHER)
    assert (await waiting).json == {"from": "holder"}
    assert (len(node.forwards), site.lot.count) == (1, 0)


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_parked_request_is_answered_here_if_this_node_becomes_active(method: str) -> None:
    node = standby(None)
    site = Site(node)
    waiting = asyncio.create_task(site.call(method, PATH))
    await until(lambda: site.lot.count == 1)
    node.become(Role.ACTIVATING)
    node.become(Role.ACTIVE)
    assert (await waiting).status == 200
    assert len(node.requests) == 1


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_lapsed_lease_is_a_pause(method: str) -> None:
    node = FakeNode()
    node.lease = False
    site = Site(node)
    waiting = asyncio.create_task(site.call(method, PATH))
    await until(lambda: site.lot.count == 1)
    assert node.requests == []
    node.lease = True
    node.announce()
    assert (await waiting).status == 200


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_redirection_waits_for_a_holder_to_name(method: str) -> None:
    node = standby(None)
    site = Site(node, ApiSettings(redirect=True))
    waiting = asyncio.create_task(site.call(method, PATH))
    await until(lambda: site.lot.count == 1)
    node.become(Role.STANDBY, THIRD)
    assert (await waiting).status == 307


@pytest.mark.parametrize("method", READS + WRITES)
async def test_a_forward_that_was_surely_not_executed_goes_on_to_the_next_holder(method: str) -> None:
    node = standby()
    node.forwarder = failing(not_active())
    site = Site(node)
    waiting = asyncio.create_task(site.call(method, PATH))
    await until(lambda: site.lot.count == 1)
    node.forwarder = node._from_holder
    node.become(Role.STANDBY, THIRD)
    assert (await waiting).status == 200


async def test_a_holder_that_becomes_able_unseen_is_asked_again() -> None:
    node = standby()
    node.forwarder = failing_once(not_active(), node._from_holder)
    assert (await Site(node).call("PUT", PATH, {"a": 1})).status == 200
    assert len(node.forwards) == 2


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("forwards", [True, False])
async def test_a_write_of_unknown_outcome_is_told_and_never_repeated(method: str, forwards: bool) -> None:
    node = standby() if forwards else FakeNode()
    node.forwarder = node.handler = failing(OutcomeUnknown("x"))
    answer = await Site(node).call(method, PATH)
    assert answer.status == 502
    assert "outcome of this request is unknown" in answer.json["errors"][0]
    assert "retry-after" not in answer.headers
    assert len(node.forwards) + len(node.requests) == 1


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("forwards", [True, False])
async def test_a_read_of_unknown_outcome_is_repeated(method: str, forwards: bool) -> None:
    node = standby() if forwards else FakeNode()
    node.forwarder = failing_once(OutcomeUnknown("x"), node._from_holder)
    node.handler = failing_once(OutcomeUnknown("x"), node._echo)
    assert (await Site(node).call(method, PATH)).status == 200
    assert len(node.forwards) + len(node.requests) == 2


@pytest.mark.parametrize("method", READS + WRITES)
@pytest.mark.parametrize("error", SURELY_NOT_EXECUTED)
async def test_what_storage_surely_did_not_do_is_tried_again(method: str, error: Exception) -> None:
    node = FakeNode()
    node.handler = failing_once(error, node._echo)
    assert (await Site(node).call(method, PATH)).status == 200
    assert len(node.requests) == 2


@pytest.mark.parametrize(
    ("make", "settings", "text"),
    [
        (lambda: standby(None), ApiSettings(), NOBODY),
        (lambda: FakeNode(Role.ACTIVATING), ApiSettings(), NOBODY),
        (lambda: standby(None), ApiSettings(redirect=True), "no active Vault instance found"),
        (lambda: FakeNode(Role.ACTIVATING, ha=False), ApiSettings(), "node is not active"),
    ],
)
@pytest.mark.parametrize("method", READS + WRITES)
async def test_patience_ends(
    make: Callable[[], FakeNode], settings: ApiSettings, text: str, method: str
) -> None:
    answer = await Site(make(), settings, patience=0.02).call(method, PATH)
    assert (answer.status, answer.json) == (503, {"errors": [text]})
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("method", READS + WRITES)
@pytest.mark.parametrize("error", SURELY_NOT_EXECUTED[1:])
async def test_patience_ends_with_a_storage_that_does_not_answer(method: str, error: Exception) -> None:
    node = FakeNode()
    node.handler = failing(error)
    answer = await Site(node, patience=0.02).call(method, PATH)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "nothing was changed" in answer.json["errors"][0]


async def test_a_read_of_unknown_outcome_at_the_end_of_patience_is_no_502() -> None:
    node = FakeNode()
    node.handler = failing(OutcomeUnknown("x"))
    assert (await Site(node, patience=0.02).call("GET", PATH)).status == 503


async def test_a_full_lot_refuses_at_once() -> None:
    answer = await Site(standby(None), parking_bytes=10).call("PUT", PATH, {"a": "long enough"})
    assert (answer.status, answer.json) == (503, {"errors": [NOBODY]})


async def test_a_request_does_not_wait_for_a_node_that_is_sealed() -> None:
    node = standby(None)
    site = Site(node)
    waiting = asyncio.create_task(site.call("GET", PATH))
    await until(lambda: site.lot.count == 1)
    node.become(Role.SEALED)
    assert (await waiting).json == {"errors": ["Vault is sealed"]}


async def test_a_barrier_that_is_sealed_under_a_request() -> None:
    node = FakeNode()
    node.handler = failing(Sealed())
    answer = await Site(node).call("GET", PATH)
    assert (answer.status, answer.json) == (503, {"errors": ["Vault is sealed"]})


async def test_a_failing_link_is_an_internal_error() -> None:
    node = standby()
    node.forwarder = failing(KeyError("hidden"))
    answer = await Site(node).call("GET", PATH)
    assert (answer.status, answer.json) == (500, {"errors": ["internal error"]})


async def test_a_parked_client_that_leaves_is_forgotten() -> None:
    node = standby(None)
    site = Site(node)
    waiting = asyncio.create_task(site.call("PUT", PATH, {"a": 1}))
    await until(lambda: site.lot.count == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert site.lot.count == 0
    node.become(Role.ACTIVE)
    assert (await site.call("GET", PATH)).status == 200
    assert len(node.requests) == 1


class Slow:
    """A handler that waits for the test."""

    def __init__(self) -> None:
        self.begun = 0
        self.done = 0
        self.go_on = asyncio.Event()

    async def __call__(self, request: Request) -> Response | None:
        self.begun += 1
        await self.go_on.wait()
        self.done += 1
        return None


@pytest.mark.parametrize("method", WRITES)
async def test_a_client_that_leaves_does_not_cancel_its_write(method: str) -> None:
    node, slow = FakeNode(), Slow()
    node.handler = slow
    site = Site(node)
    client = asyncio.create_task(site.call(method, PATH))
    await until(lambda: slow.begun == 1)
    client.cancel()
    await asyncio.gather(client, return_exceptions=True)
    assert site.admission.running == 1
    slow.go_on.set()
    assert await site.admission.drain(60)
    assert slow.done == 1


async def test_a_client_that_leaves_cancels_its_read() -> None:
    node, slow = FakeNode(), Slow()
    node.handler = slow
    client = asyncio.create_task(Site(node).call("GET", PATH))
    await until(lambda: slow.begun == 1)
    client.cancel()
    await asyncio.gather(client, return_exceptions=True)
    slow.go_on.set()
    await asyncio.sleep(0)
    assert slow.done == 0


async def test_a_hand_over_waits_for_writes_inside_and_parks_those_that_come() -> None:
    node, slow = FakeNode(), Slow()
    node.handler = slow
    site = Site(node)
    inside = asyncio.create_task(site.call("PUT", PATH, {"a": 1}))
    await until(lambda: slow.begun == 1)
    site.admission.close_to_writes()
    outside = asyncio.create_task(site.call("PUT", PATH, {"a": 2}))
    await until(lambda: site.lot.count == 1)
    assert not await site.admission.drain(0.01)
    slow.go_on.set()
    assert await site.admission.drain(60)
    assert (await inside).status == 204
    assert not outside.done()
    node.become(Role.STANDBY, OTHER)
    assert (await outside).json == {"from": "holder"}
    assert (slow.begun, len(node.forwards)) == (1, 1)


async def test_a_hand_over_answers_reads_while_it_waits_for_writes() -> None:
    site = Site()
    site.admission.close_to_writes()
    assert (await site.call("GET", PATH)).status == 200


async def test_a_hand_over_that_failed_opens_again() -> None:
    site = Site()
    site.admission.close()
    waiting = asyncio.create_task(site.call("PUT", PATH, {"a": 1}))
    await until(lambda: site.lot.count == 1)
    site.admission.open()
    assert (await waiting).status == 200


async def test_step_down_is_not_waited_for_by_its_own_hand_over() -> None:
    node = FakeNode()
    site = Site(node)
    drained: list[bool] = []

    async def hand_over(token: str) -> None:
        site.admission.close()
        drained.append(await site.admission.drain(60))

    node.step_down = hand_over  # type: ignore[method-assign]
    answer = await site.call("PUT", "/v1/sys/step-down", headers={"X-Vault-Token": "root"})
    assert (answer.status, answer.body, drained) == (204, b"", [True])


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_step_down_goes_to_the_active_node(method: str) -> None:
    node = FakeNode()
    await Site(node).call(method, "/v1/sys/step-down", headers={"X-Vault-Token": "root"})
    assert (node.calls, node.requests) == ([("step_down", "root")], [])
    other = standby()
    await Site(other).call(method, "/v1/sys/step-down")
    assert (other.calls, len(other.forwards)) == ([], 1)


@pytest.mark.parametrize("method", ["GET", "DELETE", "LIST"])
async def test_step_down_knows_no_other_verb(method: str) -> None:
    answer = await Site().call(method, "/v1/sys/step-down")
    assert (answer.status, answer.json) == (405, {"errors": []})


async def test_a_refused_step_down() -> None:
    node = FakeNode()
    node.refusal = RequestError(403, "permission denied")
    answer = await Site(node).call("PUT", "/v1/sys/step-down")
    assert (answer.status, answer.json) == (403, {"errors": ["permission denied"]})


async def test_a_forwarded_request_is_answered_like_any_other() -> None:
    node = FakeNode()
    response = await Site(node).gate.handle_forwarded(FORWARDED)
    assert (response.status, json.loads(response.body)["data"]) == (200, {"path": "secret/a"})
    assert (node.requests[0].verb, node.requests[0].data) == (Verb.UPDATE, {"a": 1})


@pytest.mark.parametrize(
    "make", [lambda: standby(), lambda: FakeNode(Role.SEALED), lambda: FakeNode(Role.ACTIVATING)]
)
async def test_a_forwarded_request_is_never_forwarded_or_parked(make: Callable[[], FakeNode]) -> None:
    node = make()
    site = Site(node)
    with pytest.raises(NotActive):
        await site.gate.handle_forwarded(FORWARDED)
    assert (node.forwards, node.requests, site.lot.count) == ([], [], 0)


async def test_a_forwarded_request_waits_for_the_moments_that_activating_takes() -> None:
    node = FakeNode(Role.ACTIVATING)
    answer = asyncio.create_task(Site(node).gate.handle_forwarded(FORWARDED))
    for _ in range(5):
        await asyncio.sleep(0)
    assert node.requests == []
    node.become(Role.ACTIVE)
    assert (await answer).status == 200


async def test_a_forwarded_request_goes_back_when_the_activation_fails() -> None:
    node = FakeNode(Role.ACTIVATING)
    answer = asyncio.create_task(Site(node).gate.handle_forwarded(FORWARDED))
    await asyncio.sleep(0)
    node.become(Role.STANDBY)
    with pytest.raises(NotActive):
        await answer
    assert node.requests == []


async def test_a_forwarded_request_is_not_let_in_during_a_hand_over() -> None:
    site = Site()
    site.admission.close()
    with pytest.raises(NotActive):
        await site.gate.handle_forwarded(FORWARDED)
    assert site.node.requests == []


@pytest.mark.parametrize("error", SURELY_NOT_EXECUTED)
async def test_a_forwarded_request_that_was_surely_not_executed_goes_back(error: Exception) -> None:
    node = FakeNode()
    node.handler = failing(error)
    with pytest.raises(NotActive):
        await Site(node).gate.handle_forwarded(FORWARDED)


async def test_a_forwarded_write_of_unknown_outcome_does_not_go_back() -> None:
    node = FakeNode()
    node.handler = failing(OutcomeUnknown("x"))
    assert (await Site(node).gate.handle_forwarded(FORWARDED)).status == 502


async def test_a_forwarded_read_of_unknown_outcome_goes_back() -> None:
    node = FakeNode()
    node.handler = failing(OutcomeUnknown("x"))
    with pytest.raises(NotActive):
        await Site(node).gate.handle_forwarded(RawRequest("GET", PATH, {}, b""))


@pytest.mark.parametrize("status", [200, 204, 400, 403, 404, 500, 503])
async def test_the_holders_answer_is_passed_on_as_it_is(status: int) -> None:
    node = standby()
    node.forwarder = answering(RawResponse(status, {"Cache-Control": "no-store", "X-Other": "1"}, b""))
    answer = await Site(node).call("GET", PATH)
    assert (answer.status, answer.headers["x-other"]) == (status, "1")
    assert len(node.forwards) == 1


def answering(response: RawResponse) -> Callable[[Any], Awaitable[RawResponse]]:
    async def forward(_: Any) -> RawResponse:
        return response

    return forward
