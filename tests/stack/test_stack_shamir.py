"""The manual way: `HAVEN_SEAL_TYPE=shamir make up`, then people initialise and unseal each node."""

from collections.abc import Iterator

import pytest

from stack.running import ACTIVE, NODES, SEALED, SETTINGS, STANDBY, UNINITIALISED, Stack, ask

FIRST, SECOND, THIRD = NODES


@pytest.fixture
def manual(no_stack: Stack) -> Iterator[Stack]:
    told = no_stack.up(HAVEN_SEAL_TYPE="shamir")
    assert "/v1/sys/init" in told
    assert "/v1/sys/unseal" in told
    yield no_stack
    no_stack.wipe()


def unseal(node: str, shares: list[str]) -> None:
    """Give key shares to one node at its published port, as a person does."""
    url = f"http://127.0.0.1:{SETTINGS[f'HAVEN_NODE_{node[-1]}_PORT']}"
    for count, share in enumerate(shares, 1):
        status, body = ask("PUT", f"{url}/v1/sys/unseal", {"key": share})
        assert status == 200, body
        assert body["sealed"] is (count < len(shares))


def test_people_initialise_and_unseal_each_node(manual: Stack) -> None:
    assert [manual.health(node) for node in NODES] == [UNINITIALISED] * 3
    status, made = ask("PUT", f"{manual.url}/v1/sys/init", {"secret_shares": 3, "secret_threshold": 2})
    assert status == 200, made
    shares, token = made["keys_base64"][:2], made["root_token"]
    manual.until(lambda: [manual.health(node) for node in NODES] == [SEALED] * 3, "the nodes know of it")

    unseal(FIRST, shares)
    manual.until(lambda: manual.health(FIRST) == ACTIVE, "the only unsealed node is active")
    assert [manual.health(node) for node in (SECOND, THIRD)] == [SEALED] * 2, "a sealed node stands by"
    manual.until(lambda: ask("GET", f"{manual.url}/v1/sys/health")[0] == ACTIVE, "HAProxy follows")
    url = f"{manual.url}/v1/secret/data/manual"
    assert ask("POST", url, {"data": {"a": "b"}}, token=token)[0] == 200

    unseal(SECOND, shares)
    manual.until(lambda: manual.health(SECOND) == STANDBY, "an unsealed node stands by")
    assert manual.health(THIRD) == SEALED

    manual.containers.kill(FIRST)
    manual.until(lambda: manual.health(SECOND) == ACTIVE, "the standby takes over, not the sealed node")
    assert ask("GET", url, token=token)[1]["data"]["data"] == {"a": "b"}
    manual.containers.start(FIRST)
    manual.until(lambda: manual.health(FIRST) == SEALED, "a restarted node needs its shares again")
