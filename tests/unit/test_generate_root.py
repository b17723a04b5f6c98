import base64
from typing import Any

import pytest

from haven.core.generate_root import GenerateRoot
from haven.errors import NotApplied, RequestError
from haven.storage.memory import MemoryStorage
from support.key_cluster import ROOT_TOKEN, TermStore, fresh, static_node

OTP = "0123456789abcdefghijklmnopqr"


class Tokens:
    """Counts the tokens made; `fault` is raised instead of the next one."""

    def __init__(self) -> None:
        self.made = 0
        self.fault: Exception | None = None

    async def create(self) -> str:
        fault, self.fault = self.fault, None
        if fault:
            raise fault
        self.made += 1
        return ROOT_TOKEN


async def started(body: dict[str, Any]) -> tuple[GenerateRoot, Tokens, list[str], dict[str, Any]]:
    storage, core, keys = await fresh()
    tokens = Tokens()
    generation = core.generate_root(TermStore(storage), tokens.create)
    return generation, tokens, keys, generation.start(body)


def decode(encoded: str, otp: str) -> str:
    """Decode as the command line does: unpadded base64, then XOR."""
    masked = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(left ^ right for left, right in zip(masked, otp.encode(), strict=True)).decode()


async def test_status_before_the_start() -> None:
    storage, core, _ = await fresh()
    assert core.generate_root(TermStore(storage), Tokens().create).status() == {
        "nonce": "",
        "started": False,
        "progress": 0,
        "required": 2,
        "complete": False,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": "",
        "otp": "",
        "otp_length": 28,
    }


async def test_makes_a_pad_tells_it_once_and_masks_the_token() -> None:
    generation, tokens, keys, status = await started({})
    otp, nonce = status["otp"], status["nonce"]
    assert len(otp) == 28
    assert generation.status()["otp"] == ""
    first = await generation.update({"key": keys[0], "nonce": nonce})
    assert (first["progress"], first["complete"], first["encoded_token"]) == (1, False, "")
    last = await generation.update({"key": keys[1], "nonce": nonce})
    assert (last["progress"], last["complete"], last["nonce"], last["started"]) == (2, True, nonce, True)
    assert last["encoded_token"] == last["encoded_root_token"]
    assert not last["encoded_token"].endswith("=")
    assert decode(last["encoded_token"], otp) == ROOT_TOKEN
    assert tokens.made == 1
    assert not generation.status()["started"]


async def test_uses_the_operators_pad_and_never_shows_it() -> None:
    generation, _, keys, status = await started({"otp": OTP})
    assert status["otp"] == ""
    for key in keys[:2]:
        status = await generation.update({"key": key, "nonce": status["nonce"]})
    assert decode(status["encoded_token"], OTP) == ROOT_TOKEN


async def test_wrong_shares_make_no_token_and_can_be_repeated() -> None:
    generation, tokens, keys, status = await started({})
    wrong = f"{int(keys[1][:2], 16) ^ 1:02x}{keys[1][2:]}"
    await generation.update({"key": keys[0], "nonce": status["nonce"]})
    with pytest.raises(RequestError, match="root generation aborted: invalid key") as caught:
        await generation.update({"key": wrong, "nonce": status["nonce"]})
    assert caught.value.status == 400
    assert (tokens.made, generation.status()["progress"]) == (0, 0)
    for key in keys[:2]:
        status = await generation.update({"key": key, "nonce": status["nonce"]})
    assert status["complete"]


async def test_a_token_that_was_not_stored_leaves_the_attempt_open() -> None:
    generation, tokens, keys, status = await started({})
    tokens.fault = NotApplied("refused")
    await generation.update({"key": keys[0], "nonce": status["nonce"]})
    with pytest.raises(NotApplied):
        await generation.update({"key": keys[1], "nonce": status["nonce"]})
    assert (generation.status()["started"], generation.status()["progress"]) == (True, 0)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"otp": "short"}, "OTP string is wrong length"),
        ({"otp": OTP[:-1] + "é"}, "OTP string is wrong length"),
        ({"pgp_key": "a"}, "PGP keys are not supported by this server"),
    ],
)
async def test_refuses_to_start_with_a_bad_pad(body: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError) as caught:
        await started(body)
    assert (caught.value.status, caught.value.errors) == (400, [text])


async def test_one_at_a_time_and_cancel() -> None:
    generation, _, keys, status = await started({})
    with pytest.raises(RequestError, match="root generation already in progress"):
        generation.start({})
    with pytest.raises(RequestError, match="incorrect nonce"):
        generation.cancel("another")
    generation.cancel()
    generation.cancel()
    with pytest.raises(RequestError, match="no root generation in progress"):
        await generation.update({"key": keys[0], "nonce": status["nonce"]})
    assert generation.start({})["nonce"] != status["nonce"]


async def test_refuses_shares_out_of_place() -> None:
    generation, _, keys, status = await started({})
    nonce = status["nonce"]
    with pytest.raises(RequestError) as caught:
        await generation.update({"key": keys[0], "nonce": "x"})
    assert caught.value.errors == [
        f'incorrect nonce supplied; nonce for this root generation operation is "{nonce}"'
    ]
    await generation.update({"key": keys[0], "nonce": nonce})
    with pytest.raises(RequestError, match="given key has already been provided"):
        await generation.update({"key": keys[0], "nonce": nonce})
    with pytest.raises(RequestError, match="invalid key: key is shorter than minimum 16 bytes"):
        await generation.update({"key": "AAAA", "nonce": nonce})


async def test_static_takes_recovery_shares() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    recovery = (await core.initialize({"recovery_shares": 3, "recovery_threshold": 2}))["recovery_keys"]
    generation = core.generate_root(TermStore(storage), Tokens().create)
    status = generation.start({"otp": OTP})
    for key in recovery[1:]:
        status = await generation.update({"key": key, "nonce": status["nonce"]})
    assert decode(status["encoded_token"], OTP) == ROOT_TOKEN


async def test_static_without_recovery_keys_cannot_make_root_tokens() -> None:
    storage = MemoryStorage()
    core = static_node(storage)
    await core.initialize({})
    with pytest.raises(RequestError, match="made without them"):
        core.generate_root(TermStore(storage), Tokens().create).start({})
