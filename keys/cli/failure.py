"""How a command ended, in words: for people on stderr, as the one object of ``--json``, and as an exit code.

Loaded once a command is chosen or has failed, so that help waits for none of it; ``keys.cli.ending`` calls it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.refusals import row_of
from keys.text import safe_text

MAX_MESSAGE, MAX_HINT = 500, 400  # characters on a screen
# What a disk says that takes no more; Python names no file with some of them.
_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG))


class CommandError(Exception):
    """Ends a command with a code for which there is no error of its own.

    ``answer`` is what ``--json`` prints instead of the error: a verdict is an answer and keeps its form.
    """

    def __init__(self, code: str, message: str, hint: str = "", answer: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = row_of(code).code
        self.hint, self.answer = hint, answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A command's end in words."""

    code: str
    message: str
    hint: str = ""
    exit_as: str = ""  # the code whose exit code it is, where it is another one
    retry_after_seconds: float | None = None
    complaints: tuple[Any, ...] = ()
    file: str = ""  # that the complaints are about
    answer: dict[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        """Return the number that the command ends with."""
        return int(row_of(self.exit_as or self.code).exit_code)

    def to_json(self) -> dict[str, Any]:
        """Return the one object of ``--json``."""
        if self.answer is not None:
            return self.answer
        shown: dict[str, Any] = {
            "ok": False,
            "code": self.code,
            "message": self.message,
            "hint": self.hint or None,
            "retryable": row_of(self.code).retryable or self.retry_after_seconds is not None,
        }
        if self.retry_after_seconds is not None:
            shown["retry_after_seconds"] = self.retry_after_seconds
        if self.complaints:
            shown["file"] = self.file or None
            shown["complaints"] = [
                {"code": each.code, "path": each.path, "line": each.line, "message": each.message, "hint": each.hint}
                for each in self.complaints
            ]
        return shown


def failure_of(error: BaseException) -> Failure | None:
    """Return how an error ends a command; None for one that is our fault."""
    hint = str(getattr(error, "hint", "") or "")
    if isinstance(error, RefusedError):
        return Failure(
            code=error.code,
            exit_as=error.exit_as,
            message=str(error),
            hint=hint or row_of(error.code).hint,
            complaints=tuple(getattr(error, "complaints", ())),
            file=str(getattr(error, "file", "")),
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
        )
    if isinstance(error, UnavailableError):
        wait = error.retry_after_seconds if row_of(error.code).retryable else None
        again = f"nothing is lost; try again in {max(1, round(wait))} s" if wait is not None else ""
        return Failure(code=error.code, message=str(error), hint=hint or again, retry_after_seconds=wait)
    if isinstance(error, IntegrityError | CommandError):
        answer = error.answer if isinstance(error, CommandError) else None
        return Failure(code=error.code, message=str(error), hint=hint or row_of(error.code).hint, answer=answer)
    if isinstance(error, OSError):
        return _failure_of_file(error)
    return None


def _failure_of_file(error: OSError) -> Failure | None:
    name = error.filename2 or error.filename
    if name is None and error.errno not in _DISK:
        return None
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Failure(code="NO_SUCH_FILE", message=f"no such file or folder: {name}")
    if isinstance(error, FileExistsError):
        return Failure(code="FILE_EXISTS", message=f"it is there already and stays as it is: {name}")
    if isinstance(error, PermissionError):
        return Failure(code="NOT_PERMITTED", message=f"may not be read or written: {name}")
    if error.errno in _DISK:
        return Failure(code="NOT_WRITTEN", message=f"{name or 'a file, or the output'}: {error.strerror}")
    return None


def end(error: BaseException, as_json: bool, program: str) -> int:
    """Say how an error ended a command of *program*; return the exit code."""
    if isinstance(error, click.ClickException):
        return _tell(_misuse(error, program), as_json, program)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return _tell(Failure(code="INTERRUPTED", message="interrupted"), as_json, program)
    if isinstance(error, BrokenPipeError):
        return _closed()
    lost = isinstance(error, OSError) and error.errno in _DISK and _is_output_lost()
    return _tell(failure_of(error) or _fault(error), as_json and not lost, program)


def _misuse(error: click.ClickException, program: str) -> Failure:
    """Return what was typed wrongly; where the parser says so, and no command in its own words, help helps."""
    where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else program
    hint = "" if type(error) in (click.UsageError, click.ClickException) else f"{where} --help"
    return Failure(code="USAGE", message=error.format_message(), hint=hint)


def _tell(failure: Failure, as_json: bool, program: str) -> int:
    """Print how a command ended, words for people to stderr, the one object for programs to stdout."""
    try:
        if as_json:
            click.echo(json.dumps(failure.to_json()))
        else:
            tell_people(failure, program)
    except BrokenPipeError:
        return _closed()
    return failure.exit_code


def tell_people(failure: Failure, program: str) -> None:
    """Say to people how a command ended, or a part of one that goes on."""

    def line(kind: str, text: str) -> None:
        click.echo(f"{program}: {kind}: {text}", err=True)

    if not failure.complaints:  # their sentence is only a summary of them
        public = f" ({failure.code})" if row_of(failure.code).number is not None else ""
        line("error", f"{safe_text(failure.message, MAX_MESSAGE)}{public}")
    for each in failure.complaints:
        file = safe_text(f"{failure.file}:{each.line}: " if each.line else f"{failure.file}: ") if failure.file else ""
        path = f"{safe_text(each.path)}: " if each.path not in ("", "-") else ""
        line("error", f"{file}{path}{safe_text(each.message)} ({safe_text(each.code)})")
        if each.hint:
            line("hint", safe_text(each.hint, MAX_HINT))
    if failure.hint:
        line("hint", safe_text(failure.hint, MAX_HINT))


def _closed() -> int:
    """End where whoever read has had enough: a verdict that was not delivered is no 0."""
    _silence()
    return int(row_of("OUTPUT_CLOSED").exit_code)


def _is_output_lost() -> bool:
    """Return whether it is the output that the disk does not take; what is left of it is given up then."""
    try:
        sys.stdout.flush()
    except OSError:
        _silence()
        return True
    return False


def _silence() -> None:
    """Let what is left of the output go nowhere: the interpreter would fail at it once more."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fault(error: BaseException) -> Failure:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return Failure(code="FAULT", message=f"{type(error).__name__} at {where}", hint=row_of("FAULT").hint)
