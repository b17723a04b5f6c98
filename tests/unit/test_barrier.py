import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haven.barrier import aead, paths
from haven.barrier.barrier import Barrier, KeyChange, persisted
from haven.barrier.keyring import Keyring, UnknownTerm, new_key
from haven.barrier.view import BarrierView
from haven.errors import DecryptionFailed, NotApplied, OutcomeUnknown, Sealed
from haven.storage.base import Delete, Operation, Put, PutIfAbsent
from haven.storage.memory import MemoryStorage
from support.key_cluster import TermStore

NOW = 1_700_000_000.0


def opened(keyring: Keyring | None = None) -> Barrier:
    barrier = Barrier()
    barrier.unseal(keyring or Keyring.fresh(NOW))
    return barrier


async def two_nodes() -> tuple[TermStore, Barrier, Barrier]:
    """Return a store and two nodes that hold the same keys, each its own copy."""
    keyring = Keyring.fresh(NOW)
    store = TermStore(MemoryStorage())
    await store.commit(persisted(keyring))
    copies = [Keyring.unseal(keyring.root, keyring.seal()) for _ in range(2)]
    return store, opened(copies[0]), opened(copies[1])


def rotation(keyring: Keyring) -> KeyChange:
    rotated = keyring.rotated(NOW)
    return KeyChange(rotated, [Put(paths.upgrade(keyring.active.term), rotated.upgrade())])


def renewal(keyring: Keyring) -> KeyChange:
    return KeyChange(keyring.with_root(new_key()))


@given(path=st.text(max_size=60), plaintext=st.binary(max_size=2000))
@settings(max_examples=50, deadline=None)
def test_what_is_encrypted_for_a_path_opens_there(path: str, plaintext: bytes) -> None:
    barrier = opened()
    blob = barrier.encrypt(path, plaintext)
    assert len(blob) == len(plaintext) + aead.OVERHEAD
    assert barrier.decrypt(path, blob) == plaintext


def test_layout_is_term_version_nonce_ciphertext() -> None:
    blob = opened().encrypt("a", b"x")
    assert blob[:5] == b"\x00\x00\x00\x01\x02"
    assert len(blob) == 5 + 12 + 1 + 16


@given(position=st.integers(0, aead.OVERHEAD + 9), change=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    barrier = opened()
    blob = bytearray(barrier.encrypt("a", b"0123456789"))
    blob[position] ^= change
    with pytest.raises(DecryptionFailed):
        barrier.decrypt("a", bytes(blob))


def test_a_value_moved_to_another_path_does_not_open() -> None:
    barrier = opened()
    with pytest.raises(DecryptionFailed):
        barrier.decrypt("b", barrier.encrypt("a", b"x"))


@pytest.mark.parametrize("blob", [b"", b"\x00" * (aead.OVERHEAD - 1)])
def test_a_truncated_value_does_not_open(blob: bytes) -> None:
    with pytest.raises(DecryptionFailed):
        opened().decrypt("a", blob)


def test_equal_plaintexts_have_different_ciphertexts() -> None:
    barrier = opened()
    assert barrier.encrypt("a", b"x") != barrier.encrypt("a", b"x")


def test_sealed_barrier_does_nothing_and_its_keys_are_overwritten() -> None:
    keyring = Keyring.fresh(NOW)
    barrier = opened(keyring)
    blob = barrier.encrypt("a", b"x")
    barrier.seal()
    assert barrier.sealed
    assert (keyring.root, keyring.keys[1].value) == (bytearray(32), bytearray(32))
    actions: list[Callable[[str, bytes], bytes]] = [barrier.encrypt, barrier.decrypt]
    for action in actions:
        with pytest.raises(Sealed):
            action("a", blob)


async def test_standby_follows_a_rotation() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, rotation)
    blob = active.encrypt("a", b"x")
    with pytest.raises(UnknownTerm):
        standby.decrypt("a", blob)
    assert await standby.follow(store.get)
    assert standby.decrypt("a", blob) == b"x"
    assert not await standby.follow(store.get)


async def test_standby_follows_a_new_root_key_and_rotations_around_it() -> None:
    store, active, standby = await two_nodes()
    for alter in (rotation, renewal, rotation, rotation, renewal):
        await active.change(store, alter)
    await standby.follow(store.get)
    assert standby.keyring.root == active.keyring.root
    assert standby.decrypt("a", active.encrypt("a", b"x")) == b"x"


async def test_standby_follows_a_rotation_without_upgrades_while_the_root_key_is_the_same() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, rotation)
    await store.commit([Delete(paths.upgrade(1))])
    await standby.follow(store.get)
    assert standby.keyring.active.term == 2


async def test_without_a_way_following_fails_and_recovers_only_with_the_seal() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, rotation)
    await active.change(store, renewal)
    await store.commit([Delete(paths.upgrade(1))])
    with pytest.raises(DecryptionFailed):
        await standby.follow(store.get)
    assert standby.keyring.active.term == 1

    async def recover() -> Keyring:
        stored = await store.get(paths.KEYRING)
        assert stored
        return Keyring.unseal(active.keyring.root, stored)

    assert await standby.follow(store.get, recover)
    assert standby.decrypt("a", active.encrypt("a", b"x")) == b"x"


async def test_a_rekey_between_the_reads_of_following_is_read_again() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, renewal)
    raced = False

    async def read(key: str) -> bytes | None:
        nonlocal raced
        if key == paths.MASTER and not raced:
            raced = True
            await active.change(store, renewal)
        return await store.get(key)

    await standby.follow(read)
    assert raced
    assert standby.keyring.root == active.keyring.root


@pytest.mark.parametrize(("fault", "error"), [("refused", NotApplied), ("reply lost", OutcomeUnknown)])
async def test_keys_in_memory_change_only_after_the_commit(fault: str, error: type[Exception]) -> None:
    store, active, _ = await two_nodes()
    store.fault = fault
    with pytest.raises(error):
        await active.change(store, rotation)
    assert active.keyring.active.term == 1
    await active.change(store, rotation)
    assert active.keyring.active.term == (2 if fault == "refused" else 3)


async def test_a_change_never_overwrites_a_newer_keyring() -> None:
    store, first, second = await two_nodes()
    await first.change(store, rotation)
    blob = first.encrypt("a", b"x")
    await second.change(store, rotation)
    assert second.keyring.active.term == 3
    assert second.decrypt("a", blob) == b"x"


async def test_a_node_sealed_during_a_change_stays_sealed() -> None:
    store, active, standby = await two_nodes()

    class Sealing(TermStore):
        async def commit(self, operations: Sequence[Operation]) -> None:
            await super().commit(operations)
            active.seal()

    await active.change(Sealing(store.storage), rotation)
    assert active.sealed
    await standby.follow(store.get)
    assert standby.keyring.active.term == 2


async def test_a_node_sealed_while_following_stays_sealed() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, renewal)

    async def read(key: str) -> bytes | None:
        standby.seal()
        return await store.get(key)

    with pytest.raises(Sealed):
        await standby.follow(read)
    assert standby.sealed


async def test_changes_at_once_do_not_lose_a_term() -> None:
    store, active, standby = await two_nodes()
    await asyncio.gather(*(active.change(store, rotation) for _ in range(5)))
    assert active.keyring.active.term == 6
    await standby.follow(store.get)
    assert sorted(standby.keyring.keys) == [1, 2, 3, 4, 5, 6]


async def test_encryptions_are_counted_over_changes_and_from_zero_in_a_new_term() -> None:
    store, active, _ = await two_nodes()
    for _ in range(3):
        active.encrypt("a", b"x")
    assert active.encryptions == 3
    await active.change(store, KeyChange)
    assert (active.encryptions, active.uncounted) == (3, 0)
    active.encrypt("a", b"x")
    await active.change(store, rotation)
    assert active.encryptions == 0
    assert active.keyring.keys[1].encryptions == 4


async def test_view_keeps_to_its_prefix_and_stores_ciphertext() -> None:
    store, active, _ = await two_nodes()
    view = BarrierView(active, store, "logical/1/")
    await view.commit([Put("a/b", b"plain"), PutIfAbsent("c", b"new"), Put("d", b"x"), Delete("d")])
    assert await view.get("a/b") == b"plain"
    assert await view.get("missing") is None
    assert await view.list("") == ["a/", "c"]
    assert await view.list("a/") == ["b"]
    stored = await store.get("logical/1/a/b")
    assert stored is not None
    assert b"plain" not in stored
    with pytest.raises(NotApplied):
        await view.commit([PutIfAbsent("c", b"again")])


async def test_view_follows_a_rotation_that_it_meets() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, rotation)
    await BarrierView(active, store, "").commit([Put("a", b"x")])
    assert await BarrierView(standby, store, "").get("a") == b"x"


async def test_view_tells_a_forged_term_from_a_rotation() -> None:
    store, active, _ = await two_nodes()
    await store.commit([Put("a", b"\x00\x00\x00\x09" + active.encrypt("a", b"x")[4:])])
    with pytest.raises(DecryptionFailed):
        await BarrierView(active, store, "").get("a")


async def test_a_node_sealed_while_recovering_stays_sealed() -> None:
    store, active, standby = await two_nodes()
    await active.change(store, rotation)
    await active.change(store, renewal)
    await store.commit([Delete(paths.upgrade(1))])

    async def recover() -> Keyring:
        standby.seal()
        return active.keyring

    with pytest.raises(Sealed):
        await standby.follow(store.get, recover)
    assert standby.sealed
