import asyncio

import pytest

from haven.core.logical import Verb
from haven.errors import NotApplied, ValueTooLarge
from support.running_core import Core, Refused, one_error, start


@pytest.fixture
async def core() -> Core:
    return await start()


async def put(core: Core, n: int, **options: object) -> dict[str, object]:
    body: dict[str, object] = {"data": {"n": n}}
    if options:
        body["options"] = options
    answer: dict[str, object] = await core.write("secret/data/a/b", body)
    return answer


async def test_write_and_read(core: Core) -> None:
    answer = await put(core, 1)
    assert answer == {
        "version": 1,
        "created_time": "2023-11-14T22:13:20Z",
        "deletion_time": "",
        "destroyed": False,
        "custom_metadata": None,
    }
    assert await core.read("secret/data/a/b") == {"data": {"n": 1}, "metadata": answer}
    assert len(core.view.commits) == 1


async def test_a_version_is_read_by_number(core: Core) -> None:
    await put(core, 1)
    await put(core, 2)
    assert (await core.read("secret/data/a/b", version="1"))["data"] == {"n": 1}
    assert (await core.read("secret/data/a/b", version="0"))["data"] == {"n": 2}
    with Refused(404):
        await core.read("secret/data/a/b", version="3")
    with Refused(400):
        await core.read("secret/data/a/b", version="x")


async def test_a_key_and_one_below_it_do_not_collide(core: Core) -> None:
    await core.write("secret/data/a", {"data": {"n": 1}})
    await core.write("secret/data/a/1", {"data": {"n": 2}})
    await core(Verb.DELETE, "secret/metadata/a")
    assert (await core.read("secret/data/a/1"))["data"] == {"n": 2}


async def test_check_and_set(core: Core) -> None:
    mismatch = "check-and-set parameter did not match the current version"
    await put(core, 1, cas=0)
    with Refused(400, mismatch):
        await put(core, 2, cas=0)
    await put(core, 2, cas="1")
    with Refused(400, "error parsing check-and-set parameter"):
        await put(core, 3, cas="one")
    await core.write("secret/config", {"cas_required": True})
    with Refused(400, "check-and-set parameter required for this call"):
        await put(core, 3)
    await core.write("secret/config", {"cas_required": False})
    await core.write("secret/metadata/a/b", {"cas_required": True})
    with Refused(400, "check-and-set parameter required for this call"):
        await put(core, 3)


async def test_a_write_without_data_is_refused(core: Core) -> None:
    with Refused(400, "no data provided"):
        await core.write("secret/data/a", {})
    with Refused(400):
        await core.write("secret/data/a", {"data": "text"})
    with Refused(404):
        await core.read("secret/data/a")


async def test_delete_answers_404_with_the_metadata_and_undelete_brings_it_back(core: Core) -> None:
    await put(core, 1)
    await core(Verb.DELETE, "secret/data/a/b")
    response = await core(Verb.READ, "secret/data/a/b")
    assert response is not None
    assert response.data is not None
    assert response.status == 404
    assert response.data["data"] is None
    assert response.data["metadata"]["deletion_time"] == "2023-11-14T22:13:20Z"
    await core.write("secret/undelete/a/b", {"versions": [1, 7]})
    assert (await core.read("secret/data/a/b"))["data"] == {"n": 1}
    await core.write("secret/delete/a/b", {"versions": "1"})
    response = await core(Verb.READ, "secret/data/a/b")
    assert response is not None
    assert response.status == 404


async def test_destroy_removes_the_value_for_good(core: Core) -> None:
    await put(core, 1)
    await put(core, 2)
    await core.write("secret/destroy/a/b", {"versions": ["1"]})
    response = await core(Verb.READ, "secret/data/a/b", version="1")
    assert response is not None
    assert response.data is not None
    assert (response.status, response.data["metadata"]["destroyed"]) == (404, True)
    await core.write("secret/undelete/a/b", {"versions": [1]})
    response = await core(Verb.READ, "secret/data/a/b", version="1")
    assert response is not None
    assert response.status == 404
    assert sum("/data/" in key for key in core.view.values) == 1


@pytest.mark.parametrize("action", ["delete", "undelete", "destroy"])
async def test_versions_must_be_given_but_need_not_exist(core: Core, action: str) -> None:
    with Refused(400):
        await core.write(f"secret/{action}/none", {})
    assert await core.write(f"secret/{action}/none", {"versions": [1]}) is None
    with Refused(405, one_error("unsupported operation")):
        await core.read(f"secret/{action}/none")


async def test_many_versions_are_destroyed_and_erased_in_bounded_commits(core: Core) -> None:
    await core.write("secret/config", {"max_versions": 200})
    for n in range(1, 131):
        await put(core, n)
    await core.write("secret/destroy/a/b", {"versions": list(range(1, 101))})
    assert sum("/data/" in key for key in core.view.values) == 30
    await core(Verb.DELETE, "secret/metadata/a/b")
    with Refused(404):
        await core.read("secret/metadata/a/b")
    assert not [key for key in core.view.values if "a/b" in key]


async def test_old_versions_fall_off(core: Core) -> None:
    for n in range(1, 13):
        await put(core, n)
    metadata = await core.read("secret/metadata/a/b")
    assert (metadata["current_version"], metadata["oldest_version"]) == (12, 3)
    assert sorted(map(int, metadata["versions"])) == list(range(3, 13))
    assert sum("/data/" in key for key in core.view.values) == 10
    with Refused(404):
        await core.read("secret/data/a/b", version="2")


async def test_a_lowered_number_of_versions_is_reached_in_steps(core: Core) -> None:
    await core.write("secret/metadata/a/b", {"max_versions": 120})
    for n in range(1, 121):
        await put(core, n)
    await core.write("secret/metadata/a/b", {"max_versions": 2})
    for n in range(121, 125):
        await put(core, n)
    metadata = await core.read("secret/metadata/a/b")
    assert sorted(map(int, metadata["versions"])) == [123, 124]
    assert metadata["oldest_version"] == 123
    assert sum("/data/" in key for key in core.view.values) == 2


async def test_patch_merges(core: Core) -> None:
    with Refused(404):
        await core(Verb.PATCH, "secret/data/a/b", {"data": {"x": 1}})
    await core.write("secret/data/a/b", {"data": {"keep": 1, "drop": 2, "deep": {"a": 1, "b": 2}}})
    response = await core(Verb.PATCH, "secret/data/a/b", {"data": {"drop": None, "deep": {"b": 3}}})
    assert response is not None
    assert response.data is not None
    assert response.data["version"] == 2
    assert (await core.read("secret/data/a/b"))["data"] == {"keep": 1, "deep": {"a": 1, "b": 3}}
    with Refused(400, "no data provided"):
        await core(Verb.PATCH, "secret/data/a/b", {})
    await core(Verb.DELETE, "secret/data/a/b")
    response = await core(Verb.PATCH, "secret/data/a/b", {"data": {"x": 1}})
    assert response is not None
    assert response.status == 404


async def test_delete_version_after(core: Core) -> None:
    await core.write("secret/config", {"delete_version_after": "1h"})
    assert (await core.read("secret/config"))["delete_version_after"] == "1h0m0s"
    answer = await put(core, 1)
    assert answer["deletion_time"] == "2023-11-14T23:13:20Z"
    await core.write("secret/metadata/a/b", {"delete_version_after": 60})
    await put(core, 2)
    core.clock.time += 61
    response = await core(Verb.READ, "secret/data/a/b")
    assert response is not None
    assert response.status == 404
    assert (await core.read("secret/data/a/b", version="1"))["data"] == {"n": 1}
    await core.write("secret/config", {"delete_version_after": "-1s"})
    assert (await put(core, 3))["deletion_time"] == ""
    with Refused(400):
        await core.write("secret/metadata/a/b", {"delete_version_after": "-5s"})


async def test_metadata(core: Core) -> None:
    assert await core.write("secret/metadata/m", {}) is None
    with Refused(404):
        await core.read("secret/metadata/m")
    await core.write("secret/metadata/m", {"max_versions": 3, "custom_metadata": {"owner": "me", "n": 1}})
    assert await core.read("secret/metadata/m") == {
        "versions": {},
        "current_version": 0,
        "oldest_version": 0,
        "created_time": "2023-11-14T22:13:20Z",
        "updated_time": "2023-11-14T22:13:20Z",
        "max_versions": 3,
        "cas_required": False,
        "delete_version_after": "0s",
        "custom_metadata": {"owner": "me", "n": "1"},
    }
    await core(Verb.PATCH, "secret/metadata/m", {"custom_metadata": {"n": None, "x": "y"}})
    assert (await core.read("secret/metadata/m"))["custom_metadata"] == {"owner": "me", "x": "y"}
    await core.write("secret/metadata/m", {"custom_metadata": {}})
    assert (await core.read("secret/metadata/m"))["custom_metadata"] is None
    with Refused(404):
        await core(Verb.PATCH, "secret/metadata/none", {"max_versions": 1})


async def test_custom_metadata_is_checked(core: Core) -> None:
    with Refused(
        400,
        "2 errors occurred:\n\t* custom_metadata validation failed: length of key "
        '"" is 0 but must be 0 < len(key) <= 128\n\t* custom_metadata validation failed: length of value '
        'for key "a" is 0 but must be 0 < len(value) <= 512\n\n',
    ):
        await core.write("secret/metadata/m", {"custom_metadata": {"": "x", "a": ""}})
    with Refused(400):
        await core.write("secret/metadata/m", {"custom_metadata": {str(n): "x" for n in range(65)}})


async def test_cas_required_by_the_mount_cannot_be_lifted_for_a_key(core: Core) -> None:
    await core.write("secret/config", {"cas_required": True})
    response = await core(Verb.UPDATE, "secret/metadata/m", {"cas_required": False})
    assert response is not None
    assert "mandated by backend config" in response.warnings[0]


async def test_list(core: Core) -> None:
    with Refused(404):
        await core(Verb.LIST, "secret/metadata")
    for path in ("a", "b/c", "b/d"):
        await core.write(f"secret/data/{path}", {"data": {"x": 1}})
    response = await core(Verb.LIST, "secret/metadata")
    assert response is not None
    assert response.data == {"keys": ["a", "b/"]}
    response = await core(Verb.LIST, "secret/metadata/b", limit="1", after="c")
    assert response is not None
    assert response.data == {"keys": ["d"]}


async def test_subkeys(core: Core) -> None:
    await core.write("secret/data/s", {"data": {"a": 1, "b": {"c": {"d": 2}, "e": {}}, "f": [1]}})
    assert (await core.read("secret/subkeys/s"))["subkeys"] == {
        "a": None,
        "b": {"c": {"d": None}, "e": None},
        "f": None,
    }
    assert (await core.read("secret/subkeys/s", depth="1"))["subkeys"] == {"a": None, "b": None, "f": None}
    assert (await core.read("secret/subkeys/s", depth="2"))["subkeys"]["b"] == {"c": None, "e": None}
    await core(Verb.DELETE, "secret/data/s")
    response = await core(Verb.READ, "secret/subkeys/s")
    assert response is not None
    assert response.data is not None
    assert (response.status, response.data["subkeys"]) == (404, None)


async def test_a_path_of_version_1_is_explained(core: Core) -> None:
    response = await core(Verb.READ, "secret/foo")
    assert response is not None
    assert response.status == 404
    assert "'vault kv get'" in response.warnings[0]
    response = await core(Verb.READ, "secret/data")
    assert response is not None
    assert response.warnings == ["Non-listing operations on the root of a K/V v2 mount are not supported."]


async def test_a_read_does_not_wait_for_a_write(core: Core) -> None:
    await put(core, 1)
    release = asyncio.Event()
    commit = core.view.commit

    async def held(operations: list[object]) -> None:
        await release.wait()
        await commit(operations)  # type: ignore[arg-type]

    core.view.commit = held  # type: ignore[method-assign]
    writing = asyncio.create_task(put(core, 2))
    await asyncio.sleep(0)
    assert (await core.read("secret/data/a/b"))["data"] == {"n": 1}
    release.set()
    await writing
    assert (await core.read("secret/data/a/b"))["data"] == {"n": 2}


@pytest.mark.parametrize("error", [ValueTooLarge(100), NotApplied("no")])
async def test_a_refused_write_passes_through_and_changes_nothing(core: Core, error: Exception) -> None:
    await put(core, 1)
    core.view.failures = [(error, False)]
    with pytest.raises(type(error)):
        await put(core, 2)
    await put(core, 2, cas=1)


async def test_a_read_starts_again_when_its_version_is_removed_under_its_hands(core: Core) -> None:
    await core.write("secret/metadata/a/b", {"max_versions": 1})
    await put(core, 1)
    get, interfered = core.view.get, False

    async def interfering(key: str) -> bytes | None:
        nonlocal interfered
        if "/data/1/" in key and not interfered:
            interfered = True
            await put(core, 2)
        return await get(key)

    core.view.get = interfering  # type: ignore[method-assign]
    assert (await core.read("secret/data/a/b"))["data"] == {"n": 2}
    assert interfered


async def test_a_deleted_version_stays_so_where_the_clock_is_behind(core: Core) -> None:
    await put(core, 1)
    core.clock.time += 10
    await core(Verb.DELETE, "secret/data/a/b")
    core.clock.time -= 5  # as on another node, which takes over
    answer = await core(Verb.READ, "secret/data/a/b")
    assert answer is not None
    assert answer.status == 404
    await core.write("secret/undelete/a/b", {"versions": [1]})
    assert (await core.read("secret/data/a/b"))["data"] == {"n": 1}
