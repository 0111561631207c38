"""Reading a node's database where nothing may be written: a seized disk, mounted read-only, or somebody else's files.

Nothing is made beside the file. SQLite reads a database in write-ahead mode from such a disk in two ways. Beside a log
with content (a node that runs, or one that fell) it needs that log's index, too, and makes it where it may. Without
such a log the file is whole and nobody writes it: it is opened as one that never changes.

Source: sqlite.org/wal, "Read-Only Databases"; sqlite.org/uri, "immutable".
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from exchange.store.sqlite import SCHEMA_VERSION, readable
from exchange.store.sqlite_migrations import described, expected
from exchange.store.sqlite_reads import SqliteReads
from keys.errors import IntegrityError, UnavailableError


class UnreadableError(UnavailableError):
    """What a database's write-ahead log holds cannot be read from this disk: some checks could not be made."""

    code = "UNREADABLE"  # trying again does not help

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}-wal: what is in it is not in {path.name} yet, and SQLite cannot read it from a disk that cannot be"
            " written"
        )
        self.hint = "copy the whole folder to a disk that can be written, and use the copy"


class SqliteReadOnly:
    """A node's database that is only read; the file and its folder stay as they are.

    Raises:
        IntegrityError: It is none, or its schema is not the one that this program reads.
        UnreadableError: Its write-ahead log holds what cannot be read from this disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with readable(path):
            self._connection = connect(path)
            version = self._connection.pragma("user_version")
            if version != SCHEMA_VERSION:
                raise IntegrityError(
                    f"{path}: schema {version}, this program reads {SCHEMA_VERSION}; copy the folder to a disk that can"
                    " be written and use the copy"
                )
            if described(self._connection) != expected():
                raise IntegrityError(f"{path}: the schema was changed by somebody else")
        self._reads = SqliteReads(self._connection)

    @property
    def name(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def reads(self) -> SqliteReads:
        """Return the reader; of one thread."""
        return self._reads

    def reader(self) -> SqliteReads:
        """Return the reader; of one thread."""
        return self._reads

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def may_be_written(path: Path) -> bool:
    """Return whether a file and its folder may be written by this process."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


class SqliteAside:
    """A node's database that is no longer in use; it is read as it is, whatever its schema.

    Raises:
        UnavailableError: It is not there, or is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = connect(path)
            next(iter(self._connection.execute("SELECT idx FROM entries LIMIT 1")), None)
        except apsw.Error as error:
            raise UnavailableError(f"{path}: {error}", 60) from error
        self._reads = SqliteReads(self._connection)

    @property
    def name(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def reads(self) -> SqliteReads:
        """Return the reader; of one thread."""
        return self._reads

    def reader(self) -> SqliteReads:
        """Return the reader; of one thread."""
        return self._reads

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def connect(path: Path) -> apsw.Connection:
    """Open a database that is not written; what beside it makes that impossible is named.

    Raises:
        UnreadableError: The write-ahead log beside it cannot be read here.
        apsw.Error: It is no database, or cannot be read.
    """
    if not (_has_content(path, "-wal") or _has_content(path, "-shm")):
        return _open(path, "?mode=ro&immutable=1")
    try:
        return _open(path, "?mode=ro")
    except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
        if _has_content(path, "-wal"):
            raise UnreadableError(path) from error
        return _open(path, "?mode=ro&immutable=1")  # an index without a log, left behind


def _open(path: Path, how: str) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(path.absolute().as_uri() + how, flags=flags)
    try:
        connection.set_busy_timeout(5000)
        connection.pragma("trusted_schema", False)
        connection.pragma("cell_size_check", True)
        connection.pragma("query_only", True)
        connection.pragma("user_version")  # the first read: before it, nothing of the file was looked at
    except apsw.Error:
        connection.close()
        raise
    return connection


def _has_content(path: Path, suffix: str) -> bool:
    beside = path.with_name(path.name + suffix)
    return beside.exists() and beside.stat().st_size > 0
