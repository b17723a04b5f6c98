import sqlite3
import stat
import subprocess
import sys

import pytest

from haven.errors import NotApplied, OutcomeUnknown, Unavailable
from haven.storage.base import Delete, Fence, Put, PutIfAbsent
from haven.storage.sqlite import SqliteStorage


async def test_what_was_committed_outlives_the_storage(tmp_path):
    storage = SqliteStorage(tmp_path / "data")
    await storage.commit([Put("a/b", b"\x00\xff")], None)
    await storage.close()
    again = SqliteStorage(tmp_path / "data")
    assert await again.get("a/b") == b"\x00\xff"
    await again.close()


async def test_only_the_owner_may_read_its_files(tmp_path):
    (tmp_path / "data").touch(0o644)
    storage = SqliteStorage(tmp_path / "data")
    await storage.commit([Put("a", b"1")], None)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await storage.close()
    assert "data-wal" in modes
    assert set(modes.values()) == {0o600}


async def test_every_commit_is_synced(tmp_path):
    storage = SqliteStorage(tmp_path / "data")
    settings = await storage._run(
        lambda: [
            storage._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]
    )
    await storage.close()
    assert settings == ["wal", 2]


async def test_a_second_process_is_refused(tmp_path):
    storage = SqliteStorage(tmp_path / "data")
    await storage.commit([Put("a", b"1")], None)
    await storage.close()
    storage = SqliteStorage(tmp_path / "data")
    second = (
        "import sys; from pathlib import Path; from haven.storage.sqlite import SqliteStorage;"
        "SqliteStorage(Path(sys.argv[1]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", second, tmp_path / "data"],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    await storage.close()
    assert ended.returncode != 0
    assert "Unavailable" in ended.stderr
    assert "locked" in ended.stderr


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "data").write_bytes(b"something else entirely, longer than a header" * 100)
    with pytest.raises(Unavailable):
        SqliteStorage(tmp_path / "data")


async def test_a_fence_is_refused(tmp_path):
    storage = SqliteStorage(tmp_path / "data")
    with pytest.raises(NotApplied):
        await storage.commit([Put("a", b"1")], Fence("core/lock", "session"))
    assert await storage.get("a") is None
    await storage.close()


class FailsOn:
    """A connection on which one statement fails, as on a full disk."""

    def __init__(self, connection, statement):
        self._connection = connection
        self._statement = statement

    def execute(self, statement, *parameters):
        if statement.startswith(self._statement):
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize(("statement", "outcome"), [("DELETE", NotApplied), ("COMMIT", OutcomeUnknown)])
async def test_an_error_before_the_commit_is_known_and_one_in_it_is_not(tmp_path, statement, outcome):
    storage = SqliteStorage(tmp_path / "data")
    healthy = storage._connection
    storage._connection = FailsOn(healthy, statement)
    with pytest.raises(outcome):
        await storage.commit([Put("a", b"1"), Delete("b")], None)
    storage._connection = healthy
    assert await storage.get("a") is None
    await storage.commit([PutIfAbsent("a", b"2")], None)
    assert await storage.get("a") == b"2"
    await storage.close()


async def test_a_closed_storage_does_not_answer(tmp_path):
    storage = SqliteStorage(tmp_path / "data")
    await storage.close()
    with pytest.raises(RuntimeError):
        await storage.get("a")
