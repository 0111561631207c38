"""``exchange audit`` and ``exchange-audit``: verify, show and prove logs, offline.

Exit codes never depend on ``--json``: 0 verified from outside, 2 wrong use, 5 no such thing here, 6 verification
failed, 7 verified as far as it goes but something was not checked. Nothing but the log folder and the files that were
named is read, and no network is touched. Each command is a module of its own, loaded when it is called; those that
need the node's own files stand in ``exchange.cli.audit``.
"""

import os
import sys
from collections.abc import Sequence

import click

from audit.cli.lazy import Commands, LazyGroup
from audit.cli.shared import EXIT_INTERRUPTED, EXIT_USAGE, print_json, safe

COMMANDS: Commands = {
    "verify": ("audit.cli.verify:verify", "Recompute a log and say what was checked and what was not."),
    "show": ("audit.cli.show:show", "Print entries as they are stored."),
    "fork": ("audit.cli.fork:fork", "Make one file of two checkpoints that contradict each other."),
    "report": ("audit.cli.report:report", "Draw a log as one page to look at."),
    "prove": ("audit.cli.show:prove", "Write the proof that an entry is in the log."),
    "compare": ("audit.cli.compare:compare", "Pair what agencies sent with what others received."),
    "retention": ("audit.cli.retention:retention", "List bulletins that a log keeps past their day."),
}


class AuditGroup(LazyGroup):
    """The auditor's commands."""

    lazy = COMMANDS


@click.group(cls=AuditGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def audit() -> None:
    """Verify, show and prove audit logs, offline.

    DIR is a log folder (with a file `checkpoint` in it) or a node's home (with `log/checkpoint`).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``exchange-audit`` and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = audit.main(args=words, prog_name="exchange-audit", standalone_mode=False)
    except click.ClickException as error:
        if "--json" in words:  # one object always, on failure too
            print_json({"ok": False, "code": "USAGE", "message": error.format_message()})
        else:
            print(f"exchange-audit: error: {safe(error.format_message())}", file=sys.stderr)
        code = EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away; the verdict was not delivered, so it must not be 0.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
