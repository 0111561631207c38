"""SQLite as an engine of stores: a place is the absolute path of one file."""

from __future__ import annotations

from pathlib import Path

import apsw

from audit.log import sqlite_files
from exchange.store.sqlite import SqliteStore, readable
from exchange.store.sqlite_backup import back_up
from exchange.store.sqlite_readonly import SqliteAside, SqliteReadOnly, may_be_written


class SqliteEngine:
    """What ``sqlite:PATH`` names; the contract is ``exchange.store.factory.StoreEngine``."""

    @property
    def version(self) -> str:
        """Return the library's name and version."""
        return f"SQLite {apsw.sqlite_lib_version()}"

    def create(self, place: str) -> SqliteStore:
        """Make the file."""
        with readable(Path(place)):
            return SqliteStore(Path(place), create=True)

    def open(self, place: str) -> SqliteStore:
        """Open the file, brought up to this program's schema."""
        with readable(Path(place)):
            return SqliteStore(Path(place))

    def open_reading(self, place: str) -> SqliteStore | SqliteReadOnly:
        """Open the file to read it; where it may be written as the node does, so that an older schema is brought up.

        Raises:
            IntegrityError: There is none, or it is not ours.
            UnreadableError: It cannot be read here.
        """
        path = Path(place)
        return SqliteStore(path) if not path.exists() or may_be_written(path) else SqliteReadOnly(path)

    def open_aside(self, place: str) -> SqliteAside:
        """Open the file and leave it as it is, whatever its schema."""
        return SqliteAside(Path(place))

    def exists(self, place: str) -> bool:
        """Return whether a file is there."""
        return Path(place).exists()

    def may_be_written(self, place: str) -> bool:
        """Return whether the file and its folder may be written."""
        return may_be_written(Path(place))

    def copy(self, place: str, other: str) -> None:
        """Copy the database and its write-ahead log."""
        sqlite_files.copy(Path(place), Path(other))

    def back_up(self, place: str, other: str) -> None:
        """Copy one committed state, without what erasing destroys."""
        back_up(Path(place), Path(other))

    def files(self, place: str) -> tuple[Path, ...]:
        """Return the database, its write-ahead log and that log's index."""
        return sqlite_files.files(Path(place))
