"""Bringing an older SQLite file up to this program's schema: alone, with a copy beside it, in one transaction.

A crash anywhere leaves the older file or the newer one, whole. Nobody else may have the file open, above all no older
program that goes on writing what it knows. The copy is ``node.db.before-N``, N the number that the newer program brought;
it opens what the file opened, so it goes before anything is erased from the file (``drop_copies``).
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw

from exchange.store import sqlite_migrations
from exchange.store.sqlite_migrations import NEWEST, described, expected
from keys.errors import UnavailableError
from keys.files import PRIVATE, sync_folder

ALONE_MILLISECONDS = 5000  # so long it waits for whoever looks into the file just now
MARGIN_BYTES = 16 << 20  # for what else the machine writes meanwhile
_ZEROS = bytes(1 << 20)


class NotAloneError(UnavailableError):
    """Somebody else has the older file open, perhaps a node that runs the older program."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: it is to be brought up to schema {NEWEST}, and another process has it open", 5)
        self.hint = "stop the node that still runs the older program, then start this one"


class NoRoomError(UnavailableError):
    """The disk has no room for what is needed to bring a file up."""

    def __init__(self, path: Path, needed: int, free: int) -> None:
        told = f"{needed >> 20:,} MiB beside it, and {free >> 20:,} are free"
        super().__init__(f"{path}: to be brought up to schema {NEWEST} it needs {told}", 60)
        self.hint = "make room on this disk, then start again; nothing was changed"


def bring_up(path: Path) -> None:
    """Bring a file up whose schema is one of ours and older.

    1 be alone with it; 2 look again, now that nobody else writes; 3 room for the copy, and for the pages that are
    written anew; 4 the copy, durable; 5 the steps, in one transaction.

    Raises:
        UnavailableError: Another process has it open, or there is no room; nothing was changed.
    """
    with closing(_connect_alone(path)) as connection:  # 1
        found = int(connection.pragma("user_version"))
        if not 0 < found < NEWEST or described(connection) != expected(found):  # 2
            return
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _check_room(path)  # 3
        _copy(connection, path)  # 4
        sqlite_migrations.bring_up(connection, found)  # 5
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what a step took out of a row lies in no page of before


def copies(path: Path) -> list[Path]:
    """List the copies beside a file, those that were not finished included."""
    return sorted(path.parent.glob(f"{path.name}.before-*"))


def drop_copies(path: Path, made_before_ms: int | None = None) -> None:
    """Destroy the copies beside a file, overwritten first as far as the disk obeys; all, or those of before a time."""
    found = [each for each in copies(path) if made_before_ms is None or each.stat().st_mtime * 1000 < made_before_ms]
    for each in found:
        with each.open("r+b") as file:
            left = each.stat().st_size
            while left > 0:
                left -= file.write(_ZEROS[:left])
            file.flush()
            os.fsync(file.fileno())
        each.unlink()
    if found:
        sync_folder(path.parent)


def _connect_alone(path: Path) -> apsw.Connection:
    """Open a file for this connection alone: where others have it open in write-ahead mode, that is refused."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(ALONE_MILLISECONDS)
        connection.pragma("locking_mode", "exclusive")  # before the first read: then there is no shared index
        connection.pragma("trusted_schema", False)
        connection.pragma("cell_size_check", True)
        connection.pragma("secure_delete", True)
        connection.pragma("synchronous", "FULL")
        connection.execute("BEGIN EXCLUSIVE; COMMIT")
    except apsw.BusyError as error:
        connection.close()
        raise NotAloneError(path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check_room(path: Path) -> None:
    """Refuse where the disk has no room for a copy and for every page once more."""
    needed, free = 2 * path.stat().st_size + MARGIN_BYTES, shutil.disk_usage(path.parent).free
    if free < needed:
        raise NoRoomError(path, needed, free)


def _copy(connection: apsw.Connection, path: Path) -> None:
    """Copy the file through the connection: to open and close it otherwise would let go of the locks on it."""
    target = path.with_name(f"{path.name}.before-{NEWEST}")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)  # left by a crash; it was never the copy
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
    with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)) as copy:
        copy.pragma("locking_mode", "exclusive")
        with copy.backup("main", connection, "main") as backup:
            backup.step(-1)
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(target)
    sync_folder(path.parent)
