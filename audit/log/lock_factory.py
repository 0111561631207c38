"""Which engine keeps a lock, or what a witness without a node has cosigned: its URI says so; see ``keys.uri``.

This module alone knows the engines. ``sqlite:/srv/exchange/lock.db`` is one file. Another engine is one class here and
one line in ``_ENGINES``.
"""

from pathlib import Path
from typing import Protocol

from audit.log import sqlite_files
from audit.log.lock import Lock, WitnessState
from audit.log.sqlite_lock import SqliteLock
from audit.log.sqlite_witness import SqliteWitnessState
from keys.uri import in_folder, resolve

_LOCK, _WITNESS = "sqlite:lock.db", "sqlite:witness.db"


class LockEngine(Protocol):
    """One way to keep locks. *path* is what follows the scheme in a URI."""

    def create(self, path: str, origin: str) -> Lock:
        """Make a lock at size 0; IntegrityError where one is."""

    def open(self, path: str) -> Lock:
        """Open a lock; IntegrityError where none is, or it is not ours. A missing one is never made anew."""

    def create_state(self, path: str) -> WitnessState:
        """Make the state of a witness that has cosigned nothing; IntegrityError where one is."""

    def open_state(self, path: str) -> WitnessState:
        """Open a witness's state; IntegrityError where none is. A missing one is never made anew."""

    def exists(self, path: str) -> bool:
        """Return whether something is there that should be one."""

    def copy(self, path: str, other: str) -> None:
        """Copy a lock that nobody has open to another path, as it is found; nothing is judged."""

    def remove(self, path: str) -> None:
        """Remove a copy that was of no use."""

    def files(self, path: str) -> tuple[Path, ...]:
        """Return the files that it may consist of, the one that makes it a lock first."""


class SqliteLocks:
    """What ``sqlite:PATH`` names: one file."""

    def create(self, path: str, origin: str) -> SqliteLock:
        """Make the file."""
        return SqliteLock.create(Path(path), origin)

    def open(self, path: str) -> SqliteLock:
        """Open the file."""
        return SqliteLock.open(Path(path))

    def create_state(self, path: str) -> SqliteWitnessState:
        """Make the file."""
        return SqliteWitnessState.create(Path(path))

    def open_state(self, path: str) -> SqliteWitnessState:
        """Open the file."""
        return SqliteWitnessState(Path(path))

    def exists(self, path: str) -> bool:
        """Return whether the file is there."""
        return Path(path).exists()

    def copy(self, path: str, other: str) -> None:
        """Copy the file and its write-ahead log."""
        sqlite_files.copy(Path(path), Path(other))

    def remove(self, path: str) -> None:
        """Remove the file and what lies beside it."""
        sqlite_files.remove(Path(path))

    def files(self, path: str) -> tuple[Path, ...]:
        """Return the file, its write-ahead log and that log's index."""
        return sqlite_files.files(Path(path))


_ENGINES: dict[str, LockEngine] = {"sqlite": SqliteLocks()}


def lock_in(folder: Path) -> str:
    """Return the URI of the lock in a home."""
    return in_folder(folder, _LOCK)


def witness_state_in(folder: Path) -> str:
    """Return the URI of what a witness without a node has cosigned, in its folder."""
    return in_folder(folder, _WITNESS)


def create_lock(uri: str, origin: str) -> Lock:
    """Make a lock at size 0, for a home without any log; IntegrityError where one is."""
    engine, path = _resolve(uri)
    return engine.create(path, origin)


def open_lock(uri: str) -> Lock:
    """Open a lock.

    Raises:
        RefusedError: MALFORMED, no engine of ours is named.
        IntegrityError: It is missing, not a lock, or of a later format. Sign nothing.
    """
    engine, path = _resolve(uri)
    return engine.open(path)


def create_witness_state(uri: str) -> WitnessState:
    """Make the state of a witness that has cosigned nothing; IntegrityError where one is."""
    engine, path = _resolve(uri)
    return engine.create_state(path)


def open_witness_state(uri: str) -> WitnessState:
    """Open what a witness without a node has cosigned; errors as ``open_lock``."""
    engine, path = _resolve(uri)
    return engine.open_state(path)


def lock_exists(uri: str) -> bool:
    """Return whether something is there that should be a lock."""
    engine, path = _resolve(uri)
    return engine.exists(path)


def copy_lock(uri: str, to: str) -> None:
    """Copy a lock that nobody has open to another path of the same engine, as it is found."""
    engine, path = _resolve(uri)
    engine.copy(path, _resolve(to)[1])


def remove_lock(uri: str) -> None:
    """Remove a copy of a lock that was of no use."""
    engine, path = _resolve(uri)
    engine.remove(path)


def lock_files(uri: str) -> tuple[Path, ...]:
    """Return the files that a lock may consist of, the one that makes it a lock first."""
    engine, path = _resolve(uri)
    return engine.files(path)


def _resolve(uri: str) -> tuple[LockEngine, str]:
    return resolve(uri, _ENGINES, "engine of a lock")
