"""``exchange keys make epoch``: what the agency's root signs after its node was lost."""

from __future__ import annotations

from pathlib import Path

import click

from keys.cli.ending import answer
from keys.cli.options import FD, FILE, HOME, JSON, OUTPUT, ROSTER, Passphrases, check_new, federation_of, now_ms


@click.command("epoch", short_help="Open a new epoch of the agency's log.")
@click.argument("checkpoint", type=FILE)
@HOME
@ROSTER
@click.option("--manifest", type=FILE, required=True, help="The newest manifest of the agency.")
@OUTPUT
@FD
@JSON
def make_epoch_command(
    checkpoint: Path,
    home: Path,
    roster: Path,
    manifest: Path,
    output: Path,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Open a new epoch of the agency's log after CHECKPOINT; needs the root's passphrase.

    For a node that was lost or restored: exchange node recover writes the checkpoint that was seen last. Compare its
    size with what your peers say before you sign: entries after it are given up.
    """
    from keys.epoch import open_epoch, read_end
    from keys.key_files import load_root
    from keys.manifest import parse_manifest
    from keys.roster import save_signed
    from keys.show import load_kind

    check_new(output)
    federation, before = federation_of(roster), load_kind(manifest, "manifest")
    member = federation.member(parse_manifest(before.payload).agency, now_ms())
    opening = read_end(checkpoint.read_bytes().decode("utf-8", "replace"), member)
    if not as_json:  # before the passphrase is asked for
        click.echo(f"exchange: {opening.previous_origin} ended at size {opening.previous_size}", err=True)
    root = load_root(home, Passphrases.late(passphrase_fd, "root"))
    signed = open_epoch(root.root, before, opening, now_ms())
    federation.with_manifest(signed, now_ms())
    save_signed(output, signed)
    version = parse_manifest(signed.payload).version
    answer(
        as_json,
        {"file": str(output), "agency": root.agency, "version": version, "epoch": opening.epoch},
        [f"made {output}: manifest {version} of {root.agency}, which opens epoch {opening.epoch} of its log"],
    )
