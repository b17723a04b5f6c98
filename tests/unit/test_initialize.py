import asyncio
import base64
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from haven.barrier import shamir
from haven.barrier.seals import SealConfiguration
from haven.core import layout
from haven.core.bootstrap import initial_entries
from haven.core.core import Core
from haven.core.generate_root import OTP_LENGTH
from haven.errors import NotApplied, OutcomeUnknown, RequestError, Unavailable
from haven.storage.base import Fence, Operation
from haven.storage.memory import MemoryStorage
from support.key_cluster import ROOT_TOKEN, SetClock, fresh, node, static_node, unsealed

CONSUL_OPERATIONS = 63
BODY = {"secret_shares": 5, "secret_threshold": 3}


class Faulty(MemoryStorage):
    """Applies a script to its commits: `lost` applies without an answer, `late` applies nothing yet."""

    def __init__(self, script: Sequence[str]) -> None:
        super().__init__()
        self.script = list(script)
        self.late: list[Sequence[Operation]] = []
        self.sent = 0
        self.operations = 0

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        self.sent += 1
        self.operations = len(operations)
        step = self.script.pop(0) if self.script else "ok"
        if step == "late":
            self.late.append(operations)
            raise OutcomeUnknown("deadline")
        if step == "refused":
            raise NotApplied("no")
        await super().commit(operations, fence)
        if step == "lost":
            raise OutcomeUnknown("deadline")


async def test_answers_with_shares_in_hex_and_base64_and_the_root_token() -> None:
    answer = await node(MemoryStorage()).initialize(BODY)
    assert set(answer) == {"keys", "keys_base64", "root_token"}
    assert answer["root_token"] == ROOT_TOKEN
    assert [bytes.fromhex(key) for key in answer["keys"]] == [
        base64.b64decode(key) for key in answer["keys_base64"]
    ]
    assert len({len(key) for key in answer["keys"]}) == 1
    assert (len(answer["keys"]), len(answer["keys"][0])) == (5, 66)


async def test_shamir_stays_sealed_and_static_unseals() -> None:
    split, alone = node(MemoryStorage()), static_node(MemoryStorage())
    await split.initialize(BODY)
    answer = await alone.initialize({})
    assert (split.sealed, alone.sealed) == (True, False)
    assert (answer["keys"], answer["keys_base64"]) == ([], [])
    assert "recovery_keys" not in answer


async def test_static_splits_a_recovery_key() -> None:
    answer = await static_node(MemoryStorage()).initialize({"recovery_shares": 3, "recovery_threshold": 2})
    assert (len(answer["recovery_keys"]), len(answer["recovery_keys_base64"])) == (3, 3)


async def test_one_share_is_the_key_itself() -> None:
    answer = await node(MemoryStorage()).initialize({"secret_shares": 1, "secret_threshold": 1})
    assert [len(key) for key in answer["keys"]] == [64]


async def test_everything_is_in_one_conditional_commit() -> None:
    storage = Faulty([])
    await node(storage).initialize(BODY)
    assert storage.sent == 1
    for path in (
        layout.KEYRING,
        layout.MASTER,
        layout.SEAL_CONFIG,
        layout.UNSEAL_KEYS,
        layout.SHAMIR_KEK,
        layout.CLUSTER_INFO,
        layout.LINK_KEY,
        "sys/token/id/root",
        "core/mounts",
    ):
        assert await storage.get(path), path


async def test_initial_entries_open_through_the_barrier_and_are_not_stored_in_the_clear() -> None:
    storage, core, _ = await fresh()
    stored = await storage.get("core/mounts")
    assert stored is not None
    assert b"the mounts" not in stored
    assert core.barrier.decrypt("core/mounts", stored) == b"the mounts"


async def test_of_two_nodes_at_once_one_wins_as_a_whole() -> None:
    class Together(MemoryStorage):
        """Lets both nodes see an empty storage before either commits."""

        def __init__(self) -> None:
            super().__init__()
            self.both = asyncio.Barrier(2)

        async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
            await self.both.wait()
            await super().commit(operations, fence)

    storage = Together()
    nodes = [node(storage), node(storage)]
    answers = await asyncio.gather(*(one.initialize(BODY) for one in nodes), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, RequestError)]
    won = [answer for answer in answers if isinstance(answer, dict)]
    assert [error.errors for error in refused] == [["Vault is already initialized"]]
    await unsealed(storage, won[0]["keys"][:3])


async def test_a_second_time_is_refused() -> None:
    storage, core, _ = await fresh()
    for one in (core, node(storage)):
        with pytest.raises(RequestError, match="Vault is already initialized") as caught:
            await one.initialize(BODY)
        assert caught.value.status == 400


async def test_a_lost_reply_is_settled_and_the_answer_is_true() -> None:
    storage = Faulty(["lost"])
    answer = await node(storage).initialize(BODY)
    await unsealed(storage, answer["keys"][:3])


async def test_a_late_write_cannot_replace_the_repeated_one() -> None:
    storage = Faulty(["late"])
    answer = await node(storage).initialize(BODY)
    with pytest.raises(NotApplied):
        await storage.commit(storage.late[0], None)
    await unsealed(storage, answer["keys"][:3])


@pytest.mark.parametrize("script", [["late", "late", "late"], ["late", "refused"]])
async def test_what_stays_unknown_is_not_called_failed(script: list[str]) -> None:
    with pytest.raises(OutcomeUnknown):
        await node(Faulty(script)).initialize(BODY)


async def test_a_refusal_without_a_keyring_is_passed_on() -> None:
    core = node(Faulty(["refused"]))
    with pytest.raises(NotApplied):
        await core.initialize(BODY)
    assert not core.seal_status().initialized
    await core.initialize(BODY)


async def test_the_keys_are_answered_even_if_unsealing_then_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Dying(MemoryStorage):
        dead = False

        async def get(self, key: str) -> bytes | None:
            if self.dead:
                raise Unavailable("no leader")
            return await super().get(key)

        async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
            await super().commit(operations, fence)
            self.dead = True

    storage = Dying()
    core = static_node(storage)
    with caplog.at_level(logging.WARNING):
        answer = await core.initialize({})
    assert answer["root_token"] == ROOT_TOKEN
    assert core.sealed
    assert "not unsealed after initialisation" in caplog.text
    storage.dead = False
    assert await core.auto_unseal()


SEAL, RECOVERY = "invalid seal configuration: ", "invalid recovery configuration: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, SEAL + "shares must be at least one"),
        ({"secret_shares": 0, "secret_threshold": 1}, SEAL + "shares must be at least one"),
        ({"secret_shares": 3}, SEAL + "threshold must be at least one"),
        (
            {"secret_shares": 3, "secret_threshold": 1},
            SEAL + "threshold must be greater than one for multiple shares",
        ),
        ({"secret_shares": 256, "secret_threshold": 2}, SEAL + "shares must be less than 256"),
        ({"secret_shares": 3, "secret_threshold": 256}, SEAL + "threshold must be less than 256"),
        ({"secret_shares": 2, "secret_threshold": 3}, SEAL + "threshold cannot be larger than shares"),
        (
            {**BODY, "pgp_keys": ["a"]},
            SEAL + "count mismatch between number of provided PGP keys and number of shares",
        ),
        ({**BODY, "pgp_keys": ["a"] * 5}, "PGP keys are not supported by this server"),
        ({**BODY, "root_token_pgp_key": "a"}, "PGP keys are not supported by this server"),
        (
            {**BODY, "recovery_shares": 1, "recovery_threshold": 1},
            "parameters recovery_shares,recovery_threshold not applicable to seal type shamir",
        ),
        (
            {"secret_shares": "5", "secret_threshold": 3},
            "failed to parse JSON input: secret_shares must be a whole number",
        ),
    ],
)
async def test_refuses_with_vaults_texts(body: dict[str, Any], text: str) -> None:
    storage = MemoryStorage()
    await refused(node(storage).initialize, body, text)
    assert await storage.get(layout.KEYRING) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (BODY, "parameters secret_shares,secret_threshold not applicable to seal type static"),
        ({"recovery_shares": 2}, RECOVERY + "threshold must be at least one"),
        (
            {"recovery_shares": 2, "recovery_threshold": 2, "recovery_pgp_keys": ["a"] * 2},
            "PGP keys are not supported by this server",
        ),
    ],
)
async def test_static_refuses_with_vaults_texts(body: dict[str, Any], text: str) -> None:
    await refused(static_node(MemoryStorage()).initialize, body, text)


async def test_stored_shares_is_ignored() -> None:
    await node(MemoryStorage()).initialize({**BODY, "stored_shares": 7})


async def test_any_threshold_of_the_shares_is_the_same_key() -> None:
    answer = await node(MemoryStorage()).initialize(BODY)
    shares = [bytes.fromhex(key) for key in answer["keys"]]
    assert shamir.combine(shares[:3]) == shamir.combine(shares[2:])


async def refused(call: Callable[[dict[str, Any]], Any], body: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError) as caught:
        await call(body)
    assert (caught.value.status, caught.value.errors) == (400, [text])


async def test_what_a_new_cluster_begins_with_fits_a_root_token_and_one_commit_of_consul() -> None:
    storage = Faulty([])
    core = Core(storage, SealConfiguration.shamir(), SetClock(), initial_entries)
    answer = await core.initialize(BODY)
    assert len(answer["root_token"]) == OTP_LENGTH
    assert storage.operations <= CONSUL_OPERATIONS
