import pytest

from haven.core.logical import Verb
from support.running_core import Core, Refused, one_error, start


@pytest.fixture
async def core() -> Core:
    core = await start()
    await core.write("sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
    return core


@pytest.mark.parametrize("mount", ["kv", "cubbyhole"])
async def test_write_read_list_delete(core: Core, mount: str) -> None:
    with Refused(404):
        await core(Verb.LIST, mount)
    assert await core.write(f"{mount}/a/b", {"x": [1, {"y": None}]}) is None
    assert await core.read(f"{mount}/a/b") == {"x": [1, {"y": None}]}
    listed = await core(Verb.LIST, mount)
    assert listed is not None
    assert listed.data == {"keys": ["a/"]}
    await core(Verb.DELETE, f"{mount}/a/b")
    with Refused(404):
        await core.read(f"{mount}/a/b")
    with Refused(400, "missing data fields"):
        await core.write(f"{mount}/a", {})
    with Refused(405, one_error("unsupported operation")):
        await core(Verb.PATCH, f"{mount}/a", {"x": 1})


@pytest.mark.parametrize(
    ("data", "seconds"),
    [({"a": 1}, 2764800), ({"ttl": "1h"}, 3600), ({"lease": 90}, 90), ({"ttl": "soon"}, 2764800)],
)
async def test_a_read_of_version_1_says_how_long_it_may_be_kept(
    core: Core, data: dict[str, object], seconds: int
) -> None:
    await core.write("kv/a", data)
    response = await core(Verb.READ, "kv/a")
    assert response is not None
    assert response.lease_duration == seconds


@pytest.mark.parametrize("path", ["kv/n", "cubbyhole/n", "secret/data/n"])
async def test_whole_numbers_keep_their_digits(core: Core, path: str) -> None:
    numbers = {"n": [2**64, -(2**70), 2**63, 1]}
    await core.write(path, {"data": numbers})
    read = (await core.read(path))["data"]
    assert read == numbers
    assert all(isinstance(number, int) for number in read["n"])


async def test_a_drawer_is_private_and_removed_with_its_token(core: Core) -> None:
    one, two = await core.token(), await core.token()
    await core.write("cubbyhole/a", {"x": 1}, token=one)
    for token in (two, core.root):
        with Refused(404):
            await core.read("cubbyhole/a", token=token)
    before = len(core.view.values)
    await core(Verb.UPDATE, "auth/token/revoke-self", token=one)
    assert len(core.view.values) == before - 4
    with Refused(403):
        await core.read("cubbyhole/a", token=one)


async def test_the_mount_says_how_long_a_read_may_be_kept(core: Core) -> None:
    await core.write("sys/mounts/kv/tune", {"default_lease_ttl": "10m"})
    await core.write("kv/a", {"a": 1})
    response = await core(Verb.READ, "kv/a")
    assert response is not None
    assert response.lease_duration == 600
