"""What ``--tsa-ca`` adds to ``verify``: the tokens beside the log, checked with an authority that the auditor trusts."""

from pathlib import Path
from typing import TYPE_CHECKING

from keys.cli.failure import CommandError

if TYPE_CHECKING:
    from audit.cli.verify_options import VerifyOptions
    from audit.note.checkpoint import VerifierKey
    from audit.tiles.tiles import TileFolder
    from audit.verify.verdict import Report
    from audit.verify.witnesses import WitnessRules


def add_stamps(
    folder: "TileFolder",
    options: "VerifyOptions",
    key: "VerifierKey | None",
    rules: "WitnessRules | None",
    report: "Report",
) -> "Report":
    """Judge the tokens where an authority is named and the log is not refuted already."""
    from audit.note.checkpoint import parse_verifier_key
    from audit.verify.rfc3161 import MAX_AUTHORITY_BYTES, load_authority
    from audit.verify.timestamps import check_stamps, read_tokens, with_stamps
    from keys.errors import RefusedError

    if options.tsa_file is None or report.is_refuted:
        return report
    if options.stamps and not Path(options.stamps).is_dir():
        raise FileNotFoundError(2, "no such folder", options.stamps)
    try:
        with Path(options.tsa_file).open("rb") as file:
            trusted = load_authority(file.read(MAX_AUTHORITY_BYTES), options.tsa_file)
        tokens = read_tokens(folder, Path(options.stamps) if options.stamps else None)
        key = key or parse_verifier_key(folder.key_text().strip())
        return with_stamps(report, check_stamps(folder, key, tokens, trusted, rules.policy if rules else None))
    except FileNotFoundError:
        raise
    except (RefusedError, OSError) as error:
        raise CommandError("REFUTED", f"--tsa-ca: {error}") from error
