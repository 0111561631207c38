"""``exchange audit bundle``: one log and what belongs to it as one file for an auditor."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import click

from audit.cli.shared import open_folder, shown
from audit.tiles.bundle_format import Range, default_name, range_of, write_bundle
from exchange.evidence.gather_bundle import Snapshot, members_of, snapshot
from exchange.node.config import paths_of
from exchange.store.factory import open_reading, store_exists
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON
from keys.errors import IntegrityError, RefusedError


@click.command()
@click.argument("home", metavar="HOME")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First entry, from 0.")
@click.option("--to", "last", type=click.IntRange(min=0), help="Last entry, included.")
@click.option("-o", "--output", metavar="FILE", default=".", help="The file, or a folder; by default this folder.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@JSON
def bundle(home: str, first: int, last: int | None, output: str, force: bool, as_json: bool) -> None:
    """Write a node's log, receipts, keys and schema as one file that an auditor checks without a network.

    The same log gives the same bytes. The node may be running; no key and no passphrase is needed. Hash tiles go in
    whole; entries in the bundles of 256 that hold those asked for.
    """
    folder = open_folder(home)
    path = Path(output)
    try:
        taken = snapshot(folder)
        span = range_of(taken.checkpoint.size, first, last)
        if path.is_dir():
            path /= default_name(taken.checkpoint, span)
        if path.exists() and not force:
            raise FileExistsError
        size, digest = _write(path, Path(home), taken, span, force)
    except LookupError as error:
        raise CommandError("NO_SUCH_ENTRY", f"{home}: {error}") from error
    except (RefusedError, IntegrityError) as error:
        raise CommandError("REFUTED", f"{home}: {error}") from error
    except FileExistsError as error:
        raise CommandError(
            "FILE_EXISTS", f"it is there already and stays as it is: {path}", "--force replaces it"
        ) from error
    except OSError as error:
        raise CommandError("NOT_WRITTEN", f"{path} cannot be written: {error.strerror}") from error
    if as_json:
        told = {"file": str(path), "origin": taken.checkpoint.origin, "size": taken.checkpoint.size}
        print_json({**told, "from": span.first, "to": span.end - 1, "bytes": size, "sha256": digest})
    else:
        print(
            f"{shown(str(path))}: entries {span.first:,} to {span.end - 1:,} of {shown(taken.checkpoint.origin)}, {size:,} bytes"
        )
        print(f"  SHA-256 {digest}")


def _write(path: Path, home: Path, taken: Snapshot, span: Range, force: bool) -> tuple[int, str]:
    """Write the file whole or not at all; return its size and SHA-256."""
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=path.parent) as work:
        made = Path(work) / "made"
        with made.open("w+b") as out, (Path(work) / "spool").open("w+b") as spool:
            _fill(out, spool, home, taken, span)
            out.flush()
            os.fsync(out.fileno())
            size, digest = out.tell(), _digest(out)
        if not force:
            path.open("xb").close()  # an existing file stays; a link would do, but a memory stick knows none
        made.replace(path)
    return size, digest


def _fill(out: BinaryIO, spool: BinaryIO, home: Path, taken: Snapshot, span: Range) -> None:
    if not store_exists(paths_of(home).store):  # a mirror: the log's files alone
        write_bundle(out, spool, taken.folder, taken.note, span, {})
        return
    store = open_reading(paths_of(home).store)
    try:
        write_bundle(out, spool, taken.folder, taken.note, span, members_of(home, store.reader(), taken, span))
    finally:
        store.close()


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
