"""``exchange keys make backup-key``: what a node seals its backups to."""

from __future__ import annotations

import os
from pathlib import Path

import click

from keys.cli.ending import answer
from keys.cli.options import FD, FOLDER, JSON, Passphrases


@click.command("backup-key", short_help="Make the key that a node's backups are sealed to.")
@click.option("--agency", required=True, metavar="CODE", help="The agency's code, e.g. HK-SB.")
@click.option("-o", "--output", type=FOLDER, required=True, help="A folder, not on the node; made if it is not there.")
@FD
@JSON
def make_backup_key_command(agency: str, output: Path, passphrase_fd: int | None, as_json: bool) -> None:
    """Make the key that a node's backups are sealed to, so that no passphrase has to lie on the node.

    Only backup.key, the public half, goes to the node.
    """
    from keys.backup_key import PRIVATE_FILE, PUBLIC_FILE, make_backup_key
    from keys.identity import parse_agency, short

    code = parse_agency(agency)
    if (output / PRIVATE_FILE).exists():  # before a passphrase is asked for
        raise FileExistsError(17, "there is a backup key already", str(output / PRIVATE_FILE))
    passphrase = Passphrases.taken(passphrase_fd, fresh=True)("the backup key")
    public = make_backup_key(output, code, passphrase, os.urandom)
    answer(
        as_json,
        {"agency": code, "key_id": public.key_id.hex(), "public": str(output / PUBLIC_FILE)},
        [f"made backup key {short(public.key_id)} of {code} in {output}"],
        [f"take {output / PUBLIC_FILE} to the node; {output / PRIVATE_FILE} stays away from it"],
    )
