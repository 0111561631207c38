"""The SQLite engine: one file, one writer, readers beside it.

Write-ahead log with ``synchronous=FULL``, so that a commit that returned is on disk. The library is apsw's own,
because the interpreter's SQLite lies in the range of the WAL-reset fault. A schema that is not ours is refused at the
start: a restored or tampered file could otherwise bring its own triggers and views.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw

from audit.log import wal
from exchange.store import sqlite_migrations, sqlite_upgrade
from exchange.store.sqlite_migrations import described, expected
from exchange.store.sqlite_reads import SqliteReads
from exchange.store.sqlite_writes import SqliteTransaction
from keys.errors import IntegrityError, UnavailableError

SCHEMA_VERSION = sqlite_migrations.NEWEST
OF_ONE_EPOCH = frozenset({"entries", "tiles"})
SCRUB_MILLISECONDS = 200  # it waits so long for readers; whoever comes again tomorrow need not wait longer
PAGE_CACHE_KIB = 8192  # enough for the indexes' right edges; memory stays flat
WAL_PAGES = 4000  # a checkpoint of 16 MiB now and then, rather than a small one each commit
WAL_BYTES = 16 << 20  # so far it grows ahead of the commits, a step at a time
SMALL_PAGES = 32  # of the transaction before; after a larger one it grows as it is written


class NewerError(IntegrityError):
    """The file was brought up by a program that knows more than this one."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(f"{path}: a newer program has brought it up to schema {found}, and this one knows {known}")
        self.hint = "start the newer program again; docs/operators.md, Upgrades, has the way back"


class SqliteStore:
    """A node's database in one file.

    Raises:
        IntegrityError: The file is newer than this program or its schema was changed.
        UnavailableError: The file cannot be opened or another node has it open.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._local = threading.local()
        self._readers: list[apsw.Connection] = []
        self._written = self._roomy_until = 0  # pages
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        if create:
            path.touch(mode=0o600)  # its write-ahead log is made with the same mode
        try:
            self._writer = _connect(path, flags)
        except apsw.CantOpenError as error:
            raise IntegrityError(f"{path}: no database here{_advice(path)}") from error
        except apsw.NotADBError as error:
            raise IntegrityError(f"{path}: this is not a database") from error
        with readable(path):
            if create:
                self._create()
            self._bring_up()
            self._check_schema()

    def _create(self) -> None:
        if self._writer.pragma("user_version"):
            raise IntegrityError(f"{self._path}: a database is here already")
        sqlite_migrations.bring_up(self._writer, 0)

    def _bring_up(self) -> None:
        """Bring an older file up; one whose schema was changed by somebody is left as it is."""
        version = int(self._writer.pragma("user_version"))
        if 0 < version < SCHEMA_VERSION and described(self._writer) == expected(version):
            self._writer.close()  # it is done alone
            sqlite_upgrade.bring_up(self._path)
            self._writer = _connect(self._path, apsw.SQLITE_OPEN_READWRITE)

    def _check_schema(self) -> None:
        version = int(self._writer.pragma("user_version"))
        if version > SCHEMA_VERSION:
            raise NewerError(self._path, version, SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise IntegrityError(f"{self._path}: schema {version}, this program knows {SCHEMA_VERSION}")
        if described(self._writer) != expected():
            raise IntegrityError(
                f"{self._path}: the schema was changed by somebody else; restore it or rebuild the node"
            )

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """Open the one transaction; durable when this returns, undone if it raises."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except apsw.BusyError as error:
            raise UnavailableError(f"{self._path}: held by another process") from error
        transaction = SqliteTransaction(self._writer)
        try:
            yield transaction
            transaction.flush()
            self._make_room()
            self._writer.execute("COMMIT")
        except BaseException:
            if not self._writer.get_autocommit():
                self._writer.execute("ROLLBACK")
            raise

    def _make_room(self) -> None:
        """Keep the write-ahead log a step or so ahead of small transactions, up to where it starts over.

        Of a large one growing is a small part, and zeros written first would be written twice.
        """
        before, self._written = self._written, self._writer.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        if self._written >= self._roomy_until and self._written - before < SMALL_PAGES:
            wal.make_room(self._path, WAL_BYTES)
            self._roomy_until = self._written + wal.STEP_PAGES // 2

    def reads(self) -> SqliteReads:
        """Return this thread's reader."""
        reader: SqliteReads | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = self.reader()
        return reader

    def reader(self) -> SqliteReads:
        """Open a reader of its own, that may go from thread to thread."""
        connection = _connect(self._path, apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("query_only", True)
        self._readers.append(connection)
        return SqliteReads(connection)

    @property
    def name(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def guard(self) -> AbstractContextManager[None]:
        """Turn SQLite's own errors inside it into ours."""
        return readable(self._path)

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield what was kept as evidence: entry index, what it is, its bytes."""
        yield from self.reads().evidence()

    def scrub(self) -> bool:
        """Bring the write-ahead log into the file and empty it: pages from before an erasure lie in it.

        Returns:
            Whether it is empty; False where a reader was busy, and somebody tries again later.
        """
        connection = _connect(self._path, apsw.SQLITE_OPEN_READWRITE)  # its own: the writer's has a thread of its own
        connection.set_busy_timeout(SCRUB_MILLISECONDS)
        try:
            row = next(iter(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")))
        except apsw.BusyError:
            return False
        finally:
            connection.close()
        return int(row[0]) == 0

    def drop_copies(self, made_before_ms: int | None = None) -> None:
        """Destroy the copies that were made before the file was brought up; all, or those of before a time."""
        sqlite_upgrade.drop_copies(self._path, made_before_ms)

    def carry_from(self, uri: str) -> None:
        """Take over every row of another epoch's database but its log, whose entries stay where they are.

        Args:
            uri: Of a database of this very schema.
        """
        self._writer.execute("ATTACH ? AS old", (uri.partition(":")[2],))
        names = [name for kind, name, _ in described(self._writer) if kind == "table" and name not in OF_ONE_EPOCH]
        with self._writer:
            for name in names:  # of our own schema, compared with the file's when both were opened
                statement = f'INSERT INTO main."{name}" SELECT * FROM old."{name}"'  # noqa: S608 - see above
                self._writer.execute(statement)
        self._writer.execute("DETACH old")

    def close(self) -> None:
        for connection in (*self._readers, self._writer):
            connection.close()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise IntegrityError for a database whose pages are damaged; a disk that cannot be read or is full may come back.

    Raises:
        IntegrityError: The file contradicts itself.
        UnavailableError: The disk does.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise IntegrityError(f"{path}: the database is damaged ({error}); bring back a whole copy of it") from error
    except (apsw.IOError, apsw.FullError) as error:
        raise UnavailableError(f"{path}: {error}") from error


def _connect(path: Path, flags: int) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=200)
    connection.set_busy_timeout(5000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")
    # One plan a statement, whatever is bound: otherwise a join is compiled again for each bulletin that is looked for.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.pragma("trusted_schema", False)
    connection.pragma("cell_size_check", True)
    connection.pragma("secure_delete", True)
    connection.pragma("foreign_keys", True)
    connection.pragma("cache_size", -PAGE_CACHE_KIB)
    connection.wal_autocheckpoint(WAL_PAGES)
    return connection


def _advice(path: Path) -> str:
    """Return what to do about a database that is missing; where there was one, a new one would be a second history."""
    if path.exists():
        return ", or none that may be written; to read from such a disk, copy the home elsewhere first"
    if any((path.parent / name).exists() for name in ("lock.db", "log")):
        return "; bring back the newest one, or begin a new epoch: exchange node recover --from-peers"
    return "; exchange node init makes one"
