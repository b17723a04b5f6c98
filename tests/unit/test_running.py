import asyncio

import pytest

from haven.core.locks import KeyLocks
from haven.core.logical import Request, Response, Verb
from haven.errors import OutcomeUnknown
from haven.storage.base import Put
from support.running_core import Core, Refused, one_error, start


@pytest.fixture
async def core() -> Core:
    return await start()


async def test_a_request_without_or_with_a_bad_token_is_denied(core: Core) -> None:
    for token in ("", "hvs.wrong"):
        with Refused(403, "permission denied"):
            await core.read("sys/mounts", token=token)


async def test_activation_reads_few_keys_and_writes_none(core: Core) -> None:
    reads: list[str] = []
    get = core.view.get

    async def counted(key: str) -> bytes | None:
        reads.append(key)
        return await get(key)

    core.view.get = counted  # type: ignore[method-assign]
    await core.restarted()
    assert reads == ["core/mounts", "sys/token/salt"]
    assert core.view.commits == []


async def test_what_is_stored_never_holds_a_token(core: Core) -> None:
    child = await core.token(policies=["default"])
    for key, value in core.view.values.items():
        for token in (core.root, child):
            assert token not in key
            assert token.encode() not in value


async def test_an_unknown_path_is_404_for_root_and_403_for_others(core: Core) -> None:
    with Refused(404, 'no handler for route "nosuch/path". route entry not found.'):
        await core.read("nosuch/path")
    with Refused(403, one_error("permission denied")):
        await core.read("nosuch/path", token=await core.token(policies=["default"]))


@pytest.mark.parametrize("path", ["secret/data/../x", "secret/data/a/..", "secret/data/a..b"])
async def test_a_relative_path_is_refused(core: Core, path: str) -> None:
    with Refused(400, "relative paths not supported"):
        await core.write(path, {"data": {}})


async def test_a_path_that_ends_in_a_slash_or_has_control_characters_is_not_written(core: Core) -> None:
    with Refused(400, "cannot write to a path ending in '/'"):
        await core.write("secret/data/a/", {"data": {"a": 1}})
    with Refused(400):
        await core.write("secret/data/a\x00b", {"data": {"a": 1}})
    assert core.view.commits == []


async def test_policies_decide_between_create_and_update(core: Core) -> None:
    rules = 'path "secret/data/*" { capabilities = ["create"] }'
    await core.write("sys/policies/acl/once", {"policy": rules})
    token = await core.token(policies=["once"])
    await core.write("secret/data/a", {"data": {"n": 1}}, token=token)
    with Refused(403):
        await core.write("secret/data/a", {"data": {"n": 2}}, token=token)
    with Refused(403):
        await core.read("secret/data/a", token=token)


async def test_a_changed_policy_counts_at_once(core: Core) -> None:
    await core.write("secret/data/a", {"data": {"n": 1}})
    token = await core.token(policies=["reader"])
    with Refused(403):
        await core.read("secret/data/a", token=token)
    await core.write("sys/policy/reader", {"policy": 'path "secret/data/a" { capabilities = ["read"] }'})
    assert (await core.read("secret/data/a", token=token))["data"] == {"n": 1}
    await core(Verb.DELETE, "sys/policy/reader")
    with Refused(403):
        await core.read("secret/data/a", token=token)


async def test_seal_and_step_down_need_sudo(core: Core) -> None:
    await core.running.authorize(core.root, "sys/seal")
    await core.write("sys/policy/p", {"policy": 'path "sys/*" { capabilities = ["update"] }'})
    token = await core.token(policies=["p"])
    with Refused(403, one_error("permission denied")):
        await core.running.authorize(token, "sys/step-down")
    await core.write("sys/policy/p", {"policy": 'path "sys/*" { capabilities = ["update", "sudo"] }'})
    await core.running.authorize(token, "sys/step-down")
    with Refused(403, "permission denied"):
        await core.running.authorize("", "sys/seal")


async def test_extensions_answer_below_sys_and_are_guarded_by_policies() -> None:
    asked: list[str] = []

    async def rotate(request: Request) -> Response | None:
        asked.append(request.path)
        return None

    core = await start({"rotate": rotate})
    await core.write("sys/rotate")
    await core.write("sys/rotate/config", {"interval": "24h"})
    assert asked == ["rotate", "rotate/config"]
    with Refused(403):
        await core.write("sys/rotate", token=await core.token(policies=["default"]))
    with Refused(404, one_error("unsupported path")):
        await core.write("sys/rotated")


async def test_concurrent_check_and_set_writes_have_one_winner(core: Core) -> None:
    async def write(value: int) -> bool:
        try:
            await core.write("secret/data/a", {"data": {"n": value}, "options": {"cas": 0}})
        except Exception:
            return False
        return True

    core.view.commit = _slow(core.view)  # type: ignore[method-assign]
    assert sum(await asyncio.gather(*(write(n) for n in range(10)))) == 1
    assert (await core.read("secret/metadata/a"))["current_version"] == 1


async def test_concurrent_mount_changes_are_all_kept(core: Core) -> None:
    core.view.commit = _slow(core.view)  # type: ignore[method-assign]
    await asyncio.gather(*(core.write(f"sys/mounts/m{n}", {"type": "kv"}) for n in range(8)))
    for one in (core, await core.restarted()):
        assert {f"m{n}/" for n in range(8)} <= (await one.read("sys/mounts")).keys()


@pytest.mark.parametrize("applied", [False, True])
async def test_a_mount_change_of_unknown_outcome_is_read_again(core: Core, applied: bool) -> None:
    core.view.failures = [(OutcomeUnknown("lost"), applied)]
    with pytest.raises(OutcomeUnknown):
        await core.write("sys/mounts/kv", {"type": "kv"})
    assert ("kv/" in await core.read("sys/mounts")) is applied


async def test_locks_are_kept_only_while_they_are_used() -> None:
    locks, order = KeyLocks(), []

    async def hold(key: str, number: int) -> None:
        async with locks.hold(key):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    tasks = [asyncio.create_task(hold("a", number)) for number in range(4)]
    await asyncio.sleep(0)
    assert len(locks) == 1
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 0, 1, 1, 3, 3]
    assert len(locks) == 0


def _slow(view):  # type: ignore[no-untyped-def]
    commit = view.commit

    async def slow(operations: list[Put]) -> None:
        await asyncio.sleep(0)
        await commit(operations)
        await asyncio.sleep(0)

    return slow
