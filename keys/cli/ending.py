"""The one place where a command's end becomes words, the object of ``--json`` and an exit code.

Commands raise, or return the exit code of an answer that they have printed. ``run`` alone speaks: words for people go
to stderr, the one object for programs to stdout, and the number is that of the code's row in ``keys.refusals``. The
words are found in ``keys.cli.failure``, which is loaded when a command is chosen or has failed: help waits for nothing.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import click


def run(group: click.Command, arguments: Sequence[str], program: str) -> int:
    """Run one command of *program* and say how it ended.

    Returns:
        Its exit code, as ``exchange help exit-codes`` lists them.
    """
    as_json = "--json" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = group.main(args=list(arguments), prog_name=program, standalone_mode=False)
        sys.stdout.flush()  # a full disk is said here, and not by the interpreter's last breath
    except SystemExit as ended:  # how click ends after the words that a shell completes
        return ended.code if isinstance(ended.code, int) else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place where an error can become words
        from keys.cli import failure

        return failure.end(error, as_json, program)
    return result if isinstance(result, int) else 0


class EndingGroup(click.Group):
    """A group of commands that, started by itself, ends as ``run`` says."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; by itself the process ends with its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        sys.exit(run(self, sys.argv[1:] if args is None else list(args), prog_name or self.name or ""))


def print_json(value: dict[str, Any]) -> None:
    """Print the one object of ``--json``."""
    import json

    click.echo(json.dumps(value))


def answer(as_json: bool, value: dict[str, Any], lines: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Print a result: one object for programs; for people lines, and on stderr what they may want to do next."""
    if as_json:
        print_json({"ok": True, **value})
        return
    for each in lines:
        click.echo(each)
    for each in notes:
        click.echo(f"exchange: {each}", err=True)
