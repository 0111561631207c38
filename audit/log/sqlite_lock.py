"""The lock as a SQLite file; the contract is ``audit.log.lock.Lock``.

WAL with ``synchronous=FULL``: one flush a swap, and the swap survives power loss.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

import apsw

from audit.log import lock_schema
from audit.log.sqlite_witness import SqliteWitnessState
from audit.log.wal import STEP_PAGES, make_room
from audit.note.checkpoint import Checkpoint
from audit.tree.merkle import EMPTY_ROOT
from keys.errors import IntegrityError

# What this node cosigns for others is written to the same file, one flush each: where the disk is slow and many ask at
# once, our own turn comes late. A log that waits is late; one that gives up signs nothing any more.
_BUSY_MILLISECONDS = 60_000


class SqliteLock:
    """One file, and one connection for all threads."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection
        self._turn = threading.RLock()  # the writer's flush, its acts and the daily work ask in threads of their own

    @property
    def name(self) -> str:
        """Return the file's path."""
        return str(self._path)

    @classmethod
    def create(cls, path: Path, origin: str) -> "SqliteLock":
        """Make the lock at size 0. Only ``exchange node init`` does this, for a home without any log.

        Raises:
            IntegrityError: The file is there already.
        """
        if path.exists():
            raise IntegrityError(f"{path} exists already: it is never made anew")
        path.touch(mode=0o600, exist_ok=False)
        connection = _connect(path)
        with connection:
            for table in (lock_schema.HEAD, lock_schema.COSIGNED, lock_schema.CONFLICTS, lock_schema.ERASED):
                connection.execute(table)
            connection.execute("INSERT INTO head VALUES (?, 0, ?)", (origin, EMPTY_ROOT))
            connection.pragma("user_version", lock_schema.FORMAT)
        return cls(path, connection)

    @classmethod
    def open(cls, path: Path) -> "SqliteLock":
        """Open an existing lock.

        Raises:
            IntegrityError: It is missing, not a lock, or of a later format.
        """
        if not path.is_file():
            raise IntegrityError(
                f"{path} is missing: without it nothing shows which entries were already signed, so nothing is"
                " signed; bring this very file back from the disk it was on, or begin a new epoch:"
                " exchange node recover --from-peers"
            )
        try:
            connection = _connect(path)
            version = lock_schema.bring_up(connection)
        except apsw.Error as error:
            raise IntegrityError(f"{path} is not a lock file: {error}") from error
        if version != lock_schema.FORMAT:
            raise IntegrityError(f"{path} has format {version} instead of {lock_schema.FORMAT}")
        return cls(path, connection)

    def read(self, origin: str) -> tuple[int, bytes] | None:
        """Return (size, root) of the last checkpoint signed, or None for an unknown origin."""
        try:
            with self._turn:
                row = self._connection.execute("SELECT size, root FROM head WHERE origin = ?", (origin,)).fetchone()
        except apsw.Error as error:
            raise IntegrityError(f"{self._path} cannot be read: {error}") from error
        return None if row is None else (row[0], row[1])

    def compare_and_swap(self, origin: str, old_size: int, new: Checkpoint) -> None:
        """Move from *old_size* to *new*, durably before returning.

        Raises:
            IntegrityError: The lock is elsewhere (another copy of this node signs), *new* goes back or names another
                origin, or the file cannot be written. Sign nothing.
        """
        if new.origin != origin or new.size < old_size:
            raise IntegrityError(f"{self._path}: from size {old_size} of {origin} to {new.size} of {new.origin}")
        try:
            with self._turn:
                self._connection.execute(
                    "UPDATE head SET size = ?, root = ? WHERE origin = ? AND size = ?",
                    (new.size, new.root, origin, old_size),
                )
                changed = self._connection.changes()
        except apsw.Error as error:
            raise IntegrityError(f"{self._path} cannot be written: {error}") from error
        if changed != 1:
            found = self.read(origin)
            raise IntegrityError(
                f"{self._path} is at size {found[0] if found else 'none'}, not {old_size}: another copy of this node"
                " signs; stop one of them"
            )

    def begin_epoch(self, origin: str) -> None:
        """Know one origin more, at size 0: the log's next epoch. What the lock knows of others stays.

        Raises:
            IntegrityError: The file cannot be written.
        """
        try:
            with self._turn, self._connection:
                self._connection.execute("INSERT OR IGNORE INTO head VALUES (?, 0, ?)", (origin, EMPTY_ROOT))
        except apsw.Error as error:
            raise IntegrityError(f"{self._path} cannot be written: {error}") from error

    def remember_erased(self, statement_digests: Iterable[bytes]) -> None:
        """Write down that these statements are erased, durably before returning, so that a restore erases them again.

        Raises:
            IntegrityError: The file cannot be written. Erase nothing yet.
        """
        try:
            with self._turn, self._connection:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO erased VALUES (?)", [(digest,) for digest in statement_digests]
                )
        except apsw.Error as error:
            raise IntegrityError(f"{self._path} cannot be written: {error}") from error

    def is_erased(self, statement_digest: bytes) -> bool:
        """Return whether a statement was erased here, whatever the database says.

        Raises:
            IntegrityError: The file cannot be read.
        """
        try:
            with self._turn:
                found = self._connection.execute("SELECT 1 FROM erased WHERE statement_digest = ?", (statement_digest,))
                return found.fetchone() is not None
        except apsw.Error as error:
            raise IntegrityError(f"{self._path} cannot be read: {error}") from error

    def erased_count(self) -> int:
        """Count the statements that were erased here; errors as ``is_erased``."""
        try:
            with self._turn:
                return int(next(iter(self._connection.execute("SELECT count(*) FROM erased")))[0])
        except apsw.Error as error:
            raise IntegrityError(f"{self._path} cannot be read: {error}") from error

    def witness_state(self) -> SqliteWitnessState:
        """Open the file once more, for one who cosigns: he waits for nobody's flush but his own.

        Raises:
            IntegrityError: It is missing, or of a later format.
        """
        return SqliteWitnessState(self._path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.wal_autocheckpoint(STEP_PAGES)  # so it starts over within the room that it has
    make_room(path)
    return connection
