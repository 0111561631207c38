"""A group of commands that imports one only when it is called; help lists them from a table."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from keys.cli.ending import EndingGroup

PRODUCT, PACKAGE = "Interagency Exchange", "interagency-exchange"  # one name for people, one for installers

F = TypeVar("F", bound=Callable[..., Any])
Commands = dict[str, tuple[str, str]]  # name: (module:attribute, summary), in the order of --help


class LazyGroup(EndingGroup):
    """A group whose commands stand in the table *lazy*: help stays quick, and nothing that is not asked for loads."""

    lazy: Commands = {}  # noqa: RUF012 - a subclass or an instance has its own

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the table's order."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, None where the table has none of this name."""
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.lazy.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what a word may become; commands from the table, so that a shell waits for no import."""
        rows = [(name, summary) for name, (_, summary) in self.lazy.items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=summary) for name, summary in rows] + click.Command.shell_complete(
            self, ctx, incomplete
        )


def version_option(program: str) -> Callable[[F], F]:
    """Add ``--version``: program, product, release."""
    return click.version_option(package_name=PACKAGE, message=f"{program} ({PRODUCT}) %(version)s")
