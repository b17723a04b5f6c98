"""A whole node on memory storage: sealed, unsealed, serving, handing over, sealed again."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence

import pytest

from haven.api.admission import Admission
from haven.api.ports import Role
from haven.barrier.seals import SealConfiguration
from haven.clock import BootClock
from haven.core.bootstrap import initial_entries
from haven.core.core import Core
from haven.core.logical import Request, Response, Verb
from haven.errors import NotActive, NotApplied, OutcomeUnknown, RequestError, Sealed
from haven.ha.alone import Alone
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.hub import RequestHandler
from haven.ha.leadership import Leadership
from haven.ha.membership import Activation, Membership, Standing
from haven.node import Node
from haven.storage.base import Fence, Operation
from haven.storage.memory import MemoryStorage
from haven.tasks import TaskSet
from haven.telemetry import Telemetry
from haven.unsealed import Addresses, Parts

PATIENCE = 60.0


class Watched(Alone):
    """A node alone that believes in hand-over, and notes the order of things."""

    def __init__(self, clock: BootClock, activation: Activation, bench: "Bench") -> None:
        self.bench, self.diary = bench, bench.diary
        super().__init__(clock, Telemetry(), activation, lambda name: self.diary.append(f"died {name}"))

    async def forward(self, request: RawRequest) -> RawResponse:
        if self.bench.forwarded is None:
            return await super().forward(request)
        return await asyncio.shield(self.bench.forwarded)

    async def leave(self, reason: str) -> bool:
        self.diary.append(f"leave {reason}")
        await super().stop()
        return True

    async def stop(self) -> None:
        self.diary.append("stop")
        await super().stop()


class Failing(MemoryStorage):
    """Fails commits that a test chooses, by their number."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.fail: Callable[[int], Exception | None] = lambda number: None

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        self.commits += 1
        if error := self.fail(self.commits):
            raise error
        await super().commit(operations, fence)


class Bench:
    """One node and what it is made of."""

    def __init__(self, seal: SealConfiguration, storage: MemoryStorage | None = None) -> None:
        self.diary: list[str] = []
        self.storage = storage or Failing()
        self.clock = BootClock()
        self.admission = Admission(TaskSet(self.diary.append))
        self.parked = 0
        self.forwarded: asyncio.Future[RawResponse] | None = None
        self.telemetry = Telemetry()

        def lead(
            _membership: Membership, key: bytes, activation: Activation, _handler: RequestHandler
        ) -> Leadership:
            assert len(key) == 32
            return Watched(self.clock, activation, self)

        parts = Parts(
            core=Core(self.storage, seal, self.clock, initial_entries),
            storage=self.storage,
            clock=self.clock,
            telemetry=self.telemetry,
            admission=self.admission,
            addresses=Addresses("n1", "http://n1:8200", "n1:8201"),
            ha_enabled=True,
            lead=lead,
            parked=lambda: self.parked,
            died=self.diary.append,
        )
        self.node = Node(parts, "memory", lambda: self.diary.append("unsealed"))
        self.token = ""
        self.key = ""

    async def open(self) -> None:
        """Initialise, unseal and wait until it serves."""
        answer = await self.node.initialize({"secret_shares": 1, "secret_threshold": 1})
        self.token, self.key = answer["root_token"], answer["keys"][0]
        await self.node.unseal({"key": self.key})
        await self.serves()

    async def serves(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.node.may_serve():
                await self.node.changed(0.05)

    async def call(self, verb: Verb, path: str, data: dict[str, object] | None = None) -> Response | None:
        return await self.node.handle(Request(verb, path, data or {}, token=self.token))


@pytest.fixture
async def bench() -> Bench:
    made = Bench(SealConfiguration.shamir())
    await made.open()
    return made


async def test_a_fresh_node_is_uninitialised_then_sealed_then_active() -> None:
    bench = Bench(SealConfiguration.shamir())
    assert bench.node.status().role is Role.UNINITIALISED
    with pytest.raises(NotActive):
        await bench.call(Verb.READ, "secret/data/a")
    answer = await bench.node.initialize({"secret_shares": 3, "secret_threshold": 2})
    assert bench.node.status().role is Role.SEALED
    status = await bench.node.unseal({"key": answer["keys"][0]})
    assert (status.progress, status.sealed) == (1, True)
    status = await bench.node.unseal({"key": answer["keys"][2]})
    assert not status.sealed
    await bench.serves()
    assert bench.node.status().role is Role.ACTIVE
    assert bench.diary == ["unsealed"]


async def test_it_reads_what_it_wrote(bench: Bench) -> None:
    await bench.call(Verb.UPDATE, "secret/data/a", {"data": {"x": 1}})
    answer = await bench.call(Verb.READ, "secret/data/a")
    assert answer is not None
    assert answer.data is not None
    assert answer.data["data"] == {"x": 1}


async def test_a_node_with_the_static_seal_opens_by_itself() -> None:
    bench = Bench(SealConfiguration.static(b"k" * 32))
    await bench.node.start()
    answer = await bench.node.initialize({})
    bench.token = answer["root_token"]
    await bench.serves()
    later = Bench(SealConfiguration.static(b"k" * 32), bench.storage)
    await later.node.start()
    await later.serves()
    await bench.node.stop()
    await later.node.stop()


async def test_sealing_asks_for_a_token_hands_over_and_ends_in_order(bench: Bench) -> None:
    with pytest.raises(RequestError, match="permission denied"):
        await bench.node.seal("hvs.wrong")
    assert bench.node.may_serve()
    await bench.node.seal(bench.token)
    assert bench.diary == ["unsealed", "leave sealed", "stop"]
    status = bench.node.status()
    assert (status.role, status.reason, status.seal.sealed) == (Role.SEALED, "sealed", True)
    with pytest.raises(NotActive):
        await bench.call(Verb.READ, "secret/data/a")
    await bench.node.seal("whoever")  # a sealed node stays so, whoever asks


async def test_a_node_sealed_by_hand_does_not_open_by_itself_again() -> None:
    bench = Bench(SealConfiguration.static(b"k" * 32))
    answer = await bench.node.initialize({})
    await bench.serves()
    await bench.node.seal(answer["root_token"])
    await bench.node.start()
    looked = bench.storage
    assert isinstance(looked, MemoryStorage)
    for _ in range(3):
        await bench.node.changed(0.2)
    assert bench.node.status().role is Role.SEALED
    await bench.node.stop()


async def test_sealing_waits_for_parked_requests_to_go_on(bench: Bench) -> None:
    bench.parked = 1
    sealing = asyncio.create_task(bench.node.seal(bench.token))
    async with asyncio.timeout(PATIENCE):
        while "leave sealed" not in bench.diary:
            await asyncio.sleep(0)
    assert "stop" not in bench.diary
    bench.parked = 0
    await sealing
    assert bench.diary[-1] == "stop"


async def test_sealing_waits_for_what_the_next_holder_is_answering(bench: Bench) -> None:
    answer: asyncio.Future[RawResponse] = asyncio.get_running_loop().create_future()
    bench.forwarded = answer
    request = RawRequest("POST", "/v1/secret/data/a", {}, b"{}")
    forward = asyncio.create_task(bench.node.forward(request))
    await asyncio.sleep(0)
    sealing = asyncio.create_task(bench.node.seal(bench.token))
    async with asyncio.timeout(PATIENCE):
        while "leave sealed" not in bench.diary:
            await asyncio.sleep(0)
        while not await _refused(bench.node.forward(request)):
            await asyncio.sleep(0)
    assert "stop" not in bench.diary
    answer.set_result(RawResponse(204, {}, b""))
    assert (await forward).status == 204
    await sealing
    assert bench.diary[-1] == "stop"


async def _refused(forward: Awaitable[RawResponse]) -> bool:
    """Tell whether a request is refused because the node is about to end, or is on its way."""
    try:
        async with asyncio.timeout(0.01):
            await forward
    except Sealed:
        return True
    except TimeoutError:
        return False
    raise AssertionError("nobody answers yet")


async def test_a_hand_over_lets_writes_finish_and_no_new_ones_in_but_reads(bench: Bench) -> None:
    gate = asyncio.Event()

    async def quick() -> str:
        return "done"

    async def slow() -> str:
        await gate.wait()
        return "written"

    write = asyncio.create_task(bench.admission.write(slow))
    await asyncio.sleep(0)
    step_down = asyncio.create_task(bench.node.step_down(bench.token))

    async def write_on() -> None:
        while await bench.admission.write(quick):
            await asyncio.sleep(0)

    with pytest.raises(NotActive):
        await asyncio.wait_for(write_on(), PATIENCE)
    assert await bench.admission.read(quick) == "done"
    assert "leave step-down" not in bench.diary
    gate.set()
    await step_down
    assert await write == "written"
    assert bench.diary[-1] == "leave step-down"
    assert bench.admission.is_open


async def test_a_request_that_was_partly_done_is_unknown(bench: Bench) -> None:
    """Unmounting takes several commits; one cut off in between must not be called "not executed"."""
    await bench.call(Verb.UPDATE, "sys/mounts/kv", {"type": "kv"})
    await bench.call(Verb.UPDATE, "kv/a", {"x": 1})
    assert isinstance(bench.storage, Failing)
    begun = bench.storage.commits
    bench.storage.fail = lambda number: NotApplied("lost") if number > begun + 1 else None
    with pytest.raises(OutcomeUnknown):
        await bench.call(Verb.DELETE, "sys/mounts/kv")


async def test_a_request_of_which_nothing_was_done_may_go_on_elsewhere(bench: Bench) -> None:
    assert isinstance(bench.storage, Failing)
    bench.storage.fail = lambda number: NotApplied("lost")
    with pytest.raises(NotApplied):
        await bench.call(Verb.UPDATE, "secret/data/a", {"data": {"x": 1}})


async def test_rekey_and_root_tokens_need_shares_and_no_token(bench: Bench) -> None:
    bench.token = ""
    started = await bench.call(Verb.UPDATE, "sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
    assert started is not None
    assert started.data is not None
    assert started.data["started"] is True
    assert await bench.call(Verb.DELETE, "sys/rekey/init") is None
    attempt = await bench.call(Verb.READ, "sys/generate-root/attempt")
    assert attempt is not None
    with pytest.raises(RequestError) as refusal:
        await bench.call(Verb.LIST, "sys/rekey/init")
    assert refusal.value.status == 405
    with pytest.raises(RequestError, match="recovery rekeying not supported"):
        await bench.call(Verb.READ, "sys/rekey-recovery-key/init")


@pytest.mark.parametrize("path", ["sys/key-status", "sys/ha-status", "sys/rotate/config"])
async def test_system_duties_need_a_token(bench: Bench, path: str) -> None:
    assert await bench.call(Verb.READ, path) is not None
    with pytest.raises(RequestError) as refusal:
        await bench.call(Verb.PATCH, path)
    assert refusal.value.status == 405
    bench.token = ""
    with pytest.raises(RequestError) as refusal:
        await bench.call(Verb.READ, path)
    assert refusal.value.status == 403


async def test_rotation_through_the_system_paths(bench: Bench) -> None:
    async def term() -> int:
        answer = await bench.call(Verb.READ, "sys/key-status")
        assert answer is not None
        assert answer.data is not None
        return int(answer.data["term"])

    before = await term()
    await bench.call(Verb.UPDATE, "sys/rotate")
    assert await term() == before + 1


async def test_forwarded_requests_go_to_whoever_was_set() -> None:
    bench = Bench(SealConfiguration.shamir())
    request = RawRequest("GET", "/v1/x", {}, b"")
    forwarded: Callable[[RawRequest], Awaitable[RawResponse]] = bench.node._forwarded
    with pytest.raises(NotActive):
        await forwarded(request)

    async def answer(raw: RawRequest) -> RawResponse:
        return RawResponse(200, {}, raw.target.encode())

    bench.node.on_forwarded = answer
    assert (await forwarded(request)).body == b"/v1/x"


def test_standing_of_a_node_alone() -> None:
    async def look() -> Standing:
        alone = Alone(BootClock(), Telemetry(), None, print)  # type: ignore[arg-type]
        return alone.standing()

    assert asyncio.run(look()).holds_lock is False


async def test_there_are_no_backups_of_shares(bench: Bench) -> None:
    with pytest.raises(RequestError, match="no backed-up keys found") as refused:
        await bench.call(Verb.READ, "sys/rekey/backup")
    assert refused.value.status == 400
    assert await bench.call(Verb.DELETE, "sys/rekey/backup") is None


async def test_what_shares_allow_is_also_at_paths_for_tokens(bench: Bench) -> None:
    for path in ("sys/rotate/root/init", "sys/generate-root-token/attempt"):
        started = await bench.call(Verb.UPDATE, path, {"secret_shares": 1, "secret_threshold": 1})
        assert started is not None
        assert started.data is not None
        assert started.data["started"] is True
    shown = await bench.call(Verb.READ, "sys/rekey/init")
    assert shown is not None
    assert shown.data is not None
    assert shown.data["started"] is True
    with pytest.raises(RequestError, match="no backed-up keys found"):
        await bench.call(Verb.READ, "sys/rotate/root/backup")
    with pytest.raises(RequestError, match="unsupported path"):
        await bench.call(Verb.READ, "sys/rotate/root/nonsense")
    bench.token = ""
    for path in ("sys/rotate/root/init", "sys/generate-root-token/attempt"):
        with pytest.raises(RequestError, match="permission denied"):
            await bench.call(Verb.READ, path)


async def test_a_root_token_made_by_shares_works(bench: Bench) -> None:
    attempt = await bench.call(Verb.UPDATE, "sys/generate-root-token/attempt")
    assert attempt is not None
    assert attempt.data is not None
    body = {"key": bench.key, "nonce": attempt.data["nonce"]}
    made = await bench.call(Verb.UPDATE, "sys/generate-root-token/update", body)
    assert made is not None
    assert made.data is not None
    encoded = base64.b64decode(str(made.data["encoded_token"]) + "==")
    bench.token = bytes(
        a ^ b for a, b in zip(encoded, str(attempt.data["otp"]).encode(), strict=True)
    ).decode()
    assert await bench.call(Verb.READ, "auth/token/lookup-self") is not None
