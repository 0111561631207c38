"""``exchange node backup`` and ``restore``: a home in one sealed file, and out of it again."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.entry.names import instant
from exchange.cli.options import home_option, json_option, passphrase_option, read_passphrase
from keys.cli.ending import answer

if TYPE_CHECKING:
    from exchange.recovery.restore import Backup

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=False, file_okay=False, path_type=Path)
WHOSE = "the backup"


@click.command("backup", short_help="Write a sealed backup of a home; the node may run.")
@home_option
@click.option("-o", "--output", type=FILE, required=True, help="The new file, outside the home.")
@click.option("--to", "recipient", type=FILE, help="A backup key's public half: exchange keys make backup-key.")
@passphrase_option
@json_option
def backup(home: Path, output: Path, recipient: Path | None, passphrase_fd: int | None, as_json: bool) -> None:
    """Write a sealed backup of a home into one file; the node may run meanwhile.

    It is sealed to a passphrase, or with --to to a key, so that no passphrase has to lie on the node. What opens
    content is never in it: after a loss the texts come back from the other members, and nothing that was erased does.
    """
    from exchange.node.config import load_config, paths_of
    from exchange.recovery.backup import check_possible, make_backup
    from keys.backup_key import load_backup_record
    from keys.sealed_stream import for_key, for_passphrase

    config, paths = load_config(home), paths_of(home)
    check_possible(paths, output)  # before a passphrase is asked for
    if recipient is not None:
        if passphrase_fd is not None:
            raise click.UsageError("--to needs no passphrase: leave --passphrase-fd out")
        header = partial(for_key, recipient=load_backup_record(recipient, config.agency), random_bytes=os.urandom)
    else:
        typed = read_passphrase(passphrase_fd, WHOSE, confirm=True)
        header = partial(for_passphrase, passphrase=typed, random_bytes=os.urandom)
    made = make_backup(paths, config.agency, output, header, time.time_ns() // 1_000_000)
    size = int(made.facts["size"])
    answer(
        as_json,
        {
            "file": str(output),
            "agency": config.agency,
            "size": size,
            "files": made.files,
            "bytes": made.size,
            "left_out": list(made.left_out),
        },
        [f"made {output}: {config.agency}, log of {size:,} entries, {made.files:,} files, {made.size:,} bytes"],
        [f"left out: {', '.join(made.left_out) or 'nothing'}"],
    )


@click.command("restore", short_help="Unpack a backup into a new home.")
@click.argument("file", type=FILE)
@click.option("--home", type=FOLDER, envvar="EXCHANGE_HOME", help="The new home; it is not there yet.")
@click.option("--show", is_flag=True, help="Only say what the file is; nothing is opened.")
@click.option("--key", "key_file", type=FILE, help="The backup key's private half, for a file made with --to.")
@passphrase_option
@json_option
def restore(
    file: Path, home: Path | None, show: bool, key_file: Path | None, passphrase_fd: int | None, as_json: bool
) -> None:
    """Unpack a backup into a new home, whole or not at all; the next step is exchange node recover.

    The node signs nothing in it before that: since the backup was made its log has gone on, and the members know how far.
    """
    from exchange.recovery.restore import check_new_home, open_backup, unpack

    with open_backup(file) as opened:
        told, line = _told(opened)
        if show:
            answer(as_json, {"file": str(file), **told}, [line])
            return
        if home is None:
            raise click.UsageError("--home NEWHOME is needed, or --show")
        check_new_home(home)
        count = unpack(opened, _key(opened, key_file, passphrase_fd), home)
    answer(
        as_json,
        {"home": str(home), "files": count, **told},
        [line, f"restored into {home}: {count:,} files"],
        [f"next: exchange node recover --home {home} --from-peers"],
    )


def _key(opened: Backup, key_file: Path | None, passphrase_fd: int | None) -> bytes:
    """Ask for what opens a backup."""
    from keys.backup_key import load_backup_key
    from keys.sealed_stream import key_by_opener, key_by_passphrase

    name = str(opened.path)
    if not opened.head.to_key:
        if key_file is not None:
            raise click.UsageError(f"{name} is sealed to a passphrase: leave --key out")
        return key_by_passphrase(opened.fields, name, read_passphrase(passphrase_fd, WHOSE))
    if key_file is None:
        raise click.UsageError(
            f"{name} is sealed to key {opened.head.to_key[:8]}: --key FILE, its private half, is needed"
        )
    if not key_file.exists():
        raise FileNotFoundError(2, "no such file", str(key_file))
    return key_by_opener(
        opened.fields, name, load_backup_key(key_file, read_passphrase(passphrase_fd, "the backup key"))
    )


def _told(opened: Backup) -> tuple[dict[str, Any], str]:
    """Return what a backup's header says, for programs and for people."""
    head = opened.head
    told = {
        "format": 1,
        "agency": head.agency,
        "size": head.size,
        "log_at": _time(head.log_ms),
        "made_at": _time(head.time_ms),
        "key": head.to_key or None,
    }
    sealed = f"key {head.to_key[:8]}" if head.to_key else "a passphrase"
    return told, (
        f"{opened.path}: backup of {head.agency}, made {_time(head.time_ms)}; log of {head.size:,} entries,"
        f" the last of {_time(head.log_ms)}; sealed to {sealed}"
    )


def _time(at_ms: int) -> str:
    return instant(at_ms * 1000)[:19] + "Z"
