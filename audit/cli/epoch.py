"""``exchange audit verify --manifest``: where the epoch before ended, by the manifest that opened this one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import judging

if TYPE_CHECKING:
    from audit.cli.verify_options import VerifyOptions
    from audit.note.epochs import EpochEnd
    from audit.tiles.tiles import TileFolder
    from keys.dsse import SignedPayload


def epoch_end(folder: "TileFolder", options: "VerifyOptions") -> "EpochEnd | None":
    """Read where the epoch before the folder's ended; None where no manifest was given."""
    from keys.roster import load_signed

    if not options.manifest_file:
        return _end_in_bundle(folder, options)
    if not options.roster_file:
        raise click.UsageError("--manifest is verified under the agency's root, which --roster names")
    with judging(options.manifest_file):
        return _end(Path(options.roster_file), load_signed(Path(options.manifest_file)), folder)


def _end_in_bundle(folder: "TileFolder", options: "VerifyOptions") -> "EpochEnd | None":
    """Take the manifest that a bundle holds, as little believed as any: the roster's root key must have signed it."""
    from audit.tiles.bundle_folder import BundleFolder
    from keys.dsse import SignedPayload

    if not isinstance(folder, BundleFolder) or not options.roster_file:
        return None
    name = next((each for each in folder.tar.members if each.startswith("manifests/")), None)
    if name is None:
        return None
    with judging(name):
        return _end(Path(options.roster_file), SignedPayload.decode(folder.tar.read(name)), folder)


def _end(roster_file: Path, signed: "SignedPayload", folder: "TileFolder") -> "EpochEnd | None":
    from audit.note.checkpoint import parse_note
    from audit.note.epochs import EpochEnd, end_before, opening_of
    from audit.verify.trust import member_of_log
    from keys.dsse import verify
    from keys.errors import RefusedError
    from keys.identity import short
    from keys.manifest import manifest_digest, parse_manifest
    from keys.roster import load_signed, verify_first_roster

    member, epoch = member_of_log(
        verify_first_roster(load_signed(roster_file)), parse_note(folder.note()).checkpoint.origin
    )
    verify(signed, "manifest", {member.root_key.key_id: member.root_key}.get)
    manifest = parse_manifest(signed.payload)
    opening = opening_of(manifest.log_epochs, epoch)
    if opening is None:
        raise RefusedError("LANE_UNKNOWN", f"manifest {manifest.version} of {manifest.agency} opens no epoch {epoch}")
    end = end_before(opening)
    source = f"manifest {manifest.version} of {manifest.agency}, {short(manifest_digest(signed))}"
    return EpochEnd(checkpoint=end, source=source) if end is not None else None
