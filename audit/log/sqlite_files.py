"""The files of one SQLite database: itself, its write-ahead log, and that log's index."""

import shutil
from pathlib import Path


def files(database: Path) -> tuple[Path, ...]:
    """Return what a database may consist of, itself first."""
    return tuple(database.with_name(f"{database.name}{suffix}") for suffix in ("", "-wal", "-shm"))


def copy(database: Path, target: Path) -> None:
    """Copy a database that nobody has open, with its write-ahead log, whose index is made anew."""
    remove(target)
    for source, to in list(zip(files(database), files(target), strict=True))[:2]:
        if source.exists():
            shutil.copyfile(source, to)
            to.chmod(0o600)


def remove(database: Path) -> None:
    """Remove all of a database."""
    for path in files(database):
        path.unlink(missing_ok=True)
