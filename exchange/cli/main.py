"""``exchange``: one command with lazy sub-commands.

Nothing heavy is imported before a sub-command is chosen: ``exchange --help`` stays quick, and ``exchange audit`` never
loads the network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from audit.cli.lazy import LazyGroup, version_option
from keys.cli import ending

# name: (module:attribute, summary), in the order of --help.
COMMANDS = {
    "check": ("exchange.cli.officer.check:check", "Judge bulletins before anybody signs them."),
    "draft": ("exchange.cli.officer.draft:draft", "Write a commented template for a kind of bulletin."),
    "publish": ("exchange.cli.officer.publish:publish", "Sign bulletins and hand them to your node."),
    "reply": ("exchange.cli.officer.publish:reply", "Answer a bulletin, marking and audience inherited."),
    "inbox": ("exchange.cli.officer.inbox:inbox", "List what has come, without its text."),
    "read": ("exchange.cli.officer.read:read", "Open a bulletin; the request is signed and logged first."),
    "outbox": ("exchange.cli.officer.outbox:outbox", "Say what became of what you sent, receipts verified."),
    "hold": ("exchange.cli.officer.hold:hold", "Keep a bulletin from erasure, or let it go again."),
    "unlock": ("exchange.cli.officer.unlock:unlock", "Keep your keys open for a sitting."),
    "lock": ("exchange.cli.officer.unlock:lock", "Close them again."),
    "node": ("exchange.cli.operator.node:node", "Make, run and examine a node."),
    "witness": ("exchange.cli.operator.witness:witness", "Cosign other people's logs, without a node."),
    "keys": ("keys.cli.main:keys", "Make, sign, show and adopt keys and rosters."),
    "audit": ("exchange.cli.auditor.audit:audit", "Verify, show and prove logs, offline."),
    "demo": ("exchange.cli.operator.demo:demo", "Eighteen agencies, 25 bulletins, one auditor, on this machine."),
    "help": ("exchange.cli.topics:topics", "Exit codes, what each code means, environment."),
    "completion": ("exchange.cli.topics:completion", "Print the completion script of a shell."),
}


class ExchangeGroup(LazyGroup):
    """Every command."""

    lazy = COMMANDS


@click.group(cls=ExchangeGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@version_option("exchange")
def cli() -> None:
    """Signed, sealed case bulletins between agencies, and a log that nobody rewrites.

    New here? Type `exchange demo`. Agencies are named by their codes, as HK-IMMD. Times are UTC.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code, as ``exchange help exit-codes`` lists them."""
    return ending.run(cli, arguments, "exchange")
