"""``exchange audit verify FILE.zip``: the evidence for one bulletin, with nothing else but the roster."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import judging
from audit.cli.verify import report_json
from audit.cli.verify_options import VerifyOptions
from audit.evidence.verify import Render, verify_evidence
from audit.evidence.zip import MAGIC, MAX_ARCHIVE_BYTES
from audit.verify.verdict import OK, Report
from keys.cli.ending import print_json
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.roster import load_signed, parse_roster, verify_first_roster
from keys.text import safe_text

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def is_evidence(head: bytes) -> bool:
    """Return whether a file begins as an evidence file does."""
    return head.startswith(MAGIC)


def verify_file(path: Path, options: VerifyOptions) -> int:
    """Verify an evidence file, report, and return the exit code."""
    given = _roster(options)
    with judging(str(path)), path.open("rb") as file:
        data = file.read(MAX_ARCHIVE_BYTES + 1)
    report = verify_evidence(data, given=given, render=_render(options), authority=_authority(options))
    if options.as_json:
        print_json(report_json(report))
    else:
        _print(report)
    return report.exit_code


def _roster(options: VerifyOptions) -> SignedPayload | None:
    name = options.roster_file
    if name is None:
        return None
    with judging(name):
        given = load_signed(Path(name))
        if parse_roster(given.payload).version == 1:  # a later one is verified as a part of the file's own chain
            verify_first_roster(given)
    return given


def _authority(options: VerifyOptions) -> "tuple[Certificate, ...] | None":
    from audit.verify.rfc3161 import MAX_AUTHORITY_BYTES, load_authority

    name = options.tsa_file
    if name is None:
        return None
    try:
        with Path(name).open("rb") as file:
            return load_authority(file.read(MAX_AUTHORITY_BYTES), name)
    except FileNotFoundError:
        raise
    except (RefusedError, OSError) as error:
        raise click.UsageError(str(error)) from error


def _render(options: VerifyOptions) -> Render | None:
    """Find how the exchange words a statement; ``exchange-audit`` knows no bulletins and leaves that unchecked."""
    if options.render is None:
        return None
    module, _, function = options.render.partition(":")
    found: Render = getattr(import_module(module), function)
    return found


def _print(report: Report) -> None:
    if report.origin is not None:
        print(f"evidence of an entry of {safe_text(report.origin)}")
    for step in report.steps:
        detail = step.detail if step.result == OK else f"{step.result}: {step.detail}"
        print(f"  {step.step:>2} {step.name:<10} {safe_text(detail, None)}{'  ok' if step.result == OK else ''}")
    print(f"{safe_text(report.verdict[0].upper() + report.verdict[1:], None)}.")
    if report.is_refuted:
        print("Keep this file as it is.")
