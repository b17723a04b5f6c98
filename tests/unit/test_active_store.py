"""The rules of DESIGN.md 3.3 as the store keeps them: every answer under authority."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from haven.errors import Fenced, NotActive, NotApplied, OutcomeUnknown, StorageError, Unavailable
from haven.storage.active import ActiveStore
from haven.storage.authority import Warrant
from haven.storage.base import Delete, Fence, Limits, Operation, Put
from haven.telemetry import Telemetry


class Scripted:
    """A storage whose next commits and reads can be made to fail, after a hook has run."""

    def __init__(self) -> None:
        self.limits = Limits(63, 1000, 10_000)
        self.data: dict[str, bytes] = {}
        self.reads = 0
        self.calls = 0
        self.fences: list[str] = []
        self.before_reply: Callable[[], None] = lambda: None
        self.failures: list[tuple[StorageError, bool]] = []
        self.read_failures: list[StorageError] = []

    async def get(self, key: str) -> bytes | None:
        self.reads += 1
        if self.read_failures:
            raise self.read_failures.pop(0)
        value = self.data.get(key)
        await asyncio.sleep(0)
        self.before_reply()
        return value

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        self.calls += 1
        return {key: await self.get(key) for key in keys}

    async def list(self, prefix: str) -> list[str]:
        await asyncio.sleep(0)
        self.before_reply()
        return sorted(self.data)

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        await asyncio.sleep(0)
        self.fences.append(fence.session if fence else "")
        error, applied = self.failures.pop(0) if self.failures else (None, True)
        if applied:
            for operation in operations:
                if isinstance(operation, Delete):
                    self.data.pop(operation.key, None)
                else:
                    self.data[operation.key] = operation.value
        self.before_reply()
        if error:
            raise error

    async def close(self) -> None:
        return None


class Lock:
    """Authority by hand: `keeps` says how doubt ends."""

    def __init__(self) -> None:
        self.session = 1
        self.valid = True
        self.keeps = True
        self.doubts = 0

    def reading(self) -> Warrant:
        if not self.valid:
            raise NotActive
        return Warrant(self.session, Fence("core/lock", f"s{self.session}"))

    async def writing(self) -> Warrant:
        return self.reading()

    def holds(self, warrant: Warrant) -> bool:
        return self.valid

    def doubt(self, warrant: Warrant) -> None:
        self.doubts += 1
        self.session += 1

    async def settled(self, warrant: Warrant) -> bool:
        await asyncio.sleep(0)
        return self.keeps

    def lose(self) -> None:
        self.valid = self.keeps = False


@pytest.fixture
def storage() -> Scripted:
    return Scripted()


@pytest.fixture
def lock() -> Lock:
    return Lock()


@pytest.fixture
def store(storage: Scripted, lock: Lock) -> ActiveStore:
    made = ActiveStore(storage, lock, Telemetry())
    made.serve()
    return made


async def test_a_second_read_comes_from_the_cache(store: ActiveStore, storage: Scripted) -> None:
    storage.data["a"] = b"1"
    assert [await store.get("a"), await store.get("a")] == [b"1", b"1"]
    assert storage.reads == 1


async def test_readers_of_one_key_share_one_read(store: ActiveStore, storage: Scripted) -> None:
    storage.data["a"] = b"1"
    assert await asyncio.gather(*(store.get("a") for _ in range(20))) == [b"1"] * 20
    assert storage.reads == 1


async def test_a_shared_read_goes_on_when_the_first_reader_leaves(
    store: ActiveStore, storage: Scripted
) -> None:
    storage.data["a"] = b"1"
    first, second = (asyncio.create_task(store.get("a")) for _ in range(2))
    while not storage.reads:
        await asyncio.sleep(0)
    first.cancel()
    assert await second == b"1"
    assert storage.reads == 1


async def test_a_shared_read_that_fails_fails_for_all_and_the_next_tries_again(
    store: ActiveStore, storage: Scripted
) -> None:
    storage.data["a"] = b"1"
    storage.read_failures = [Unavailable("no leader")]
    answers = await asyncio.gather(*(store.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert await store.get("a") == b"1"


async def test_a_read_after_a_write_does_not_join_a_read_before_it(
    store: ActiveStore, storage: Scripted
) -> None:
    storage.data["a"] = b"old"
    early = asyncio.create_task(store.get("a"))
    while not storage.reads:
        await asyncio.sleep(0)
    await store.commit([Put("a", b"new")])
    assert await store.get("a") == b"new"
    assert await early == b"old"
    assert await store.get("a") == b"new"


async def test_what_preparing_expects_is_read_at_once_and_then_cached(storage: Scripted, lock: Lock) -> None:
    store = ActiveStore(storage, lock, Telemetry())
    storage.data.update(a=b"1", b=b"2")
    store.expect([["a", "b"], [], ["absent"]])
    assert [await store.get("a"), await store.get("b"), await store.get("other")] == [b"1", b"2", None]
    store.serve()
    assert [await store.get("a"), await store.get("b"), await store.get("absent")] == [b"1", b"2", None]
    assert (storage.calls, storage.reads) == (2, 4)
    await store.commit([Put("absent", b"3")])
    assert await store.get("absent") == b"3"


async def test_what_is_expected_is_not_cached_if_it_came_too_late_or_not_at_all(
    storage: Scripted, lock: Lock
) -> None:
    store = ActiveStore(storage, lock, Telemetry())
    store.expect([["a"]])
    store.serve()
    storage.data["a"] = b"1"
    await asyncio.sleep(0)
    assert await store.get("a") == b"1"
    store = ActiveStore(storage, lock, Telemetry())
    storage.read_failures = [Unavailable("no answer")]
    store.expect([["a"]])
    with pytest.raises(Unavailable):
        await store.get("a")
    store.serve()
    assert await store.get("a") == b"1"


async def test_keys_in_use_are_those_used_last(store: ActiveStore, storage: Scripted) -> None:
    await store.commit([Put("written", b"1")])
    storage.data["a"] = b"1"
    for key in ("a", "b", "a"):
        await store.get(key)
    assert store.in_use() == (["a"], ["b"])
    await store.get("written")
    assert store.in_use() == (["written", "a"], ["b"])
    store.end()
    assert store.in_use() == ([], [])


async def test_what_was_written_is_read_from_the_cache(store: ActiveStore, storage: Scripted) -> None:
    await store.commit([Put("a", b"1"), Delete("b")])
    assert [await store.get("a"), await store.get("b")] == [b"1", None]
    assert storage.reads == 0


async def test_no_read_without_a_lease_even_from_the_cache(store: ActiveStore, lock: Lock) -> None:
    await store.commit([Put("a", b"1")])
    lock.lose()
    with pytest.raises(NotActive):
        await store.get("a")
    with pytest.raises(NotActive):
        await store.commit([Put("a", b"2")])


@pytest.mark.parametrize("verb", ["get", "list"])
async def test_no_answer_when_the_lease_went_while_reading(
    store: ActiveStore, storage: Scripted, lock: Lock, verb: str
) -> None:
    storage.before_reply = lock.lose
    with pytest.raises(NotActive):
        await (store.get("a") if verb == "get" else store.list(""))


@pytest.mark.parametrize("read", ["get", "list"])
async def test_a_read_that_the_storage_leaves_unanswered_ends_with_the_activation(
    store: ActiveStore, storage: Scripted, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    asked = asyncio.Event()

    async def never(_: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(storage, read, never)
    reading = asyncio.ensure_future(getattr(store, read)("a"))
    await asked.wait()
    store.end()
    with pytest.raises(NotActive):
        await asyncio.wait_for(reading, 5)


async def test_a_fenced_write_goes_on_under_the_new_session(store: ActiveStore, storage: Scripted) -> None:
    storage.failures = [(Fenced("s2"), False)]
    await store.commit([Put("a", b"1")])
    assert storage.fences == ["s1", "s2"]
    assert storage.data["a"] == b"1"


async def test_a_fenced_write_of_a_deposed_holder_was_surely_not_done(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    storage.failures = [(Fenced("other"), False)]
    storage.before_reply = lock.lose
    with pytest.raises(NotActive):
        await store.commit([Put("a", b"1")])
    assert storage.fences == ["s1"]


async def test_an_unknown_write_that_was_applied_is_acknowledged_once(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    storage.failures = [(OutcomeUnknown("deadline"), True)]
    await store.commit([Put("a", b"1")])
    assert storage.fences == ["s1"]
    assert lock.doubts == 1


async def test_an_unknown_write_that_was_not_applied_is_sent_again(
    store: ActiveStore, storage: Scripted
) -> None:
    storage.failures = [(OutcomeUnknown("deadline"), False)]
    await store.commit([Put("a", b"1")])
    assert storage.fences == ["s1", "s2"]
    assert await store.get("a") == b"1"


@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_delete_is_settled_by_absence(
    store: ActiveStore, storage: Scripted, applied: bool
) -> None:
    storage.data["a"] = b"1"
    storage.failures = [(OutcomeUnknown("deadline"), applied)]
    await store.commit([Delete("a")])
    assert "a" not in storage.data
    assert len(storage.fences) == (1 if applied else 2)


async def test_an_unknown_write_stays_unknown_when_authority_goes(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    storage.failures = [(OutcomeUnknown("deadline"), True)]
    storage.before_reply = lock.lose
    with pytest.raises(OutcomeUnknown):
        await store.commit([Put("a", b"1")])


async def test_settling_reads_until_the_storage_answers(store: ActiveStore, storage: Scripted) -> None:
    storage.failures = [(OutcomeUnknown("deadline"), True)]
    storage.read_failures = [Unavailable("no leader"), Unavailable("no leader")]
    await store.commit([Put("a", b"1")])
    assert storage.fences == ["s1"]


async def test_a_committed_write_is_not_acknowledged_after_authority_went(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    storage.before_reply = lock.lose
    with pytest.raises(OutcomeUnknown):
        await store.commit([Put("a", b"1")])


async def test_nobody_writes_a_key_that_is_not_settled(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    storage.failures = [(OutcomeUnknown("deadline"), True)]
    gate = asyncio.Event()

    async def settled_later(warrant: Warrant) -> bool:
        await gate.wait()
        return True

    lock.settled = settled_later  # type: ignore[method-assign]
    first = asyncio.create_task(store.commit([Put("a", b"1")]))
    while not lock.doubts:
        await asyncio.sleep(0)
    second = asyncio.create_task(store.commit([Put("a", b"2")]))
    other = asyncio.create_task(store.commit([Put("b", b"2")]))
    await other
    assert storage.fences == ["s1", "s2"]
    gate.set()
    await asyncio.gather(first, second)
    assert await store.get("a") == b"2"


async def test_an_unsettled_key_is_not_cached(store: ActiveStore, storage: Scripted, lock: Lock) -> None:
    storage.data["a"] = b"0"
    storage.failures = [(OutcomeUnknown("deadline"), False)]
    gate = asyncio.Event()

    async def settled_later(warrant: Warrant) -> bool:
        await gate.wait()
        return True

    lock.settled = settled_later  # type: ignore[method-assign]
    write = asyncio.create_task(store.commit([Put("a", b"1")]))
    while not lock.doubts:
        await asyncio.sleep(0)
    assert await store.get("a") == b"0"
    storage.data["a"] = b"1"  # the late transaction comes through
    assert await store.get("a") == b"1"
    gate.set()
    await write


async def test_a_reply_after_the_activation_ended_fills_nothing(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    def end() -> None:
        store.end()

    storage.before_reply = end
    with pytest.raises(NotActive):
        await store.get("a")
    with pytest.raises(NotActive):
        await store.commit([Put("a", b"1")])
    assert storage.fences == []


async def test_a_write_decided_in_one_activation_is_not_sent_in_the_next(
    store: ActiveStore, storage: Scripted, lock: Lock
) -> None:
    gate = asyncio.Event()
    ask = lock.writing

    async def in_doubt() -> Warrant:
        await gate.wait()
        return await ask()

    lock.writing = in_doubt  # type: ignore[method-assign]
    write = asyncio.create_task(store.commit([Put("a", b"1")]))
    await asyncio.sleep(0)
    store.end()  # lost, and won again by the time that doubt is over
    gate.set()
    with pytest.raises(NotActive):
        await write
    assert storage.fences == []


async def test_a_preparing_node_reads_past_lease_and_cache_and_writes_nothing(
    storage: Scripted, lock: Lock
) -> None:
    store = ActiveStore(storage, lock, Telemetry())
    lock.valid = False
    storage.data["a"] = b"1"
    assert [await store.get("a"), await store.get("a")] == [b"1", b"1"]
    assert storage.reads == 2
    assert await store.list("") == ["a"]
    lock.valid = True
    with pytest.raises(NotActive):
        await store.commit([Put("a", b"2")])


async def test_a_write_refused_by_its_condition_is_not_repeated(
    store: ActiveStore, storage: Scripted
) -> None:
    storage.failures = [(NotApplied("exists"), False)]
    with pytest.raises(NotApplied):
        await store.commit([Put("a", b"1")])
    assert storage.fences == ["s1"]


async def test_what_a_write_on_its_way_may_have_changed_is_not_read_from_the_cache(
    store: ActiveStore, storage: Scripted
) -> None:
    await store.commit([Put("a", b"1"), Put("b", b"1")])
    answer = asyncio.Event()
    commit = storage.commit

    async def slow(operations: Sequence[Operation], fence: Fence | None) -> None:
        await commit(operations, fence)
        await answer.wait()

    storage.commit = slow  # type: ignore[method-assign]
    first = asyncio.create_task(store.commit([Put("a", b"2"), Delete("b")]))
    while storage.data["a"] == b"1":
        await asyncio.sleep(0)
    assert await store.list("") == ["a"]
    assert [await store.get("a"), await store.get("b")] == [b"2", None]
    second = asyncio.create_task(store.commit([Put("a", b"3")]))
    await asyncio.sleep(0)
    answer.set()
    await first
    await second
    reads = storage.reads
    assert [await store.get("a"), await store.get("b")] == [b"3", None]
    assert storage.reads == reads


async def test_an_answer_fills_nothing_while_the_next_write_is_on_its_way(
    store: ActiveStore, storage: Scripted
) -> None:
    commit, replies = storage.commit, [asyncio.Event(), asyncio.Event()]
    waiting = list(replies)

    async def slow(operations: Sequence[Operation], fence: Fence | None) -> None:
        await commit(operations, fence)
        await waiting.pop(0).wait()

    storage.commit = slow  # type: ignore[method-assign]
    first = asyncio.create_task(store.commit([Put("a", b"1")]))
    await asyncio.sleep(0)
    second = asyncio.create_task(store.commit([Put("a", b"2")]))
    await asyncio.sleep(0)
    replies[0].set()
    await first
    while storage.data["a"] == b"1":
        await asyncio.sleep(0)
    assert await store.get("a") == b"2"
    replies[1].set()
    await second
