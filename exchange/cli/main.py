"""``exchange``: one command with lazy sub-commands, and the one place where errors become words and exit codes.

Nothing heavy is imported before a sub-command is chosen: ``exchange --help`` stays quick, and ``exchange audit`` never
loads the network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from audit.cli.lazy import LazyGroup
from exchange.cli.exits import FAULT, INCOMPLETE, INTERRUPTED, USAGE, Failure, failure_of

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
    "help": ("exchange.cli.topics:topics", "Exit codes, refusal codes, environment."),
    "completion": ("exchange.cli.topics:completion", "Print the completion script of a shell."),
}


class ExchangeGroup(LazyGroup):
    """Every command."""

    lazy = COMMANDS


@click.group(cls=ExchangeGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="interagency-exchange", prog_name="exchange")
def cli() -> None:
    """Signed, sealed case bulletins between agencies, and a log that nobody rewrites.

    New here? Type `exchange demo`. Agencies are named by their codes, as HK-IMMD. Times are UTC.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        Its exit code, as ``exchange help exit-codes`` lists them.
    """
    as_json = "--json" in arguments
    try:
        result = cli.main(args=list(arguments), prog_name="exchange", standalone_mode=False)
    except click.UsageError as error:
        told = error.format_message()
        where = error.ctx.command_path if error.ctx is not None else "exchange"
        return tell(Failure(exit_code=USAGE, code="USAGE", message=told, hint=f"{where} --help"), as_json)
    except click.ClickException as error:
        return tell(Failure(exit_code=USAGE, code="USAGE", message=error.format_message()), as_json)
    except SystemExit as ended:  # how exchange keys ends where it has already said why
        return ended.code if isinstance(ended.code, int) else 0
    except (click.Abort, KeyboardInterrupt):
        return tell(Failure(exit_code=INTERRUPTED, code="INTERRUPTED", message="interrupted"), as_json)
    except BrokenPipeError:
        return INCOMPLETE  # whoever read has had enough; a verdict that was not delivered is no 0
    except Exception as error:  # noqa: BLE001 - the last place where an error can become words
        return tell(failure_of(error) or _fault(error), as_json)
    return result if isinstance(result, int) else 0


def tell(failure: Failure, as_json: bool) -> int:
    """Say how a command ended; words for people go to stderr, the one object for programs to stdout."""
    from exchange.authoring.text import safe_text

    if as_json:
        import json

        print(json.dumps(failure.to_json()))
        return failure.exit_code
    if not failure.complaints:  # their sentence is only a summary of them
        print(f"exchange: error: {safe_text(failure.message, 500)}", file=sys.stderr)
    for each in failure.complaints:
        file = safe_text(f"{failure.file}:{each.line}: " if each.line else f"{failure.file}: ") if failure.file else ""
        path = f"{safe_text(each.path)}: " if each.path not in ("", "-") else ""
        print(f"exchange: error: {file}{path}{safe_text(each.message)} ({safe_text(each.code)})", file=sys.stderr)
        if each.hint:
            print(f"exchange: hint: {safe_text(each.hint, 400)}", file=sys.stderr)
    if failure.hint:
        print(f"exchange: hint: {safe_text(failure.hint, 400)}", file=sys.stderr)
    return failure.exit_code


def _fault(error: Exception) -> Failure:
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return Failure(
        exit_code=FAULT,
        code="FAULT",
        message=f"{type(error).__name__} at {where}",
        hint="this is our fault; please report it with these words",
    )
