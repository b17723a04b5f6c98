from haven.core.bootstrap import initial_entries
from haven.core.mounts import MountTable


def test_a_new_cluster_fits_one_commit_and_has_no_two_alike() -> None:
    (one, entries), (two, others) = initial_entries(1.0), initial_entries(1.0)
    assert one != two
    assert len(dict(entries)) == len(entries) < 10
    first, second = dict(entries), dict(others)
    assert first["sys/token/salt"] != second["sys/token/salt"]
    uuids = {entry.uuid for raw in (first, second) for entry in MountTable.decode(raw["core/mounts"]).entries}
    assert len(uuids) == 8


def test_the_root_token_is_not_among_what_is_stored() -> None:
    token, entries = initial_entries(1.0)
    assert token.startswith("hvs.")
    for path, value in entries:
        assert token not in path
        assert token.encode() not in value
