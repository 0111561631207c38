"""A backup unpacked into a new home: whole and durable, or not at all.

What comes out is no node yet. It has no lock and no keys that open content, so no node starts in it before a recovery
has asked the members how far its log has gone since (``exchange node recover``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audit.tiles import tar
from keys.errors import RefusedError, UnavailableError
from keys.files import PRIVATE, FileModeError, sync_folder
from keys.sealed_stream import PIECE_BYTES, SealedReader, closed, read_header

MAX_FILES = tar.MAX_MEMBERS


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupHead:
    """What a backup says of itself; verified only once it has opened."""

    agency: str
    size: int  # entries of the log
    log_ms: int  # time of the last of them, milliseconds UTC; 0 where there are none
    time_ms: int  # when it was made
    to_key: str  # the id of the key that opens it, in hex; empty where a passphrase does


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """An open backup file, read up to the end of its header."""

    path: Path
    file: BinaryIO
    header: bytes
    fields: Mapping[str, object]
    head: BackupHead


@contextmanager
def open_backup(path: Path) -> Iterator[Backup]:
    """Open a backup file and read its header; the file is closed afterwards.

    Raises:
        FileNotFoundError: There is none.
        RefusedError: NOT_PRIVATE, others may read it; MALFORMED, it is no backup or one of a newer format.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise FileModeError(path, mode)
        header, fields = read_header(file, str(path))
        yield Backup(path=path, file=file, header=header, fields=fields, head=_head(fields, str(path)))


def _head(fields: Mapping[str, object], name: str) -> BackupHead:
    agency, to_key = fields.get("agency"), fields.get("key_id", "")
    numbers = [fields.get(each) for each in ("format", "size", "log_ms", "time_ms")]
    if not isinstance(agency, str) or not isinstance(to_key, str) or not all(isinstance(each, int) for each in numbers):
        raise RefusedError("MALFORMED", f"{name} has a damaged header")
    version, size, log_ms, time_ms = (int(str(each)) for each in numbers)
    if version != 1:
        raise RefusedError("NOT_UNDERSTOOD", f"{name} is a backup of format {version}, this program reads format 1")
    return BackupHead(agency=agency, size=size, log_ms=log_ms, time_ms=time_ms, to_key=to_key)


def check_new_home(home: Path) -> None:
    """Refuse a home that is there already, before anybody is asked for a passphrase.

    Raises:
        FileExistsError: There is something of this name.
        FileNotFoundError: The folder that it would lie in is not there.
    """
    if home.exists() or home.is_symlink():
        raise FileExistsError(17, "a backup is restored into a new folder only", str(home))
    if not home.absolute().parent.is_dir():
        raise FileNotFoundError(2, "no such folder", str(home.absolute().parent))


def unpack(backup: Backup, key: bytes, home: Path) -> int:
    """Unpack a backup; the home has its name only when everything in it was checked and is durable.

    Returns:
        How many files it has.

    Raises:
        RefusedError: UNOPENABLE for another key, a truncated or an altered file; MALFORMED for what we never write.
        UnavailableError: The disk is full or cannot be written.
    """
    part = home.absolute().with_name(f".{home.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a crash; it was never a home
    try:
        part.mkdir(mode=0o700)
        count = _unpack(backup, key, part)
        _sync(part)
        part.rename(home)
    except OSError as error:
        raise UnavailableError(f"{home}: {error.strerror or error}; nothing was restored", 60) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(home.absolute().parent)
    return count


def _unpack(backup: Backup, key: bytes, folder: Path) -> int:
    reader = SealedReader(backup.file, str(backup.path), backup.header, key)
    count, last, at = 0, "", 0
    while (block := reader.read(tar.BLOCK)) != bytes(tar.BLOCK):
        if len(block) != tar.BLOCK:
            raise closed(str(backup.path))
        name, size = tar.parse_header(block, at, last)
        if name <= last or count >= MAX_FILES:
            raise RefusedError("MALFORMED", f"{backup.path}: {name} after {last}; names ascend, and none stands twice")
        padding = -size % tar.BLOCK
        _make_folders(folder, name)
        _extract(reader, folder / name, size)
        if reader.read(padding) != bytes(padding):
            raise RefusedError("MALFORMED", f"{backup.path}: other bytes than zeros after {name}")
        count, last, at = count + 1, name, at + tar.BLOCK + size + padding
    if reader.read(tar.BLOCK) != bytes(tar.BLOCK):
        raise closed(str(backup.path))
    reader.read_end()
    return count


def _make_folders(folder: Path, name: str) -> None:
    for part in name.split("/")[:-1]:
        folder = folder / part
        folder.mkdir(mode=0o700, exist_ok=True)


def _extract(reader: SealedReader, path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        while size:
            data = reader.read(min(PIECE_BYTES, size))
            if not data:
                raise closed(reader.name)
            file.write(data)
            size -= len(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    for root, _, _ in os.walk(folder):
        sync_folder(Path(root))
