"""``exchange audit verify BUNDLE``: the log's steps, and two of the bundle's own; nothing is unpacked."""

from pathlib import Path

from audit.cli.shared import judging
from audit.cli.verify import log_report, report_on
from audit.cli.verify_options import VerifyOptions
from audit.tiles.bundle_folder import BundleFolder
from audit.verify.bundle import check_bundle, refused, with_steps
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.roster import load_signed, verify_first_roster


def verify_file(path: Path, options: VerifyOptions) -> int:
    """Verify a bundle, report, and return the exit code."""
    try:
        folder = BundleFolder(path)
    except RefusedError as error:
        return report_on(refused(error), options.as_json)
    roster = _roster(options)
    report = log_report(folder, options, whole=folder.is_whole())
    return report_on(with_steps(report, check_bundle(folder, roster)), options.as_json)


def _roster(options: VerifyOptions) -> SignedPayload | None:
    if options.roster_file is None:
        return None
    with judging(options.roster_file):
        roster = load_signed(Path(options.roster_file))
        verify_first_roster(roster)
    return roster
