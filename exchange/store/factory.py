"""Which engine keeps a store: its URI says so, and this module alone knows the engines.

A URI reads ``SCHEME:PLACE``; the place is taken as it stands, without escapes. ``sqlite:/srv/exchange/node.db`` is one
file. A home's settings name a store by engine and name, as ``sqlite:node.db``; it lies in the home, because a recovery
moves a home's store, lock and log aside together. Another engine is one class here and one line in ``_ENGINES``.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Protocol

from exchange.store.sqlite_engine import SqliteEngine
from exchange.store.store import NodeStore, ReadableStore
from keys.errors import UnavailableError
from keys.uri import in_folder, resolve


class StoreEngine(Protocol):
    """One way to keep stores. *place* is what follows the scheme in a URI; to a file engine an absolute path."""

    @property
    def version(self) -> str:
        """Return the engine's name and its library's version."""

    def create(self, place: str) -> NodeStore:
        """Make an empty store; IntegrityError where one is."""

    def open(self, place: str) -> NodeStore:
        """Open a store, brought up to this program's schema; IntegrityError where none is, or it is not ours."""

    def open_reading(self, place: str) -> ReadableStore:
        """Open a store to read it, also where nothing may be written: then it stays as it is to the last byte."""

    def open_aside(self, place: str) -> ReadableStore:
        """Open a store that is no longer in use and stays as it is; UnavailableError where none can be read."""

    def exists(self, place: str) -> bool:
        """Return whether something is there that should be a store."""

    def may_be_written(self, place: str) -> bool:
        """Return whether this process may write there."""

    def copy(self, place: str, other: str) -> None:
        """Copy a store that nobody has open to another place, as it is found; what is there goes, nothing is judged."""

    def back_up(self, place: str, other: str) -> None:
        """Copy one committed state of a store that may be in use, without what erasing destroys; nothing is there yet.

        Raises:
            IntegrityError: There is none, or it is damaged or not ours.
            UnavailableError: A disk cannot be read, or is full.
        """

    def files(self, place: str) -> tuple[Path, ...]:
        """Return the files that a store may consist of, the one that makes it a store first."""


DEFAULT_STORE = "sqlite:node.db"
_ENGINES: dict[str, StoreEngine] = {"sqlite": SqliteEngine()}


def create_store(uri: str) -> NodeStore:
    """Make an empty store; RefusedError for an engine that is not known, IntegrityError where a store is."""
    engine, place = _resolve(uri)
    return engine.create(place)


def open_store(uri: str) -> NodeStore:
    """Open a store to work with it.

    Raises:
        RefusedError: MALFORMED, no engine of ours is named.
        IntegrityError: There is none, it is damaged, newer than this program, or was changed by somebody else.
        UnavailableError: Its disk cannot be read.
    """
    engine, place = _resolve(uri)
    return engine.open(place)


def open_reading(uri: str) -> ReadableStore:
    """Open a store to read it, also on a disk that cannot be written; errors as ``open_store``."""
    engine, place = _resolve(uri)
    return engine.open_reading(place)


def open_aside(uri: str) -> ReadableStore:
    """Open a store that is no longer in use and stays as it is; UnavailableError where none can be read."""
    engine, place = _resolve(uri)
    return engine.open_aside(place)


def read_old_entry(uri: str, index: int) -> bytes:
    """Read one entry from a store that is no longer in use; UnavailableError where store or entry is not there."""
    with closing(open_aside(uri)) as store:
        entries = store.reads().read_entries(index, 1)
    if not entries:
        raise UnavailableError(f"{store.name}: no entry {index}", 60)
    return entries[0]


def store_exists(uri: str) -> bool:
    """Return whether something is there that should be a store."""
    engine, place = _resolve(uri)
    return engine.exists(place)


def may_be_written(uri: str) -> bool:
    """Return whether this process may write a store."""
    engine, place = _resolve(uri)
    return engine.may_be_written(place)


def copy_store(uri: str, to: str) -> None:
    """Copy a store that nobody has open to another place of the same engine, as it is found."""
    engine, place = _resolve(uri)
    engine.copy(place, _resolve(to)[1])


def back_up_store(uri: str, to: str) -> None:
    """Copy one committed state of a store that may be in use, without what erasing destroys; errors as the engine's."""
    engine, place = _resolve(uri)
    engine.back_up(place, _resolve(to)[1])


def store_files(uri: str) -> tuple[Path, ...]:
    """Return the files that a store may consist of, the one that makes it a store first."""
    engine, place = _resolve(uri)
    return engine.files(place)


def engine_version(uri: str) -> str:
    """Return the engine's name and its library's version, for people."""
    return _resolve(uri)[0].version


def store_in(folder: Path, named: str) -> str:
    """Return the URI of a store in a folder.

    Args:
        folder: A home, or one that a recovery has made in it.
        named: Engine and name, as settings have them.

    Raises:
        RefusedError: MALFORMED, the engine is not known, or the name leads out of the folder.
    """
    _resolve(named)
    return in_folder(folder, named)


def _resolve(uri: str) -> tuple[StoreEngine, str]:
    return resolve(uri, _ENGINES, "engine of a store")
