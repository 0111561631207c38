"""``exchange audit verify FILE.zip``: the evidence for one bulletin, with nothing else but the roster."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import EXIT_NONE, EXIT_REFUTED, EXIT_USAGE, RENDER, fail, print_json, told
from audit.cli.verify import report_json
from audit.cli.verify_options import VerifyOptions
from audit.evidence.verify import Render, verify_evidence
from audit.evidence.zip import MAGIC, MAX_ARCHIVE_BYTES
from audit.verify.verdict import OK, Report
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.roster import load_signed, parse_roster, verify_first_roster
from keys.text import safe_text

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def is_evidence(head: bytes) -> bool:
    """Return whether a file begins as an evidence file does."""
    return head.startswith(MAGIC)


def verify_file(ctx: click.Context, path: Path, options: VerifyOptions) -> None:
    """Verify an evidence file, report, and end with the exit code."""
    given = _roster(ctx, options)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ARCHIVE_BYTES + 1)
    except OSError as error:
        fail(ctx, EXIT_REFUTED, f"{path}: cannot be read: {error.strerror}", options.as_json)
    report = verify_evidence(data, given=given, render=_render(ctx), authority=_authority(ctx, options))
    if options.as_json:
        print_json(report_json(report))
    else:
        _print(report)
    ctx.exit(report.exit_code)


def _roster(ctx: click.Context, options: VerifyOptions) -> SignedPayload | None:
    name = options.roster_file
    if name is None:
        return None
    try:
        given = load_signed(Path(name))
        if parse_roster(given.payload).version == 1:  # a later one is verified as a part of the file's own chain
            verify_first_roster(given)
    except FileNotFoundError:
        fail(ctx, EXIT_NONE, f"{name}: no such file", options.as_json)
    except (RefusedError, OSError) as error:
        fail(ctx, EXIT_REFUTED, told(name, error), options.as_json)
    return given


def _authority(ctx: click.Context, options: VerifyOptions) -> "tuple[Certificate, ...] | None":
    from audit.verify.rfc3161 import MAX_AUTHORITY_BYTES, load_authority

    name = options.tsa_file
    if name is None:
        return None
    try:
        with Path(name).open("rb") as file:
            return load_authority(file.read(MAX_AUTHORITY_BYTES), name)
    except FileNotFoundError:
        fail(ctx, EXIT_NONE, f"{name}: no such file", options.as_json)
    except (RefusedError, OSError) as error:
        fail(ctx, EXIT_USAGE, str(error), options.as_json)


def _render(ctx: click.Context) -> Render | None:
    """Find how the exchange words a statement; ``exchange-audit`` knows no bulletins and leaves that unchecked."""
    place = (ctx.obj or {}).get(RENDER)
    if place is None:
        return None
    module, _, function = place.partition(":")
    found: Render = getattr(import_module(module), function)
    return found


def _print(report: Report) -> None:
    if report.origin is not None:
        print(f"evidence of an entry of {safe_text(report.origin)}")
    for step in report.steps:
        detail = step.detail if step.result == OK else f"{step.result}: {step.detail}"
        print(f"  {step.step:>2} {step.name:<10} {safe_text(detail, None)}{'  ok' if step.result == OK else ''}")
    print(f"{safe_text(report.verdict[0].upper() + report.verdict[1:], None)}.")
    if report.exit_code == EXIT_REFUTED:
        print("Keep this file as it is.")
