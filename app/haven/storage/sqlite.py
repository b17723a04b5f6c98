"""Storage in one SQLite file, for a node that runs alone.

Every statement runs in one thread of its own, one after another, so reads see each acknowledged commit. The
file is locked for as long as it is open: a second process that would also think itself alone is refused.
Not promised: more durability than the disk gives; SQLite syncs at each commit.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from haven.errors import NotApplied, OutcomeUnknown, Unavailable
from haven.storage.base import Delete, Fence, Operation, Put
from haven.storage.limits import check_commit
from haven.storage.memory import EMBEDDED_LIMITS

log = logging.getLogger("haven.storage")
T = TypeVar("T")

_SCHEMA = "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
_GET = "SELECT value FROM entries WHERE key = ?"
_LIST = """
    SELECT DISTINCT CASE instr(name, '/') WHEN 0 THEN name ELSE substr(name, 1, instr(name, '/')) END
    FROM (SELECT substr(key, ?) AS name FROM entries WHERE key >= ? AND key < ?) WHERE name != ''
"""
_PUT = "INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_PUT_IF_ABSENT = "INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
_DELETE = "DELETE FROM entries WHERE key = ?"

_AFTER_ALL = "\U0010ffff"
"""Sorts after every key: keys are text and hold no such character."""


class SqliteStorage:
    """Implements `haven.storage.base.Storage`; it cannot fence, so a commit with a fence is refused."""

    limits = EMBEDDED_LIMITS

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by its owner only; raises `Unavailable`."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        try:
            self._connection = self._thread.submit(_connect, path).result()
        except (sqlite3.Error, OSError) as error:
            self._thread.shutdown()
            raise Unavailable(f"cannot open the storage file {path}: {error}") from error

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None; raises `Unavailable`."""
        row = await self._read(lambda: self._connection.execute(_GET, (key,)).fetchone())
        return None if row is None else bytes(row[0])

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the value of each key; raises `Unavailable`."""
        return {key: await self.get(key) for key in keys}

    async def list(self, prefix: str) -> list[str]:
        """Return the names right below `prefix`, sorted, folders with a slash; raises `Unavailable`."""
        bounds = (len(prefix) + 1, prefix, prefix + _AFTER_ALL)
        rows = await self._read(lambda: self._connection.execute(_LIST, bounds).fetchall())
        return sorted(str(row[0]) for row in rows)

    async def commit(self, operations: Sequence[Operation], fence: Fence | None) -> None:
        """Apply all operations or none; see `haven.storage.base.Storage`."""
        check_commit(operations, self.limits)
        if fence is not None:
            raise NotApplied("this storage has no locks and cannot fence a write")
        await self._run(lambda: self._commit(operations))

    async def close(self) -> None:
        """Close the file, after what was handed to it."""
        await self._run(self._connection.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        """Run in the storage's thread; goes on to the end when the caller is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            return await self._run(work)
        except sqlite3.Error as error:
            raise Unavailable(f"the storage file cannot be read: {error}") from error

    def _commit(self, operations: Sequence[Operation]) -> None:
        """Apply the operations in one transaction; runs in the storage's thread."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for operation in operations:
                self._apply(operation)
        except (sqlite3.Error, NotApplied) as error:
            self._roll_back()
            raise NotApplied(f"the commit was rolled back: {error}") from error
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise OutcomeUnknown(f"the commit failed while it was written: {error}") from error

    def _apply(self, operation: Operation) -> None:
        """Apply one operation inside the transaction."""
        if isinstance(operation, Delete):
            self._connection.execute(_DELETE, (operation.key,))
        elif isinstance(operation, Put):
            self._connection.execute(_PUT, (operation.key, operation.value))
        elif not self._connection.execute(_PUT_IF_ABSENT, (operation.key, operation.value)).rowcount:
            raise NotApplied("a key that must not exist does")

    def _roll_back(self) -> None:
        """End the transaction where an error has not ended it."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for this process alone; its companion files take over its mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None)
    # Exclusive locking comes first: in WAL mode it then needs no shared memory, and shuts others out.
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(_SCHEMA)
    return connection
