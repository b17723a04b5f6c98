import asyncio
import json
from typing import Any

import pytest

from haven.core.logical import Verb
from haven.core.mounts import MountEntry, MountTable
from haven.core.system.interface import UNSEEN
from haven.errors import NotActive
from support.running_core import Core, Refused, start


@pytest.fixture
async def core() -> Core:
    return await start()


async def test_the_mounts_of_a_new_cluster(core: Core) -> None:
    mounts = await core.read("sys/mounts")
    assert sorted(mounts) == ["cubbyhole/", "secret/", "sys/"]
    secret = dict(mounts["secret/"])
    assert secret.pop("accessor").startswith("kv_")
    assert len(secret.pop("uuid")) == 36
    assert secret == {
        "type": "kv",
        "description": "key/value secret storage",
        "local": False,
        "seal_wrap": False,
        "external_entropy_access": False,
        "options": {"version": "2"},
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False},
    }
    assert sorted(await core.read("sys/auth")) == ["token/"]


async def test_enable_use_and_disable(core: Core) -> None:
    await core.write("sys/mounts/team/kv", {"type": "kv-v2", "description": "ours"})
    assert (await core.read("sys/mounts/team/kv"))["description"] == "ours"
    await core.write("team/kv/data/x", {"data": {"a": 1}})
    after = await core.restarted()
    assert (await after.read("team/kv/data/x"))["data"] == {"a": 1}
    before = set(core.view.values)
    await core(Verb.DELETE, "sys/mounts/team/kv")
    assert not [key for key in core.view.values if key.endswith("/x")]
    assert len(before) > len(core.view.values)
    with Refused(404):
        await core.read("team/kv/data/x")
    await core(Verb.DELETE, "sys/mounts/team/kv")
    await core.write("sys/mounts/team/kv", {"type": "kv"})
    with Refused(404):
        await core.read("team/kv/x")


@pytest.mark.parametrize("cut", range(1, 6))
async def test_a_removal_that_was_cut_short_is_finished_by_the_next_term(core: Core, cut: int) -> None:
    await core.write("sys/mounts/big", {"type": "kv"})
    for n in range(120):
        await core.write(f"big/folder{n % 7}/{n}", {"n": n})
    commit, done = core.view.commit, 0

    async def limited(operations: Any) -> None:
        nonlocal done
        done += 1
        if done > cut:
            raise NotActive
        await commit(operations)

    core.view.commit = limited  # type: ignore[method-assign]
    try:
        await core(Verb.DELETE, "sys/mounts/big")
    except NotActive:
        assert cut < 5
    core.view.commit = commit  # type: ignore[method-assign]
    after = await core.restarted()
    assert "big/" not in await after.read("sys/mounts")
    await after.write("sys/mounts/big", {"type": "kv"})
    await after.running.tidy()
    assert not [key for key in core.view.values if "folder" in key]
    entries = json.loads(core.view.values["core/mounts"])["entries"]
    assert sum(entry["path"] == "big/" for entry in entries) == 1


@pytest.mark.parametrize(
    ("path", "taken"), [("secret", "secret/"), ("secret/x", "secret/"), ("a", "a/b/"), ("a/b/c", "a/b/")]
)
async def test_mounts_do_not_overlap(core: Core, path: str, taken: str) -> None:
    await core.write("sys/mounts/a/b", {"type": "kv"})
    with Refused(400, f"path is already in use at {taken}"):
        await core.write(f"sys/mounts/{path}", {"type": "kv"})


async def test_refusals(core: Core) -> None:
    with Refused(400, "plugin not found in the catalog: nope"):
        await core.write("sys/mounts/x", {"type": "nope"})
    with Refused(400, "plugin not found in the catalog: approle"):
        await core.write("sys/auth/x", {"type": "approle"})
    with Refused(400, "backend type must be specified as a string"):
        await core.write("sys/mounts/x", {})
    with Refused(403, 'mount type of "cubbyhole" is not mountable'):
        await core.write("sys/mounts/x", {"type": "cubbyhole"})
    for path in ("sys", "sys/x", "auth/x", "cubbyhole"):
        with Refused(403, f'cannot mount "{path}/"'):
            await core.write(f"sys/mounts/{path}", {"type": "kv"})
    for path in ("sys", "cubbyhole"):
        with Refused(400, f'cannot unmount "{path}/"'):
            await core(Verb.DELETE, f"sys/mounts/{path}")
    with Refused(400, "token credential backend cannot be disabled"):
        await core(Verb.DELETE, "sys/auth/token")
    with Refused(400, "No secret engine mount at none/"):
        await core.read("sys/mounts/none")
    with Refused(400, "No auth engine at none/"):
        await core.read("sys/auth/none")
    assert core.view.commits == []


async def test_tune(core: Core) -> None:
    assert await core.read("sys/mounts/secret/tune") == {
        "default_lease_ttl": 2764800,
        "max_lease_ttl": 2764800,
        "force_no_cache": False,
        "description": "key/value secret storage",
        "options": {"version": "2"},
    }
    await core.write("sys/mounts/secret/tune", {"default_lease_ttl": "1h", "description": "new"})
    await core.write("sys/mounts/secret/tune", {"listing_visibility": "unauth"})
    tuned = await core.read("sys/mounts/secret/tune")
    assert (tuned["default_lease_ttl"], tuned["description"]) == (3600, "new")
    assert tuned["listing_visibility"] == "unauth"
    assert (await core.read("sys/auth/token/tune"))["token_type"] == "default-service"
    await core.write("sys/mounts/secret/tune", {"max_lease_ttl": "2h"})
    with Refused(400, "backend max lease TTL of 7200 would be less than backend default lease TTL of 10800"):
        await core.write("sys/mounts/secret/tune", {"default_lease_ttl": "3h"})
    for body in ({"default_lease_ttl": "x"}, {"listing_visibility": "all"}, {"options": {"version": "1"}}):
        with Refused(400):
            await core.write("sys/mounts/secret/tune", body)
    with Refused(400, 'cannot fetch sysview for path "none/"'):
        await core.read("sys/mounts/none/tune")


async def test_the_interface_shows_what_a_token_can_reach(core: Core) -> None:
    await core.write("sys/mounts/other", {"type": "kv"})
    await core.write("sys/policy/p", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'})
    token = await core.token(policies=["p"])
    shown = await core.read("sys/internal/ui/mounts", token=token)
    assert sorted(shown["secret"]) == ["cubbyhole/", "secret/", "sys/"]
    one = await core.read("sys/internal/ui/mounts/secret/foo", token=token)
    assert (one["path"], one["type"], one["options"]) == ("secret/", "kv", {"version": "2"})
    for path in ("other/x", "nosuch/x"):
        with Refused(403, UNSEEN.format(path)):
            await core.read(f"sys/internal/ui/mounts/{path}", token=token)
    with Refused(403, "permission denied"):
        await core.read("sys/internal/ui/mounts/secret", token="")
    assert await core.read("sys/internal/ui/mounts", token="") == {"auth": {}, "secret": {}}
    await core.write("sys/mounts/other/tune", {"listing_visibility": "unauth"})
    shown = await core.read("sys/internal/ui/mounts", token="")
    assert shown["secret"] == {"other/": {"type": "kv", "description": "", "options": None}}


async def test_remount(core: Core) -> None:
    await core.write("sys/mounts/old", {"type": "kv"})
    await core.write("old/a", {"x": 1})
    moved = await core.write("sys/remount", {"from": "old", "to": "new/place"})
    assert await core.read("new/place/a") == {"x": 1}
    with Refused(404):
        await core.read("old/a")
    status = await core.read(f"sys/remount/status/{moved['migration_id']}")
    assert status["migration_info"]["status"] == "success"
    for source, target in (("none", "x"), ("new/place", "secret/x"), ("sys", "x"), ("new/place", "auth/x")):
        with Refused(400):
            await core.write("sys/remount", {"from": source, "to": target})
    await core.write("sys/remount", {"from": "new/place", "to": "new"})


async def test_auth_mounts_need_sudo(core: Core) -> None:
    await core.write("sys/policy/p", {"policy": 'path "sys/auth/*" { capabilities = ["read"] }'})
    with Refused(403):
        await core.read("sys/auth/token", token=await core.token(policies=["p"]))


def test_the_longest_mount_wins() -> None:
    table = MountTable(tuple(MountEntry.new("secret", path, "kv") for path in ("a/", "a/b/c/")))
    for path, mount in {"a/b/x": "a/", "a/b/c/x": "a/b/c/", "a/": "a/", "a/b/c/": "a/b/c/"}.items():
        entry = table.match(path)
        assert entry is not None
        assert entry.path == mount
    assert table.match("b/x") is None
    assert table.match("a") is None


async def test_a_removal_waits_for_requests_under_way(core: Core) -> None:
    await core.write("sys/mounts/kv", {"type": "kv"})
    commit, release = core.view.commit, asyncio.Event()

    async def held(operations: Any) -> None:
        if operations[0].key.endswith("/late"):
            await release.wait()
        await commit(operations)

    core.view.commit = held  # type: ignore[method-assign]
    writing = asyncio.create_task(core.write("kv/late", {"x": 1}))
    await asyncio.sleep(0)
    removing = asyncio.create_task(core(Verb.DELETE, "sys/mounts/kv"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not removing.done()
    release.set()
    await asyncio.gather(writing, removing)
    assert not [key for key in core.view.values if key.endswith("/late")]
