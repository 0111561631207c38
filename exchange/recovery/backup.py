"""A home in one sealed file: what a recovery can use, and nothing that opens content.

In it: the database as it is once everything is erased, with the whole log; the published log, settings, the node's
signing and TLS keys, people's public files, records, evidence, and the same of epochs before. Never in it: the lock (an
old one would let the node sign a second history), storage and encryption keys (an old copy would open what was erased
since), people's and the root's keys, and any file that is not known here. So a backup made before an erasure opens
nothing of it, whatever else somebody has.

The members are a tar, ascending by name (``audit.tiles.tar``), sealed in one pass (``keys.sealed_stream``).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.entry.entry import parse_head
from audit.tiles import tar
from audit.verify.rfc3161 import STAMPS_FOLDER
from exchange.store.factory import back_up_store, open_aside, store_exists, store_files, store_in
from exchange.store.home_paths import LOG_FOLDER, PEERS_FOLDER, Paths
from keys.agency import APPLICATION_FILE, CA_FILE, ENTRY_FILE, OPERATIONS_FILE, TLS_FILE
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.files import PRIVATE, FileModeError, sync_folder
from keys.key_files import OFFICERS_FOLDER
from keys.keystore import NODE_FILE
from keys.sealed_stream import PIECE_BYTES, Facts, SealedWriter
from keys.show import kind_of

PART = "backup.part"  # folder of the database's copy, in the home; nothing in it opens content
FORMAT = 1
MAX_RECORD_BYTES = 1 << 20
SETTINGS_FILE = "node.toml"
# Of the home itself; what is not named here, and is no signed record, is left out.
_FILES = frozenset(
    {
        SETTINGS_FILE,
        NODE_FILE,
        TLS_FILE,
        CA_FILE,
        OPERATIONS_FILE,
        APPLICATION_FILE,
        "witnesses.vkeys",
        "witnessing.json",
    }
)
_FOLDERS = (LOG_FOLDER, PEERS_FOLDER, STAMPS_FOLDER, "evidence", "recovered")
_OF_PEOPLE = frozenset({ENTRY_FILE, TLS_FILE, "roster.sha256", "seen"})
_BEFORE = re.compile(r"before-epoch-[0-9]+")
_CERTIFICATE = re.compile(r".+\.(pem|crt|der)", re.ASCII)

Seal = Callable[[Facts], tuple[bytes, bytes]]
"""Makes header and key of a sealed file from what the header tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBackup:
    """A backup, made."""

    facts: Facts
    files: int
    size: int  # bytes of the file
    left_out: tuple[str, ...]  # names in the home, ascending


def make_backup(paths: Paths, agency: str, output: Path, seal: Seal, now_ms: int) -> MadeBackup:
    """Write one file that holds a home; the node may run meanwhile.

    Args:
        paths: Of the home.
        agency: Whose it is.
        output: The new file; it has its name only when it is whole and durable.
        seal: To a passphrase or a key.
        now_ms: Milliseconds UTC.

    Raises:
        FileExistsError: There is such a file.
        RefusedError: MALFORMED, the file would lie in the home; NOT_PRIVATE, the node's keys can be read by others.
        IntegrityError: There is no database, or it is damaged.
        UnavailableError: Another backup is being made; a disk is full or cannot be read.
    """
    check_possible(paths, output)
    with _part(paths.home) as part:
        members, left_out = _members(paths, part)
        facts = {"format": FORMAT, "agency": agency, "time_ms": now_ms, **_facts_of(store_in(part, paths.engine))}
        files, size = _write(output, members, lambda: seal(facts))
    return MadeBackup(facts=facts, files=files, size=size, left_out=tuple(left_out))


def check_possible(paths: Paths, output: Path) -> None:
    """Check what can be known before anybody is asked for a passphrase; errors as ``make_backup``."""
    home, keys = paths.home, paths.home / NODE_FILE
    if output.exists() or output.is_symlink():
        raise FileExistsError(17, "no backup is written over another file", str(output))
    if not output.parent.is_dir():
        raise FileNotFoundError(2, "no such folder", str(output.parent))
    if home.resolve() in output.resolve().parents:
        raise RefusedError("MALFORMED", f"{output} lies in {home}: a backup beside what it saves is lost with it")
    mode = keys.stat().st_mode & 0o777
    if mode & 0o077:
        raise FileModeError(keys, mode)
    if not store_exists(paths.store):
        raise IntegrityError(f"{paths.home}: no database here, so nothing to save")


@contextmanager
def _part(home: Path) -> Iterator[Path]:
    """Give a folder for the database's copy, to one backup at a time; what a crash has left there goes."""
    part = home / PART
    part.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(f"{home}: another backup is being made", 60) from error
        _empty(part)
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _facts_of(store: str) -> dict[str, str | int]:
    """Return what the header tells of the log: its origin's epoch is in the settings of a restore, its size for people."""
    opened = open_aside(store)
    try:
        reads = opened.reads()
        size = reads.size()
        newest = parse_head(reads.read_entries(size - 1, 1)[0]).time_us // 1000 if size else 0
        return {"size": size, "log_ms": newest}
    finally:
        opened.close()


def _members(paths: Paths, part: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each member, and the names of the home that are left out."""
    members: dict[str, Path] = {}
    left_out: list[str] = []
    copy = store_in(part, paths.engine)
    back_up_store(paths.store, copy)
    members[store_files(copy)[0].name] = store_files(copy)[0]
    for path in sorted(paths.home.iterdir()):
        name = path.name
        if name == PART or name in members or path in store_files(paths.store):
            continue
        if path.is_symlink():
            left_out.append(name)
        elif name in _FOLDERS:
            _add_all(members, left_out, path, name)
        elif name == OFFICERS_FOLDER:
            _add_people(members, left_out, path)
        elif _BEFORE.fullmatch(name) and path.is_dir():
            _add_before(members, left_out, path, (part / name, paths.engine))
        elif path.is_file() and (name in _FILES or _CERTIFICATE.fullmatch(name) or _is_record(path)):
            _add(members, left_out, path, name)
        else:
            left_out.append(name)
    return dict(sorted(members.items())), sorted(left_out)


def _add(members: dict[str, Path], left_out: list[str], path: Path, name: str) -> None:
    try:
        tar.header(name, 0)
    except RefusedError:  # a name that none of our files has
        left_out.append(name)
    else:
        members[name] = path


def _add_all(members: dict[str, Path], left_out: list[str], folder: Path, name: str) -> None:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for each in files:
            path = Path(root, each)
            inner = f"{name}/{path.relative_to(folder).as_posix()}"
            if each.startswith(".") or path.is_symlink():  # left by a crash, or none of ours
                left_out.append(inner)
            else:
                _add(members, left_out, path, inner)


def _add_people(members: dict[str, Path], left_out: list[str], folder: Path) -> None:
    for path in sorted(folder.glob("*/*")):
        name = path.relative_to(folder.parent).as_posix()
        if path.name in _OF_PEOPLE and path.is_file() and not path.is_symlink():
            _add(members, left_out, path, name)
        else:
            left_out.append(name)


def _add_before(members: dict[str, Path], left_out: list[str], folder: Path, copy: tuple[Path, str]) -> None:
    """Add what a recovery has moved aside: that epoch's log and database, which has no content in its copy either."""
    target, engine = copy
    store = store_in(folder, engine)
    if store_exists(store):
        target.mkdir(mode=0o700)
        back_up_store(store, store_in(target, engine))
        file = store_files(store_in(target, engine))[0]
        members[f"{folder.name}/{file.name}"] = file
    for path in sorted(folder.iterdir()):
        if path.name in (LOG_FOLDER, STAMPS_FOLDER) and path.is_dir():
            _add_all(members, left_out, path, f"{folder.name}/{path.name}")
        elif path not in store_files(store):
            left_out.append(f"{folder.name}/{path.name}")


def _is_record(path: Path) -> bool:
    """Return whether a file is a signed roster, manifest or key sheet."""
    if path.stat().st_size > MAX_RECORD_BYTES:
        return False
    try:
        kind_of(SignedPayload.decode(path.read_bytes()))
    except (RefusedError, OSError):
        return False
    return True


def _write(output: Path, members: dict[str, Path], seal: Callable[[], tuple[bytes, bytes]]) -> tuple[int, int]:
    """Write the members into the sealed file; returns how many, and its bytes."""
    temporary = output.with_name(f".{output.name}.part")
    temporary.unlink(missing_ok=True)  # left by a crash; it was never a backup
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            writer = SealedWriter(file, *seal())
            copied = sum(_copy(writer, name, path) for name, path in members.items())
            writer.write(tar.END)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
            written = file.tell()
        os.link(temporary, output)  # unlike a rename, this never overwrites
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise
        raise UnavailableError(f"{output}: {error.strerror or error}; no backup was written", 60) from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(output.parent)
    return copied, written


def _copy(writer: SealedWriter, name: str, path: Path) -> int:
    """Write one member, as it is when it is opened; returns 0 where a running node has just replaced it by another."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # the end of the published log, whose next end is there under another name
        return 0
    with file:
        left = os.fstat(file.fileno()).st_size
        writer.write(tar.header(name, left))
        padding = bytes(-left % tar.BLOCK)
        while left:
            data = file.read(min(PIECE_BYTES, left))
            if not data:
                raise UnavailableError(f"{path} became shorter while it was read", 5)
            writer.write(data)
            left -= len(data)
    writer.write(padding)
    return 1
