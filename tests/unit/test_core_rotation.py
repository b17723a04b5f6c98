from typing import Any

import pytest

from haven.barrier import paths
from haven.core.rotation import UPGRADE_GRACE
from haven.errors import NotApplied, RequestError
from haven.storage.base import Put
from support.key_cluster import SetClock, TermStore, fresh, node, unsealed

DAY = 86_400


async def test_rotation_adds_a_term_and_keeps_the_shares() -> None:
    clock = SetClock()
    storage, core, keys = await fresh(clock=clock)
    store = TermStore(storage)
    view = core.view(store, "logical/1/")
    await view.commit([Put("a", b"old")])
    clock.seconds += 5
    rotation = core.rotation(store)
    await rotation.rotate()
    await view.commit([Put("b", b"new")])
    assert rotation.key_status() == {
        "term": 2,
        "install_time": "2023-11-14T22:13:25Z",
        "encryptions": 1,
    }
    again = (await unsealed(storage, keys[1:3])).view(store, "logical/1/")
    assert (await again.get("a"), await again.get("b")) == (b"old", b"new")


async def test_rotation_is_one_commit_and_a_refused_one_changes_nothing() -> None:
    storage, core, _ = await fresh()
    store = TermStore(storage)
    store.fault = "refused"
    with pytest.raises(NotApplied):
        await core.rotation(store).rotate()
    assert core.rotation(store).key_status()["term"] == 1
    await core.rotation(store).rotate()
    assert [{write.key for write in commit} for commit in store.commits] == [
        {"core/keyring", "core/master", "core/upgrade/1"}
    ]


async def test_upgrades_are_removed_once_standbys_had_time_to_follow() -> None:
    clock = SetClock()
    storage, core, _ = await fresh(clock=clock)
    store = TermStore(storage)
    rotation = core.rotation(store)
    await rotation.rotate()
    clock.seconds += UPGRADE_GRACE - 1
    await rotation.rotate()
    await rotation.maintain()
    assert await storage.list(paths.UPGRADES) == ["1", "2"]
    clock.seconds += 1
    await rotation.maintain()
    assert await storage.list(paths.UPGRADES) == ["2"]


async def test_config_as_vault_shows_it() -> None:
    storage, core, _ = await fresh()
    rotation = core.rotation(TermStore(storage))
    assert rotation.config() == {"max_operations": 3_865_470_566, "enabled": True, "interval": 0}
    await rotation.configure({"max_operations": 2_000_000, "interval": "36h", "enabled": False})
    assert rotation.config() == {"max_operations": 2_000_000, "enabled": False, "interval": "36h0m0s"}
    await rotation.configure({"interval": 0})
    assert rotation.config() == {"max_operations": 2_000_000, "enabled": False, "interval": 0}


async def test_config_is_stored_and_followed() -> None:
    storage, core, keys = await fresh()
    standby = await unsealed(storage, keys[:2])
    await core.rotation(TermStore(storage)).configure({"interval": DAY})
    await standby.follow(storage.get)
    assert standby.rotation(TermStore(storage)).config()["interval"] == "24h0m0s"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"interval": "23h"}, "interval must be greater or equal to 24h0m0s"),
        ({"max_operations": 999_999}, "max_operations must be in the range [1000000,3865470566]"),
        ({"max_operations": 3_865_470_567}, "max_operations must be in the range [1000000,3865470566]"),
    ],
)
async def test_config_out_of_range_is_refused(body: dict[str, Any], text: str) -> None:
    storage, core, _ = await fresh()
    rotation = core.rotation(TermStore(storage))
    before = rotation.config()
    with pytest.raises(RequestError) as caught:
        await rotation.configure(body)
    assert (caught.value.status, caught.value.errors) == (400, [text])
    assert rotation.config() == before


async def test_rotates_by_itself_when_the_key_is_old() -> None:
    clock = SetClock()
    storage, core, _ = await fresh(clock=clock)
    rotation = core.rotation(TermStore(storage))
    await rotation.configure({"interval": DAY})
    clock.seconds += DAY - 1
    await rotation.maintain()
    assert rotation.key_status()["term"] == 1
    clock.seconds += 1
    await rotation.maintain()
    assert rotation.key_status()["term"] == 2


@pytest.mark.parametrize(("enabled", "term"), [(True, 2), (False, 1)])
async def test_rotates_by_itself_after_so_many_encryptions(enabled: bool, term: int) -> None:
    storage, core, _ = await fresh()
    rotation = core.rotation(TermStore(storage))
    await rotation.configure({"max_operations": 1_000_000, "enabled": enabled})
    core.barrier._uncounted = 999_999
    await rotation.maintain()
    assert rotation.key_status()["term"] == 1
    core.barrier._uncounted += 1
    await rotation.maintain()
    assert rotation.key_status()["term"] == term


async def test_counts_are_stored_and_nothing_is_written_without_need() -> None:
    storage, core, keys = await fresh()
    store = TermStore(storage)
    await core.view(store, "x/").commit([Put("a", b"1"), Put("b", b"2")])
    rotation = core.rotation(store)
    await rotation.maintain()
    written = len(store.commits)
    await rotation.maintain()
    assert len(store.commits) == written
    other = await unsealed(storage, keys[:2])
    assert other.rotation(store).key_status()["encryptions"] == 2


async def test_sealed_node_has_no_key_status() -> None:
    storage, core, _ = await fresh()
    with pytest.raises(Exception, match="Vault is sealed"):
        node(storage).rotation(TermStore(storage)).key_status()
    assert core.rotation(TermStore(storage)).key_status()["term"] == 1
