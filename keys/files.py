"""Writing files so that a crash leaves the old one or the new one, and reading key files only if they are private."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keys.errors import RefusedError

PRIVATE = 0o600
PUBLIC = 0o644


class FileModeError(RefusedError):
    """Others may read or write a file that holds keys."""

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__("NOT_PRIVATE", f"{path} has mode {mode:04o}, 0600 is the most it may have")
        self.hint = f"others could have read it; if none did: chmod 600 {path}"


def write_file(path: Path, data: bytes, *, mode: int, replace: bool = False, durable: bool = True) -> None:
    """Write a file whole: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: Its folder is there.
        data: All that it is to hold.
        mode: Of the new file, less the process's mask.
        replace: Take the place of a file that is there.
        durable: Without it neither fsync is made: for what is written again and again, and is harmless to lose.

    Raises:
        FileExistsError: There is such a file and *replace* is not set; it stays as it is.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # left by a crash; it was never the file
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, this never overwrites
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def check_empty(target: Path) -> None:
    """Refuse a folder in which something is, or that is none: FileExistsError."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(17, "exists", str(target))


@contextmanager
def whole_folder(target: Path, mode: int) -> Iterator[Path]:
    """Make a folder whole or not at all: what is written goes into one beside it, which takes its name at the end.

    Args:
        target: Not there yet, or empty.
        mode: Of the new folder.

    Yields:
        The folder to write into.

    Raises:
        FileExistsError: Something is in the target; it stays as it is.
    """
    check_empty(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.absolute().with_name(f".{target.absolute().name}.new")
    if part.exists():
        shutil.rmtree(part)  # left by a crash; it was never the folder
    part.mkdir(mode=mode)
    try:
        yield part
        part.replace(target)
        sync_folder(target.absolute().parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def overwrite_in_place(path: Path, data: bytes) -> None:
    """Replace the very blocks of a small file, so that no old copy stays in a freed one (as far as the disk obeys)."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path, limit: int) -> bytes:
    """Read a file of ours that nobody else may read.

    Raises:
        FileNotFoundError: There is none.
        RefusedError: NOT_ALLOWED if others may read or write it, TOO_LARGE above *limit* bytes.
    """
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise FileModeError(path, mode)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise RefusedError("TOO_LARGE", f"{path} has more than {limit} bytes")
    return data
