"""A group of commands that imports one only when it is called; help lists them from a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from keys.cli.ending import EndingGroup

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PRODUCT, PACKAGE = "Interagency Exchange", "interagency-exchange"  # one name for people, one for installers

F = TypeVar("F", bound=Callable[..., Any])
Commands = dict[str, tuple[str, str]]  # name: (module:attribute, summary), in the order of --help


class _Context(click.Context):
    """Knows how wide its help is: click asks ``shutil``, which loads four compressors first."""

    def make_formatter(self) -> click.HelpFormatter:
        """Return what writes the help, as wide as click would have it."""
        if self.terminal_width is None:
            self.terminal_width = max(min(terminal_columns(), self.max_content_width or 80) - 2, 50)
        return super().make_formatter()


def terminal_columns() -> int:
    """Return the columns of the terminal, as ``shutil.get_terminal_size`` finds them."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    try:
        return columns if columns > 0 else os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr] # None ends as below
    except (AttributeError, ValueError, OSError):
        return 80


class LazyGroup(EndingGroup):
    """A group whose commands stand in the table *lazy*: help stays quick, and nothing that is not asked for loads."""

    context_class = _Context
    lazy: Commands = {}  # noqa: RUF012 - a subclass or an instance has its own

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the table's order."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, None where the table has none of this name."""
        if cmd_name not in self.lazy:
            return None
        import_module("keys.cli.failure")  # how it may end: once it has failed, perhaps no file can be opened
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.lazy.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what a word may become; commands from the table, so that a shell waits for no import."""
        from click.shell_completion import CompletionItem

        rows = [(name, summary) for name, (_, summary) in self.lazy.items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=summary) for name, summary in rows] + click.Command.shell_complete(
            self, ctx, incomplete
        )


def version_option(program: str) -> Callable[[F], F]:
    """Add ``--version``: program, product, release."""
    return click.version_option(package_name=PACKAGE, message=f"{program} ({PRODUCT}) %(version)s")
