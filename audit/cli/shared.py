"""What the auditor's commands have in common: where a log is, and whose fault it is where a file is not as it should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.cli.failure import CommandError
from keys.errors import RefusedError
from keys.files import PUBLIC, write_file
from keys.text import safe_text

if TYPE_CHECKING:  # loaded by the commands that need them: help stays quick
    from audit.tiles.tiles import TileFolder

RENDER = "evidence-render"  # in the context's object: module:function that words a bulletin, where the exchange is


def open_folder(directory: str) -> "TileFolder":
    """Return the log in a log folder or a node's home.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    from audit.tiles.tile_names import CHECKPOINT
    from audit.tiles.tiles import TileFolder

    root = Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(2, "no such folder", directory)
    if not (root / CHECKPOINT).exists() and (root / "log" / CHECKPOINT).exists():
        root /= "log"
    return TileFolder(root)


def earlier_epochs(home: Path) -> list[str]:
    """Find the folders with logs of earlier epochs that a recovery has moved aside in a home, oldest first."""
    if not (home / "log" / "checkpoint").is_file():
        return []
    found = [path for path in home.glob("before-epoch-*") if (path / "log" / "checkpoint").is_file()]
    return [str(path) for path in sorted(found, key=lambda each: (len(each.name), each.name))]


@contextmanager
def judging(name: str, code: str = "REFUTED") -> Iterator[None]:
    """End a command with *code* where what is read under this name is broken; where it is missing, as a missing file.

    Raises:
        CommandError: With the name once, and what is wrong.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (RefusedError, OSError, UnicodeDecodeError) as error:
        raise CommandError(code, fault_of(name, error)) from error


def fault_of(name: str, error: Exception) -> str:
    """Return what is wrong with a file that was named, and its name once."""
    if isinstance(error, OSError):
        return f"{name}: cannot be read: {error.strerror}"
    if isinstance(error, UnicodeDecodeError):
        return f"{name}: not UTF-8"
    return f"{name}: {str(error).removeprefix(name).lstrip(': ')}"


@contextmanager
def working(name: str = "") -> Iterator[None]:
    """End a command as not checked where this machine lacked something; the log, read without raising, has no part in it.

    Raises:
        CommandError: NOT_CHECKED.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ChildProcessError):
            why = f"nothing was decided: {error}"  # killed, as a rule because memory ran out
        else:
            why = f"temporary files of a long log could not be written: {error.strerror}; TMPDIR names their folder"
        raise CommandError("NOT_CHECKED", f"{name}: {why}" if name else why) from error


def shown(text: str) -> str:
    """Return the whole of a text, fit for a terminal, on one line."""
    return safe_text(text, None)


def write_new(path: str, data: bytes) -> None:
    """Write a file that is not there yet, whole or not at all.

    Raises:
        FileExistsError: It is there.
        CommandError: NOT_WRITTEN.
    """
    try:
        write_file(Path(path), data, mode=PUBLIC)
    except FileExistsError as error:
        raise FileExistsError(17, "it is there already", path) from error
    except OSError as error:
        raise CommandError("NOT_WRITTEN", f"{path} cannot be written: {error.strerror}") from error


def parse_now(now: str | None) -> int | None:
    """Return the time of ``--now`` in seconds since 1970, None where it was not given; UsageError for no time."""
    from datetime import UTC, datetime

    if now is None:
        return None
    try:
        read = datetime.fromisoformat(now)
    except ValueError as error:
        raise click.UsageError(f"--now: {shown(now)} is no time; write it as 2026-11-22T10:00:00Z") from error
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())
