import asyncio
from typing import Any

import pytest

from haven.core import layout
from haven.core.rekey import Rekey
from haven.errors import NotApplied, OutcomeUnknown, RequestError
from haven.storage.memory import MemoryStorage
from support.key_cluster import TermStore, fresh, node, static_node, unsealed

WANTED = {"secret_shares": 5, "secret_threshold": 3}


async def offer(rekey: Rekey, keys: list[str]) -> dict[str, Any]:
    nonce, answer = rekey.status()["nonce"], dict[str, Any]()
    for key in keys:
        answer = await rekey.update({"key": key, "nonce": nonce})
    return answer


async def verify(rekey: Rekey, keys: list[str]) -> dict[str, Any]:
    nonce, answer = rekey.verification()["nonce"], dict[str, Any]()
    for key in keys:
        answer = await rekey.verify({"key": key, "nonce": nonce})
    return answer


async def unseals(storage: MemoryStorage, keys: list[str]) -> bool:
    core = node(storage)
    try:
        for key in keys:
            await core.unseal({"key": key})
    except RequestError:
        return False
    return not core.sealed


def refused(error: RequestError, text: str) -> None:
    assert (error.status, error.errors) == (400, [text])


async def test_status_before_and_after_the_start() -> None:
    storage, core, keys = await fresh()
    rekey = core.rekey(TermStore(storage))
    assert rekey.status() == {
        "nonce": "",
        "started": False,
        "t": 0,
        "n": 0,
        "progress": 0,
        "required": 2,
        "pgp_fingerprints": None,
        "backup": False,
        "verification_required": False,
    }
    started = rekey.start(WANTED)
    assert (started["started"], started["t"], started["n"], started["required"]) == (True, 3, 5, 2)
    assert started["nonce"]
    assert (await offer(rekey, keys[:1]))["progress"] == 1


async def test_new_shares_replace_the_old_ones_in_one_commit() -> None:
    storage, core, keys = await fresh()
    store = TermStore(storage)
    rekey = core.rekey(store)
    nonce = rekey.start(WANTED)["nonce"]
    answer = await offer(rekey, keys[:2])
    assert answer == {
        "nonce": nonce,
        "complete": True,
        "keys": answer["keys"],
        "keys_base64": answer["keys_base64"],
        "pgp_fingerprints": None,
        "backup": False,
        "verification_required": False,
    }
    assert len(answer["keys"]) == 5
    assert [{write.key for write in commit} for commit in store.commits] == [
        {layout.KEYRING, layout.MASTER, layout.UNSEAL_KEYS, layout.SHAMIR_KEK, layout.SEAL_CONFIG}
    ]
    assert not await unseals(storage, keys[:3])
    assert await unseals(storage, answer["keys"][2:])
    assert not rekey.status()["started"]
    assert (core.seal_status().threshold, core.seal_status().shares) == (3, 5)


async def test_data_and_the_link_key_outlive_it_and_a_standby_follows() -> None:
    storage, core, keys = await fresh()
    standby = await unsealed(storage, keys[:2])
    link, rekey = core.link_key(), core.rekey(TermStore(storage))
    rekey.start(WANTED)
    new = (await offer(rekey, keys[:2]))["keys"]
    assert await standby.follow(storage.get)
    assert standby.seal_status().threshold == 3
    second = standby.rekey(TermStore(storage))
    second.start({"secret_shares": 1, "secret_threshold": 1})
    last = (await offer(second, new[:3]))["keys"]
    again = await unsealed(storage, last)
    assert again.link_key() == standby.link_key() == link


@pytest.mark.parametrize("fault", ["refused", "reply lost"])
async def test_after_a_failed_commit_the_shares_are_what_was_stored(fault: str) -> None:
    storage, core, keys = await fresh()
    store = TermStore(storage)
    rekey = core.rekey(store)
    rekey.start(WANTED)
    store.fault = fault
    with pytest.raises(NotApplied if fault == "refused" else OutcomeUnknown):
        await offer(rekey, keys[:2])
    assert await unseals(storage, keys[:2]) is (fault == "refused")
    assert rekey.status()["progress"] == 0
    if fault == "refused":
        new = (await offer(rekey, keys[1:3]))["keys"]
        assert await unseals(storage, new[:3])


async def test_verification_comes_before_the_commit() -> None:
    storage, core, keys = await fresh()
    store = TermStore(storage)
    rekey = core.rekey(store)
    rekey.start({**WANTED, "require_verification": True})
    answer = await offer(rekey, keys[:2])
    assert answer["verification_required"]
    assert answer["verification_nonce"] == rekey.verification()["nonce"]
    assert rekey.status()["verification_nonce"] == answer["verification_nonce"]
    assert store.commits == []
    assert await unseals(storage, keys[:2])
    status = await verify(rekey, answer["keys"][:2])
    assert status == {
        "nonce": answer["verification_nonce"],
        "started": True,
        "t": 3,
        "n": 5,
        "progress": 2,
    }
    done = await rekey.verify({"key": answer["keys"][4], "nonce": status["nonce"]})
    assert done == {"nonce": status["nonce"], "complete": True}
    assert await unseals(storage, answer["keys"][:3])


async def test_wrong_shares_in_verification_change_the_nonce_and_can_be_repeated() -> None:
    storage, core, keys = await fresh()
    rekey = core.rekey(TermStore(storage))
    rekey.start({"secret_shares": 3, "secret_threshold": 2, "require_verification": True})
    answer = await offer(rekey, keys[:2])
    with pytest.raises(RequestError) as caught:
        await verify(rekey, keys[:2])
    refused(caught.value, "rekey verification failed; incorrect key shares supplied")
    assert rekey.verification()["nonce"] != answer["verification_nonce"]
    assert rekey.verification()["progress"] == 0
    assert (await verify(rekey, answer["keys"][:2]))["complete"]


async def test_verification_survives_a_refused_commit() -> None:
    storage, core, keys = await fresh()
    store = TermStore(storage)
    rekey = core.rekey(store)
    rekey.start({**WANTED, "require_verification": True})
    new = (await offer(rekey, keys[:2]))["keys"]
    store.fault = "refused"
    with pytest.raises(NotApplied):
        await verify(rekey, new[:3])
    assert await unseals(storage, keys[:2])
    assert (await verify(rekey, new[:3]))["complete"]
    assert await unseals(storage, new[:3])


async def test_verification_can_be_started_over() -> None:
    storage, core, keys = await fresh()
    rekey = core.rekey(TermStore(storage))
    rekey.start({**WANTED, "require_verification": True})
    new = (await offer(rekey, keys[:2]))["keys"]
    before = await verify(rekey, new[:2])
    after = rekey.restart_verification()
    assert (after["progress"], after["started"]) == (0, True)
    assert after["nonce"] != before["nonce"]


async def test_wrong_shares_are_refused_and_do_not_end_the_rekey() -> None:
    storage, core, keys = await fresh()
    rekey = core.rekey(TermStore(storage))
    rekey.start(WANTED)
    wrong = f"{int(keys[1][:2], 16) ^ 1:02x}{keys[1][2:]}"
    with pytest.raises(RequestError) as caught:
        await offer(rekey, [keys[0], wrong])
    refused(caught.value, "root key verification failed: invalid key")
    assert (rekey.status()["started"], rekey.status()["progress"]) == (True, 0)
    assert (await offer(rekey, keys[:2]))["complete"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"secret_shares": 2, "secret_threshold": 3}, "provided threshold greater than the total shares"),
        ({}, "invalid rekey seal configuration: shares must be at least one"),
        (
            {"secret_shares": 2, "secret_threshold": 1},
            "invalid rekey seal configuration: threshold must be greater than one for multiple shares",
        ),
        (
            {**WANTED, "backup": True},
            "cannot request a backup of the new keys without providing PGP keys for encryption",
        ),
        ({**WANTED, "pgp_keys": ["a"]}, "incorrect number of PGP keys for rekey"),
        ({**WANTED, "pgp_keys": ["a"] * 5}, "PGP keys are not supported by this server"),
    ],
)
async def test_refuses_to_start_with_vaults_texts(body: dict[str, Any], text: str) -> None:
    storage, core, _ = await fresh()
    with pytest.raises(RequestError) as caught:
        core.rekey(TermStore(storage)).start(body)
    refused(caught.value, text)


async def test_one_at_a_time_and_cancel() -> None:
    storage, core, _ = await fresh()
    rekey = core.rekey(TermStore(storage))
    nonce = rekey.start(WANTED)["nonce"]
    with pytest.raises(RequestError, match="rekey already in progress"):
        rekey.start(WANTED)
    with pytest.raises(RequestError, match="incorrect nonce"):
        rekey.cancel("another")
    rekey.cancel(nonce)
    rekey.start(WANTED)
    rekey.cancel()
    rekey.cancel()
    assert not rekey.status()["started"]


async def test_refuses_shares_out_of_place_with_vaults_texts() -> None:
    storage, core, keys = await fresh()
    rekey = core.rekey(TermStore(storage))
    key = {"key": keys[0], "nonce": "x"}

    async def texts() -> list[str]:
        errors = []
        for call in (rekey.update, rekey.verify):
            with pytest.raises(RequestError) as caught:
                await call(key)
            errors += caught.value.errors
        return errors

    assert await texts() == ["no barrier rekey in progress", "no rekey in progress"]
    with pytest.raises(RequestError, match="no rekey configuration found"):
        rekey.verification()
    nonce = rekey.start({**WANTED, "require_verification": True})["nonce"]
    assert await texts() == [
        f'incorrect nonce supplied; nonce for this rekey operation is "{nonce}"',
        "no rekey verification in progress",
    ]
    await rekey.update({"key": keys[0], "nonce": nonce})
    with pytest.raises(RequestError, match="given key has already been provided"):
        await rekey.update({"key": keys[0], "nonce": nonce})
    verification = (await rekey.update({"key": keys[1], "nonce": nonce}))["verification_nonce"]
    assert await texts() == [
        "rekey operation already finished; verification must be performed; "
        f'nonce for the verification operation is "{verification}"',
        f'incorrect nonce supplied; nonce for this verify operation is "{verification}"',
    ]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "'key' must be specified in request body as JSON"),
        ("?", "'key' must be a valid hex or base64 string"),
        ("AAAA", "key is shorter than minimum 16 bytes"),
        ("z" * 48, "key is longer than maximum 33 bytes"),
    ],
)
async def test_refuses_what_cannot_be_a_share(key: str | None, text: str) -> None:
    storage, core, _ = await fresh()
    rekey = core.rekey(TermStore(storage))
    nonce = rekey.start(WANTED)["nonce"]
    with pytest.raises(RequestError) as caught:
        await rekey.update({"key": key, "nonce": nonce})
    refused(caught.value, text)


async def test_shares_sent_at_once_finish_one_rekey() -> None:
    storage, core, keys = await fresh(5, 2)
    store = TermStore(storage)
    rekey = core.rekey(store)
    nonce = rekey.start(WANTED)["nonce"]
    answers = await asyncio.gather(
        *(rekey.update({"key": key, "nonce": nonce}) for key in keys), return_exceptions=True
    )
    complete = [answer for answer in answers if isinstance(answer, dict) and answer.get("complete")]
    assert (len(complete), len(store.commits)) == (1, 1)
    assert await unseals(storage, complete[0]["keys"][:3])


async def test_static_rekeys_with_recovery_shares_and_gives_none_back() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    recovery = await core.initialize({"recovery_shares": 3, "recovery_threshold": 2})
    rekey = core.rekey(TermStore(storage))
    with pytest.raises(RequestError, match="requiring verification not supported"):
        rekey.start({"require_verification": True})
    root = bytes(core.barrier.keyring.root)
    assert rekey.start({})["required"] == 2
    answer = await offer(rekey, recovery["recovery_keys"][:2])
    assert (answer["complete"], answer["keys"], answer["keys_base64"]) == (True, [], [])
    assert core.barrier.keyring.root != root
    assert await static_node(storage).auto_unseal()


async def test_static_without_recovery_keys_cannot_rekey() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    await core.initialize({})
    with pytest.raises(RequestError, match="made without them"):
        core.rekey(TermStore(storage)).start({})


async def test_recovery_shares_are_renewed_and_the_root_key_stays() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    old = (await core.initialize({"recovery_shares": 3, "recovery_threshold": 2}))["recovery_keys"]
    store = TermStore(storage)
    root, rekey = bytes(core.barrier.keyring.root), core.recovery_rekey(store)
    assert rekey
    rekey.start({**WANTED, "require_verification": True})
    new = (await offer(rekey, old[:2]))["keys"]
    assert store.commits == []
    assert (await verify(rekey, new[:3]))["complete"]
    assert bytes(core.barrier.keyring.root) == root
    standby = static_node(storage)
    await standby.auto_unseal()
    assert (standby.seal_status().threshold, standby.seal_status().shares) == (3, 5)
    rekey = standby.rekey(store)
    rekey.start({})
    with pytest.raises(RequestError, match="root key verification failed"):
        await offer(rekey, [*old[:2], old[2]])
    assert (await offer(rekey, new[1:4]))["complete"]


async def test_a_refused_recovery_rekey_leaves_the_old_shares() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    old = (await core.initialize({"recovery_shares": 3, "recovery_threshold": 2}))["recovery_keys"]
    store = TermStore(storage)
    rekey = core.recovery_rekey(store)
    assert rekey
    with pytest.raises(RequestError, match="no recovery rekey in progress"):
        await rekey.update({"key": old[0], "nonce": ""})
    rekey.start(WANTED)
    store.fault = "refused"
    with pytest.raises(NotApplied):
        await offer(rekey, old[:2])
    assert core.seal_status().threshold == 2
    assert (await offer(rekey, old[1:]))["complete"]


async def test_shamir_has_no_recovery_key() -> None:
    storage, core, _ = await fresh()
    assert core.recovery_rekey(TermStore(storage)) is None
