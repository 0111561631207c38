"""``exchange audit verify BUNDLE``: the log's steps, and two of the bundle's own; nothing is unpacked."""

from pathlib import Path

import click

from audit.cli.shared import EXIT_NONE, EXIT_REFUTED, fail, told
from audit.cli.verify import end_with, log_report
from audit.cli.verify_options import VerifyOptions
from audit.tiles.bundle_folder import BundleFolder
from audit.verify.bundle import check_bundle, refused, with_steps
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.roster import load_signed, verify_first_roster


def verify_file(ctx: click.Context, path: Path, options: VerifyOptions) -> None:
    """Verify a bundle, report, and end with the exit code."""
    try:
        folder = BundleFolder(path)
    except RefusedError as error:
        end_with(ctx, refused(error), options.as_json)
        return
    roster = _roster(ctx, options)
    report = log_report(ctx, folder, options, whole=folder.is_whole())
    end_with(ctx, with_steps(report, check_bundle(folder, roster)), options.as_json)


def _roster(ctx: click.Context, options: VerifyOptions) -> SignedPayload | None:
    if options.roster_file is None:
        return None
    try:
        roster = load_signed(Path(options.roster_file))
        verify_first_roster(roster)
    except FileNotFoundError:
        fail(ctx, EXIT_NONE, f"{options.roster_file}: no such file", options.as_json)
    except (RefusedError, OSError) as error:
        fail(ctx, EXIT_REFUTED, told(options.roster_file, error), options.as_json)
    return roster
