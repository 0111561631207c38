"""What a witness has cosigned, as tables of a SQLite file; the contract is ``audit.log.lock.WitnessState``.

The swap is durable before anything is answered: a witness that forgot would cosign a branch of what it cosigned
before. So the file is never restored from a backup, and a missing one is never made again: a node keeps these tables in
``lock.db``, a witness without a node in ``witness.db``. The first two notes of a log that contradict each other are
kept for ever. After any error the file is opened again before it is believed.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from audit.log.lock import Cosigned
from audit.log.lock_schema import CONFLICTS, COSIGNED, ERASED, FORMAT, bring_up
from audit.log.wal import STEP_PAGES, make_room
from audit.note.checkpoint import Checkpoint
from audit.note.fork import Fork
from keys.errors import IntegrityError, UnavailableError

_BUSY_MILLISECONDS = 5000  # another process of ours swaps; each swap takes about one flush of the disk


class SqliteWitnessState:
    """The tables of one witness, for all threads and processes that serve it.

    Args:
        path: An existing ``lock.db`` or ``witness.db``.

    Raises:
        IntegrityError: It is missing, not such a file, or of a later format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one_at_a_time = threading.Lock()
        self._connection: apsw.Connection | None = None
        with self._one_at_a_time:
            self._open()

    @classmethod
    def create(cls, path: Path) -> "SqliteWitnessState":
        """Make a witness's own file, of which nothing has been cosigned.

        Raises:
            IntegrityError: The file is there already.
        """
        if path.exists():
            raise IntegrityError(f"{path} exists already: it is never made anew")
        path.touch(mode=0o600, exist_ok=False)
        connection = _connect(path)
        with connection:
            for table in (COSIGNED, CONFLICTS, ERASED):
                connection.execute(table)
            connection.pragma("user_version", FORMAT)
        connection.close()
        return cls(path)

    def cosigned(self, origin: str) -> Cosigned | None:
        """Return what was cosigned last of *origin*; None if nothing was.

        Raises:
            IntegrityError: The file cannot be read.
            UnavailableError: Another process holds it.
        """
        rows = self._run("SELECT size, root, note FROM cosigned WHERE origin = ?", (origin,))
        return Cosigned(origin=origin, size=rows[0][0], root=rows[0][1], note=rows[0][2]) if rows else None

    def all_cosigned(self) -> list[Cosigned]:
        """Return what was cosigned last of every log, by origin."""
        rows = self._run("SELECT origin, size, root, note FROM cosigned ORDER BY origin", ())
        return [Cosigned(origin=origin, size=size, root=root, note=note) for origin, size, root, note in rows]

    def swap(self, known: Cosigned | None, new: Checkpoint, note: str, clock_s: Callable[[], int]) -> int | None:
        """Move from *known* to *new*, durably, and return the time at which that was so.

        The time is taken within the transaction, so later times never stand on smaller sizes.

        Args:
            known: What ``cosigned`` returned, and what *new* was found to extend.
            new: The same size and root again only takes the time.
            note: The log's own, that says *new*.
            clock_s: Seconds since 1970.

        Returns:
            None if the state is not at *known* any more; nothing has changed then.

        Raises:
            IntegrityError: *new* goes back or is another log's, or the file cannot be written. Answer nothing.
            UnavailableError: Another process holds it.
        """
        if known is not None and (known.origin != new.origin or new.size < known.size):
            raise IntegrityError(
                f"{self._path}: from size {known.size} of {known.origin} to {new.size} of {new.origin}"
            )
        with self._one_at_a_time:
            try:
                return _swap(self._open(), known, new, note, clock_s)
            except apsw.Error as error:
                raise self._failed(error) from error

    def keep_conflict(self, origin: str, fork: Fork) -> Fork:
        """Keep two notes of one log for ever, and return what is kept: the first such pair. Errors as ``cosigned``."""
        proof = b"".join((fork.root, *fork.proof)) if fork.root is not None else b""
        self._run("INSERT OR IGNORE INTO conflicts VALUES (?, ?, ?, ?)", (origin, fork.older, fork.newer, proof))
        return self.conflict(origin) or fork

    def conflict(self, origin: str) -> Fork | None:
        """Return the first two notes of *origin* that contradict each other. Errors as ``cosigned``."""
        rows = self._run("SELECT first_note, second_note, proof FROM conflicts WHERE origin = ?", (origin,))
        if not rows:
            return None
        older, newer, proof = rows[0]
        hashes = tuple(proof[i : i + 32] for i in range(0, len(proof), 32))
        return Fork(older=older, newer=newer, root=hashes[0] if hashes else None, proof=hashes[1:])

    def conflicts(self) -> list[str]:
        """Return the origins of the logs of which such a pair is kept. Errors as ``cosigned``."""
        return [row[0] for row in self._run("SELECT origin FROM conflicts ORDER BY origin", ())]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, sql: str, values: tuple[str | bytes, ...]) -> list[Any]:
        with self._one_at_a_time:
            try:
                return self._open().execute(sql, values).fetchall()
            except apsw.Error as error:
                raise self._failed(error) from error

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            if not self._path.is_file():
                raise IntegrityError(
                    f"{self._path} is missing: without it nothing shows what was cosigned, so nothing is cosigned;"
                    " bring this very file back from the disk it was on, or give up this witness and its keys"
                )
            try:
                connection = _connect(self._path)
                found = bring_up(connection)
            except apsw.Error as error:
                raise IntegrityError(f"{self._path} is not a witness's file: {error}") from error
            if found != FORMAT:
                raise IntegrityError(f"{self._path} has format {found} instead of {FORMAT}")
            self._connection = connection
        return self._connection

    def _failed(self, error: apsw.Error) -> IntegrityError | UnavailableError:
        """Return what went wrong, and believe nothing of this connection any more."""
        if isinstance(error, apsw.BusyError):
            return UnavailableError(f"{self._path} is busy")
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None
        return IntegrityError(f"{self._path} cannot be used: {error}")


def _swap(
    connection: apsw.Connection, known: Cosigned | None, new: Checkpoint, note: str, clock_s: Callable[[], int]
) -> int | None:
    connection.execute("BEGIN IMMEDIATE")  # from here on no other process swaps
    try:
        time_s = clock_s()
        row = connection.execute("SELECT size, root FROM cosigned WHERE origin = ?", (new.origin,)).fetchone()
        if row != (None if known is None else (known.size, known.root)):
            connection.execute("ROLLBACK")
            return None
        if row != (new.size, new.root):
            connection.execute(
                "INSERT INTO cosigned VALUES (?, ?, ?, ?) ON CONFLICT (origin)"
                " DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
                (new.origin, new.size, new.root, note),
            )
        connection.execute("COMMIT")
    except BaseException:
        if not connection.get_autocommit():
            connection.execute("ROLLBACK")
        raise
    # Durable from here. A crash now loses only the answer, and the log asks again from this size.
    return time_s


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.wal_autocheckpoint(STEP_PAGES)  # so it starts over within the room that it has
    make_room(path)
    return connection
