import base64
from typing import Any

import pytest

from haven.barrier import paths
from haven.barrier.seals import SealConfiguration
from haven.core import layout
from haven.core.core import Core
from haven.errors import DecryptionFailed, RequestError, Sealed, Unavailable
from haven.storage.base import Delete
from haven.storage.memory import MemoryStorage
from support.key_cluster import STATIC_KEY, TermStore, fresh, node, static_node, unsealed


async def refused(core: Core, body: dict[str, Any], text: str, status: int = 400) -> None:
    with pytest.raises(RequestError) as caught:
        await core.unseal(body)
    assert (caught.value.status, caught.value.errors) == (status, [text])


async def test_status_before_initialisation() -> None:
    state = node(MemoryStorage()).seal_status()
    assert (state.type, state.initialized, state.sealed, state.recovery_seal) == (
        "shamir",
        False,
        True,
        False,
    )
    assert (state.threshold, state.shares, state.progress, state.nonce) == (0, 0, 0, "")


async def test_another_node_learns_of_the_initialisation() -> None:
    storage = MemoryStorage()
    core = node(storage)
    assert not await core.initialized()
    await node(storage).initialize({"secret_shares": 5, "secret_threshold": 3})
    assert await core.initialized()
    state = core.seal_status()
    assert (state.initialized, state.sealed, state.threshold, state.shares) == (True, True, 3, 5)


async def test_progress_and_nonce_until_the_threshold() -> None:
    storage, _, keys = await fresh(5, 3)
    core = node(storage)
    await core.unseal({"key": keys[4]})
    state = core.seal_status()
    assert (state.progress, state.sealed) == (1, True)
    assert state.nonce
    await core.unseal({"key": base64.b64encode(bytes.fromhex(keys[0])).decode(), "migrate": False})
    assert (core.seal_status().progress, core.seal_status().nonce) == (2, state.nonce)
    await core.unseal({"key": keys[2].upper()})
    state = core.seal_status()
    assert (state.sealed, state.progress, state.nonce) == (False, 0, "")
    assert state.cluster_name.startswith("haven-cluster-")
    assert state.cluster_id


async def test_the_same_share_twice_does_not_advance() -> None:
    storage, _, keys = await fresh()
    core = node(storage)
    for _ in range(2):
        await core.unseal({"key": keys[0]})
    assert core.seal_status().progress == 1


async def test_reset_forgets_progress() -> None:
    storage, unsealed_node, keys = await fresh()
    core = node(storage)
    await core.unseal({"key": keys[0]})
    await core.unseal({"reset": True, "key": keys[1]})
    assert (core.seal_status().progress, core.seal_status().nonce) == (0, "")
    await refused(unsealed_node, {"reset": True}, "vault is unsealed")


async def test_an_unsealed_node_takes_any_share_without_effect() -> None:
    _, core, keys = await fresh()
    await core.unseal({"key": keys[0]})
    assert core.seal_status().progress == 0


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "'key' must be specified in request body as JSON, or 'reset' set to true"),
        ({"key": ""}, "'key' must be specified in request body as JSON, or 'reset' set to true"),
        ({"key": "no key!"}, "'key' must be a valid hex or base64 string"),
        ({"key": "AAAA"}, "invalid key: key is shorter than minimum 16 bytes"),
        ({"key": "z" * 48}, "invalid key: key is longer than maximum 33 bytes"),
    ],
)
async def test_refuses_what_cannot_be_a_share(body: dict[str, Any], text: str) -> None:
    storage, _, _ = await fresh()
    await refused(node(storage), body, text)


async def test_refuses_shares_before_initialisation() -> None:
    await refused(node(MemoryStorage()), {"key": "00" * 33}, "Vault is not initialized")


async def test_refuses_a_migration() -> None:
    storage, _, keys = await fresh()
    text = "can't perform a seal migration, no migration seal found"
    await refused(node(storage), {"key": keys[0], "migrate": True}, text, status=500)


async def test_wrong_shares_are_refused_at_the_threshold_and_forgotten() -> None:
    storage, _, keys = await fresh()
    core = node(storage)
    await core.unseal({"key": keys[0]})
    wrong = f"{int(keys[1][:2], 16) ^ 1:02x}{keys[1][2:]}"
    await refused(core, {"key": wrong}, "Unseal failed, invalid key")
    assert core.seal_status().progress == 0
    assert core.sealed
    for key in keys[:2]:
        await core.unseal({"key": key})
    assert not core.sealed


async def test_shares_that_cannot_belong_together_are_refused() -> None:
    storage, _, keys = await fresh()
    core = node(storage)
    await core.unseal({"key": keys[0]})
    await refused(
        core,
        {"key": keys[1][:40]},
        "invalid key: failed to compute combined key: all parts must be the same length",
    )
    assert core.seal_status().progress == 0


async def test_a_single_share_unseals() -> None:
    storage, _, keys = await fresh(1, 1)
    core = node(storage)
    await refused(core, {"key": "00" * 32}, "Unseal failed, invalid key")
    await core.unseal({"key": keys[0]})
    assert not core.sealed


async def test_seal_forgets_everything_and_shares_unseal_again() -> None:
    _, core, keys = await fresh()
    link = core.link_key()
    core.seal()
    core.seal()
    assert core.sealed
    assert core.seal_status().cluster_name == ""
    with pytest.raises(Sealed):
        core.link_key()
    for key in keys[1:3]:
        await core.unseal({"key": key})
    assert core.link_key() == link


async def test_link_key_is_one_per_cluster() -> None:
    storage, core, keys = await fresh()
    _, other, _ = await fresh()
    assert (await unsealed(storage, keys[:2])).link_key() == core.link_key()
    assert len(core.link_key()) == 32
    assert other.link_key() != core.link_key()


async def test_static_unseals_itself_once_there_is_a_cluster() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    assert not await core.auto_unseal()
    await static_node(storage).initialize({"recovery_shares": 3, "recovery_threshold": 2})
    assert await core.auto_unseal()
    assert await core.auto_unseal()
    state = core.seal_status()
    assert (state.type, state.sealed, state.recovery_seal) == ("static", False, True)
    assert (state.threshold, state.shares) == (2, 3)


async def test_static_with_another_key_says_so() -> None:
    storage = MemoryStorage()
    await static_node(storage).initialize({})
    core = node(storage, SealConfiguration.static(STATIC_KEY[::-1]))
    with pytest.raises(DecryptionFailed):
        await core.auto_unseal()
    assert core.sealed


async def test_static_takes_no_shares() -> None:
    storage = MemoryStorage()
    await static_node(storage).initialize({})
    text = "invalid key: this node unseals itself with its static seal key"
    await refused(static_node(storage), {"key": "00" * 32}, text)


async def test_a_node_configured_for_another_seal_says_so() -> None:
    storage, _, keys = await fresh()
    with pytest.raises(DecryptionFailed, match="the cluster's seal is shamir"):
        await static_node(storage).auto_unseal()
    storage = MemoryStorage()
    await static_node(storage).initialize({})
    text = "the cluster's seal is static, this node is configured for shamir"
    await refused(node(storage), {"key": keys[0]}, text)


async def test_shamir_does_not_unseal_itself() -> None:
    storage, core, _ = await fresh()
    assert not await node(storage).auto_unseal()
    assert await core.auto_unseal()


async def test_a_storage_that_fails_leaves_the_node_sealed_and_ready_for_another_try() -> None:
    storage, _, keys = await fresh()
    core = node(storage)
    await core.initialized()
    await core.unseal({"key": keys[0]})
    get = storage.get

    async def fail(key: str) -> bytes | None:
        if key == layout.LINK_KEY:
            raise Unavailable("no leader")
        return await get(key)

    storage.get = fail  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await core.unseal({"key": keys[1]})
    assert core.sealed
    assert core.seal_status().cluster_name == ""
    storage.get = get  # type: ignore[method-assign]
    for key in keys[:2]:
        await core.unseal({"key": key})
    assert not core.sealed


async def test_keyring_without_a_seal_configuration_is_an_error() -> None:
    storage, _, _ = await fresh()
    await storage.commit([Delete(layout.SEAL_CONFIG)], None)
    with pytest.raises(DecryptionFailed, match="no seal configuration"):
        await node(storage).initialized()


async def test_a_standby_follows_and_static_recovers_what_it_missed() -> None:
    storage = MemoryStorage()
    active, standby = static_node(storage), static_node(storage)
    answer = await active.initialize({"recovery_shares": 1, "recovery_threshold": 1})
    await standby.auto_unseal()
    store = TermStore(storage)
    await active.rotation(store).rotate()
    rekey = active.rekey(store)
    nonce = rekey.start({})["nonce"]
    await rekey.update({"key": answer["recovery_keys"][0], "nonce": nonce})
    await store.commit([Delete(paths.upgrade(1))])
    assert await standby.follow(storage.get)
    assert not await standby.follow(storage.get)
    await active.view(store, "a/").commit([])
    stored = active.barrier.encrypt("a", b"x")
    assert standby.barrier.decrypt("a", stored) == b"x"
    assert standby.link_key() == active.link_key()


async def test_the_threshold_is_todays_after_a_rekey_by_another_node() -> None:
    storage, active, keys = await fresh()
    late = node(storage)
    await late.initialized()
    rekey = active.rekey(TermStore(storage))
    nonce = rekey.start({"secret_shares": 3, "secret_threshold": 3})["nonce"]
    for key in keys[:2]:
        answer = await rekey.update({"key": key, "nonce": nonce})
    for key in answer["keys"]:
        await late.unseal({"key": key})
    assert not late.sealed


async def test_a_rekey_between_the_reads_of_unsealing_is_read_again() -> None:
    storage = MemoryStorage()
    active, late = static_node(storage), static_node(storage)
    answer = await active.initialize({"recovery_shares": 1, "recovery_threshold": 1})
    await late.initialized()
    get, raced = storage.get, False

    async def racing(key: str) -> bytes | None:
        nonlocal raced
        if key == layout.KEYRING and not raced:
            raced = True
            rekey = active.rekey(TermStore(storage))
            nonce = rekey.start({})["nonce"]
            await rekey.update({"key": answer["recovery_keys"][0], "nonce": nonce})
        return await get(key)

    storage.get = racing  # type: ignore[method-assign]
    assert await late.auto_unseal()
    assert raced
    assert late.barrier.keyring.root == active.barrier.keyring.root
