"""``exchange audit`` and ``exchange-audit``: verify, show and prove logs, offline.

Exit codes never depend on ``--json``: 0 verified from outside, 2 wrong use, 5 no such thing here, 6 verification
failed, 7 verified as far as it goes but something was not checked. Nothing but the log folder and the files that were
named is read, and no network is touched. Each command is a module of its own, loaded when it is called; those that
need the node's own files stand in ``exchange.cli.audit``.
"""

import sys
from collections.abc import Sequence

import click

from audit.cli.lazy import Commands, LazyGroup, version_option
from keys.cli import ending

COMMANDS: Commands = {
    "verify": ("audit.cli.verify:verify", "Recompute a log and say what was checked and what was not."),
    "show": ("audit.cli.show:show", "Print entries as they are stored."),
    "fork": ("audit.cli.fork:fork", "Make one file of two checkpoints that contradict each other."),
    "report": ("audit.cli.report:report", "Draw a log as one page to look at."),
    "prove": ("audit.cli.show:prove", "Write the proof that an entry is in the log."),
    "compare": ("audit.cli.compare:compare", "Pair what agencies sent with what others received."),
    "retention": ("audit.cli.retention:retention", "List bulletins that a log keeps past their day."),
}


# What exchange has of its own, for all its commands.
OWN_COMMANDS: Commands = {
    "help": ("audit.cli.topics:topics", "Exit codes, and what each code means."),
    "completion": ("audit.cli.topics:completion", "Print the completion script of a shell."),
}


class AuditGroup(LazyGroup):
    """The auditor's commands."""

    lazy = COMMANDS | OWN_COMMANDS


@click.group(cls=AuditGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@version_option("exchange-audit")
def audit() -> None:
    """Verify, show and prove audit logs, offline.

    DIR is a log folder (with a file `checkpoint` in it) or a node's home (with `log/checkpoint`).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``exchange-audit`` and end the process with its exit code."""
    sys.exit(ending.run(audit, sys.argv[1:] if arguments is None else list(arguments), "exchange-audit"))


if __name__ == "__main__":
    main()
