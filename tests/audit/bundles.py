"""Bundles of a small log without a home: what the auditor's side is tested with."""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from audit.note.checkpoint import parse_note
from audit.tiles.bundle_format import range_of, write_bundle
from audit.tiles.bundle_readme import readme
from audit.tiles.tar import open_tar, write
from audit.tiles.tiles import TileFolder


def make(folder: Path, path: Path, first: int = 0, last: int | None = None) -> Path:
    """Bundle a log folder."""
    log = TileFolder(folder)
    note = log.note()
    with path.open("wb") as out:
        write_bundle(out, io.BytesIO(), log, note, range_of(parse_note(note).checkpoint.size, first, last), {})
    return path


def members_of(path: Path) -> dict[str, bytes]:
    return dict(open_tar(path).contents())


def remake(path: Path, members: Mapping[str, bytes], first: int, end: int) -> Path:
    """Write altered members with the README that fits them: what a forger would do."""
    checkpoint = parse_note(members["checkpoint"].decode()).checkpoint
    digests = {name: sha256(data).hexdigest() for name, data in sorted(members.items()) if name != "README"}
    return put(path, {**members, "README": readme(checkpoint, first, end, digests).encode()})


def put(path: Path, members: Mapping[str, bytes]) -> Path:
    with path.open("wb") as out:
        write(out, sorted(members.items()))
    return path
