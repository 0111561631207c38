"""A bundle: one log and what belongs to it as one file, for an auditor who has nothing else and no network.

A strict tar (``audit.tiles.tar``) whose members, unpacked, are a C2SP tlog-tiles folder. Everything in it is a copy or is
computed from the rest, so the same log gives the same bytes on any machine. ``README`` holds the SHA-256 of every other
member and is itself computed from them: a reader makes it again and compares, so no bit of a bundle is without a check.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from shutil import copyfileobj
from typing import BinaryIO

from audit.entry.grammar import LINES
from audit.note.checkpoint import Checkpoint, parse_note
from audit.note.tlogproof import MAX_PROOF_BYTES
from audit.tiles.bundle_readme import readme
from audit.tiles.tar import BLOCK, END, header
from audit.tiles.tile_names import (
    CHECKPOINT,
    ENTRIES,
    KEY_FILE,
    MAX_BUNDLE_BYTES,
    MLDSA44_KEY_FILE,
    WITNESSED,
    encode_bundle,
    parse_tile_name,
    tile_name,
    tiles_at,
)
from audit.tiles.tiles import MissingError, TileFolder
from audit.tree.merkle import TILE_WIDTH
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError

README, POLICY, KEYS, WITNESSES, SCRIPT = "README", "policy", "keys", "witnesses.vkeys", "check.py"
RECEIPTS = "receipts/receipts.tsv"
MAX_TEXT_BYTES = 1 << 20  # policy, keys: a few lines a member of the federation
MAX_RECORD_FILE_BYTES = 2 << 20  # rosters and manifests; their own limit is 1 MiB
MAX_TABLE_BYTES = 1 << 30  # a line a receipt
MAX_STAMP_BYTES = 256 << 10
MAX_LINE_BYTES = 400  # of README or the table: a digest or three numbers, and a name that a tar can hold
_README_BYTES = 64 << 10  # of its words

_ORIGIN = r"[a-z0-9][a-z0-9.-]*/log/[1-9][0-9]{0,9}"
_NUMBER = r"(?:0|[1-9][0-9]{0,18})"
# What a bundle may hold, and how large it may be. Tiles have their own rule.
MEMBERS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern, re.ASCII), limit)
    for pattern, limit in (
        (README, 1 << 30),
        (rf"{CHECKPOINT}|{WITNESSED}", MAX_NOTE_BYTES),
        (rf"log\.vkey|log-mldsa44\.vkey|{POLICY}|{KEYS}|witnesses\.vkeys|check\.py", MAX_TEXT_BYTES),
        (r"schema/(?:entry\.proto|kinds\.tsv)", MAX_TEXT_BYTES),
        (rf"peers/{_ORIGIN}/{CHECKPOINT}", MAX_NOTE_BYTES),
        (rf"peers/{_ORIGIN}/{_NUMBER}\.tlog-proof", MAX_PROOF_BYTES),
        (RECEIPTS, MAX_TABLE_BYTES),
        (rf"roster/{_NUMBER}", MAX_RECORD_FILE_BYTES),
        (rf"manifests/[A-Z0-9-]+/{_NUMBER}", MAX_RECORD_FILE_BYTES),
        (r"timestamps/[A-Za-z0-9][A-Za-z0-9.-]*\.(?:tsr|pem|note)", MAX_STAMP_BYTES),
        (r"disclosures/[A-Za-z0-9][A-Za-z0-9.-]*", MAX_RECORD_FILE_BYTES),
    )
)

Source = Callable[[], bytes]
"""Reads a member's bytes when they are written: a bundle of any size is made in little memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which entries a bundle holds, in whole entry bundles of 256."""

    first: int
    end: int  # after the last
    size: int  # of the log

    @property
    def whole(self) -> bool:
        """Return whether that is all."""
        return (self.first, self.end) == (0, self.size)


def range_of(size: int, first: int = 0, last: int | None = None) -> Range:
    """Return the range of whole entry bundles that holds entries *first* to *last*, both included.

    Raises:
        LookupError: The log has no such entry.
    """
    last = size - 1 if last is None else last
    if not 0 <= first <= last < size:
        raise LookupError(f"no entries {first} to {last}: the log holds 0 to {size - 1}")
    return Range(first=first - first % TILE_WIDTH, end=min(size, last - last % TILE_WIDTH + TILE_WIDTH), size=size)


def write_bundle(
    out: BinaryIO, spool: BinaryIO, folder: TileFolder, note: str, stored: Range, more: Mapping[str, Source]
) -> None:
    """Write a bundle of the log in *folder* as *note* commits to it.

    Args:
        out: Where the bundle goes.
        spool: A temporary file, empty; README comes first but is known last.
        folder: The log's files, at the note's size or grown beyond it.
        note: The checkpoint.
        stored: Which entries; every hash tile goes in, whatever the entries.
        more: Everything else, by name.

    Raises:
        RefusedError: MALFORMED; the log's files do not hold what the checkpoint commits to, or a name that no bundle
            holds.
    """
    checkpoint = parse_note(note).checkpoint
    sources: dict[str, Source] = {CHECKPOINT: note.encode, KEY_FILE: folder.key_text().encode, **more}
    with suppress(MissingError):
        sources[MLDSA44_KEY_FILE] = folder.text(MLDSA44_KEY_FILE).encode
    sources |= static_members() | _tiles(folder, stored)
    digests: dict[str, str] = {}
    for name in sorted(sources):
        data = sources[name]()
        check_name(name, len(data))
        digests[name] = sha256(data).hexdigest()
        _add(spool, name, data)
    _add(out, README, readme(checkpoint, stored.first, stored.end, digests).encode())
    spool.seek(0)
    copyfileobj(spool, out, 1 << 20)
    out.write(END)


def check_name(name: str, size: int) -> None:
    """Check that a bundle may hold a member of this name and size.

    Raises:
        RefusedError: MALFORMED.
    """
    tile = parse_tile_name(name)
    if tile is not None:
        exact = None if tile[0] == ENTRIES else 32 * tile[2]
        if exact is not None and size != exact:
            raise RefusedError("MALFORMED", f"{name}: {size} bytes instead of {exact}")
        limit: int | None = MAX_BUNDLE_BYTES
    else:
        limit = next((most for pattern, most in MEMBERS if pattern.fullmatch(name)), None)
    if limit is None:
        raise RefusedError("MALFORMED", f"{name}: no name that a bundle holds")
    if size > limit:
        raise RefusedError("MALFORMED", f"{name}: {size} bytes, at most {limit} were expected")


def check_lists(sizes: Mapping[str, int]) -> None:
    """Check that the two members that list others are no longer than that many lines can be.

    Raises:
        RefusedError: MALFORMED.
    """
    receipts = sum(name.endswith(".tlog-proof") for name in sizes)
    for name, most in ((README, _README_BYTES + MAX_LINE_BYTES * len(sizes)), (RECEIPTS, MAX_LINE_BYTES * receipts)):
        if sizes.get(name, 0) > most:
            raise RefusedError("MALFORMED", f"{name}: {sizes[name]} bytes, at most {most} were expected")


def static_members() -> dict[str, Source]:
    """Return what is the same in every bundle: the entries' schema, their kinds, the script that checks them."""
    return {
        "schema/entry.proto": lambda: files("audit").joinpath("schema/entry.proto").read_bytes(),
        "schema/kinds.tsv": lambda: kinds_table().encode(),
        SCRIPT: lambda: script().encode(),
    }


def script() -> str:
    """Return the program of ``audit/README.md`` that checks a log without any of ours."""
    text = files("audit").joinpath("README.md").read_text("utf-8")
    return text.split("```python\n", 1)[1].split("```", 1)[0]


def kinds_table() -> str:
    """Return number, name and rule of each kind of entry, a line each."""
    return "".join(f"{int(kind)}\t{kind.name}\t{rule}\n" for kind, rule in LINES.items())


def _tiles(folder: TileFolder, stored: Range) -> dict[str, Source]:
    """Return every hash tile of the tree, and the entry bundles of *stored*."""
    return {
        tile_name(level, index, width): (
            _entries(folder, index, width) if isinstance(level, str) else _hashes(folder, level, index, width)
        )
        for level, index, width in _tiles_of(stored)
    }


def expected_tiles(stored: Range) -> Iterator[str]:
    """Yield the names of all tiles of a bundle with these entries; a checkpoint may claim any number of them."""
    return (tile_name(*tile) for tile in _tiles_of(stored))


def _tiles_of(stored: Range) -> Iterator[tuple[int | str, int, int]]:
    partial = {level: (index, width) for level, index, width in tiles_at(stored.size)}
    level = 0
    while stored.size >> 8 * level:
        for index in range(stored.size >> 8 * (level + 1)):
            yield level, index, TILE_WIDTH
        if level in partial:
            yield level, *partial[level]
        level += 1
    for index in range(stored.first // TILE_WIDTH, -(-stored.end // TILE_WIDTH)):
        yield ENTRIES, index, min(TILE_WIDTH, stored.size - index * TILE_WIDTH)


def _hashes(folder: TileFolder, level: int, index: int, width: int) -> Source:
    return lambda: folder.tile(level, index, width)


def _entries(folder: TileFolder, index: int, width: int) -> Source:
    return lambda: encode_bundle(folder.entries(index, width))


def _add(out: BinaryIO, name: str, data: bytes) -> None:
    out.write(header(name, len(data)))
    out.write(data)
    out.write(bytes(-len(data) % BLOCK))


def default_name(checkpoint: Checkpoint, stored: Range) -> str:
    """Return the name of a bundle's file: ``<origin>-<from>-<to>.audit``, both included, slashes as dots."""
    return f"{checkpoint.origin.replace('/', '.')}-{stored.first}-{stored.end - 1}.audit"
