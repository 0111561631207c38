"""Verify many entries at once: the same checks as one by one, made on columns of their bytes.

``verify_columns`` says what is in a few bundles if everything in them is in order. Where anything is not, it says
nothing; the walk entry by entry then finds out what, so that there is one place that words a refutation.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from audit.answers import answer_record
from audit.entry import HEAD_LENGTH, MAGIC
from audit.grammar import ANSWERS, PATTERNS, REFERS, read_number
from audit.layout import Layout, learn
from audit.merkle import TILE_WIDTH, root_of
from audit.tiles import TileFolder
from keys.errors import RefusedError

FEW = 12  # entries of one kind and length; fewer are matched one by one
ANSWERED = frozenset(map(int, ANSWERS))
REFERRING = frozenset(map(int, REFERS))
_MAX_LAYOUTS = 2048  # two or three kilobytes each
_HEAD = tuple((place, bytes((byte,))) for place, byte in enumerate(MAGIC))
_SWAPPED = sys.byteorder == "little"
References = tuple[int, Sequence[int], Sequence[int]]
"""(kind, indices of entries of that kind, what each of them refers to)."""

_layouts: dict[tuple[int, int], Layout] = {}  # by (length, kind): what was learned last


@dataclass(slots=True, kw_only=True)
class Columns:
    """What is in bundles where everything is in order."""

    first: int  # index of the first entry
    leaves: list[bytes] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)  # of complete level-0 tiles
    tail: list[bytes] = field(default_factory=list)  # leaf hashes of the incomplete one
    kinds: bytes = b""
    first_previous: bytes = b""
    first_time: int = 0
    last_time: int = 0
    references: list[References] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)  # records of one answer or more, see audit/answers.py


class _OddError(Exception):
    """Something here needs to be looked at entry by entry."""


def verify_columns(folder: TileFolder, bundles: Sequence[tuple[int, int]], link: bytes | None) -> Columns | None:
    """Verify bundles in a row as far as they tell it by themselves; None where anything is unusual or wrong.

    Args:
        folder: The log's.
        bundles: (index, width) of each.
        link: Leaf hash of the entry before; None where only what follows is compared.
    """
    columns = Columns(first=bundles[0][0] * TILE_WIDTH)
    try:
        entries = [entry for bundle in bundles for entry in _read(columns, folder, *bundle)]
        columns.kinds = bytes([entry[HEAD_LENGTH + 1] for entry in entries])
        _check_heads(columns, entries, link)
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for place, shape in enumerate(zip(map(len, entries), columns.kinds, strict=True)):
            groups[shape].append(place)
        for (length, kind), places in groups.items():
            if kind not in PATTERNS:  # and no pattern admits a body near the limit of an entry's length
                return None
            _check_bodies(columns, entries, length, kind, places)
    except (_OddError, RefusedError, IndexError):
        return None
    return columns


def _read(columns: Columns, folder: TileFolder, index: int, width: int) -> list[bytes]:
    """Frame and hash one bundle's entries, and compare the hashes with the tile."""
    _, data, _ = folder.bundle(index, width)
    entries: list[bytes] = []
    position = 0
    for _ in range(width):
        stop = position + 2 + (data[position] << 8 | data[position + 1])
        entries.append(data[position + 2 : stop])
        position = stop
    leaves = [sha256(b"\0" + entry).digest() for entry in entries]
    if position != len(data) or folder.tile(0, index, width) != b"".join(leaves):
        raise _OddError
    if width == TILE_WIDTH:
        columns.roots.append(root_of(leaves))
    else:
        columns.tail = leaves
    columns.leaves += leaves
    return entries


def _check_heads(columns: Columns, entries: list[bytes], link: bytes | None) -> None:
    """Compare indices, times and links; the magic is compared with the bodies."""
    heads = array("Q", b"".join([entry[4:HEAD_LENGTH] for entry in entries]))
    columns.first_previous = entries[0][20:HEAD_LENGTH]
    links = array("Q", b"".join((link or columns.first_previous, *columns.leaves[:-1])))
    if any(heads[2 + word :: 6] != links[word::4] for word in range(4)):
        raise _OddError
    if _SWAPPED:
        heads.byteswap()
    times = heads[1::6].tolist()
    if heads[0::6] != array("Q", range(columns.first, columns.first + len(entries))) or times != sorted(times):
        raise _OddError
    columns.first_time, columns.last_time = times[0], times[-1]


def _check_bodies(columns: Columns, entries: list[bytes], length: int, kind: int, places: list[int]) -> None:
    """Check bodies of one kind and length, by a layout where many have one."""
    chosen = [entries[place] for place in places]
    indices = [columns.first + place for place in places]
    if len(places) >= FEW:
        joined = b"".join(chosen)
        layout = _layouts.get((length, kind))
        if layout is not None and layout.admits(joined):
            if kind in ANSWERED and layout.delivery:
                columns.answers.append(layout.answers(joined, indices))
            if kind in REFERRING and layout.refers:
                columns.references.append((kind, indices, layout.targets(joined)))
            return
    for index, entry in zip(indices, chosen, strict=True):
        _match(columns, kind, index, entry)
    if len(places) >= FEW:
        if len(_layouts) >= _MAX_LAYOUTS:
            _layouts.clear()
        _layouts[length, kind] = learn(chosen[-1], HEAD_LENGTH, _HEAD)


def _match(columns: Columns, kind: int, index: int, entry: bytes) -> None:
    match = PATTERNS[kind].fullmatch(entry, HEAD_LENGTH)
    if match is None or not entry.startswith(MAGIC):
        raise _OddError
    if kind in ANSWERED and (delivery := match["delivery"]) is not None:
        columns.answers.append(answer_record(delivery, index))
    if kind in REFERRING and match["refers"] is not None and match["epoch"] is None:
        columns.references.append((kind, [index], [read_number(match["refers"])]))
