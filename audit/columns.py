"""Verify many entries at once: the same checks as one by one, made on columns of their bytes.

``verify_columns`` says what is in a few bundles if everything in them is in order. Where anything is not, it says
nothing; the walk entry by entry then finds out what, so that there is one place that words a refutation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from struct import Struct

from audit.answers import answer_record
from audit.entry import HEAD_LENGTH, MAGIC
from audit.grammar import ANSWERS, PATTERNS, REFERS, read_number
from audit.layout import Layout, learn
from audit.merkle import TILE_WIDTH, tile_roots
from audit.tiles import TileFolder
from keys.errors import RefusedError

FEW = 12  # entries of one kind and length; fewer are matched one by one
ANSWERED = frozenset(map(int, ANSWERS))
REFERRING = frozenset(map(int, REFERS))
_MAX_LAYOUTS = 2048  # two or three kilobytes each
_LEAF = sha256(b"\0")
_SHORTEST = HEAD_LENGTH + 2  # a head, and the number and value of its kind
_BEGINNING = itemgetter(slice(_SHORTEST))
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
        entries = _read(columns, folder, bundles)
        _check_heads(columns, entries, link)
        groups: defaultdict[int, list[bytes]] = defaultdict(list)
        for entry in entries:
            groups[len(entry)].append(entry)
        for length, chosen in groups.items():
            _check_bodies(columns, length, chosen)
    except (_OddError, RefusedError, IndexError):
        return None
    return columns


def _read(columns: Columns, folder: TileFolder, bundles: Sequence[tuple[int, int]]) -> list[bytes]:
    """Frame and hash the entries, compare the hashes with the tiles, and make the tiles' roots.

    This loop is the cost of a verification. A copy of a hash that has taken the prefix costs less than a new one.
    """
    entries: list[bytes] = []
    add, copy = entries.append, _LEAF.copy
    for index, width in bundles:
        _, data, _ = folder.bundle(index, width)
        leaves: list[bytes] = []
        position = 0
        for _ in range(width):
            stop = position + 2 + (data[position] << 8 | data[position + 1])
            entry = data[position + 2 : stop]
            leaf = copy()
            leaf.update(entry)
            leaves.append(leaf.digest())
            add(entry)
            position = stop
        if position != len(data) or folder.tile(0, index, width) != b"".join(leaves):
            raise _OddError
        columns.leaves += leaves
    whole = len(entries) - len(entries) % TILE_WIDTH
    columns.roots, columns.tail = tile_roots(columns.leaves[:whole]), columns.leaves[whole:]
    return entries


def _check_heads(columns: Columns, entries: list[bytes], link: bytes | None) -> None:
    """Compare magic, indices, times and links; note the kinds, if each is where it belongs."""
    count = len(entries)
    heads = b"".join(map(_BEGINNING, entries))
    if len(heads) != _SHORTEST * count:
        raise _OddError
    if any(heads[place::_SHORTEST] != MAGIC[place : place + 1] * count for place in range(len(MAGIC))):
        raise _OddError
    numbers = _heads_of(count).unpack(heads)
    indices, times, links = numbers[::3], numbers[1::3], numbers[2::3]
    columns.first_previous, columns.first_time, columns.last_time = links[0], times[0], times[-1]
    if (
        indices != tuple(range(columns.first, columns.first + count))
        or times != tuple(sorted(times))
        or links != (link or links[0], *columns.leaves[:-1])
    ):
        raise _OddError
    columns.kinds = heads[_SHORTEST - 1 :: _SHORTEST]


@lru_cache(maxsize=2)  # nearly always as many; the format of a few thousand is a few hundred kilobytes
def _heads_of(count: int) -> Struct:
    return Struct(">" + "4xQQ32s2x" * count)


def _check_bodies(columns: Columns, length: int, entries: list[bytes]) -> None:
    """Check bodies of one length, kind by kind; by a layout where many have one."""
    joined = b"".join(entries)
    kinds = joined[HEAD_LENGTH + 1 :: length]
    kind = kinds[0]
    if kinds.count(kind) != len(kinds):
        for kind in set(kinds):
            _check_bodies(columns, length, [entry for entry in entries if entry[HEAD_LENGTH + 1] == kind])
        return
    if kind not in PATTERNS:  # and no pattern admits a body near the limit of an entry's length
        raise _OddError
    layout = _layouts.get((length, kind)) if len(entries) >= FEW else None
    if layout is None or not layout.admits(joined):
        _match_each(columns, kind, entries)
        return
    if kind in ANSWERED and layout.delivery:
        columns.answers.append(layout.answers(joined))
    if kind in REFERRING and layout.refers:
        columns.references.append((kind, layout.indices(joined), layout.targets(joined)))


def _match_each(columns: Columns, kind: int, entries: list[bytes]) -> None:
    """Match bodies of one kind and length one by one; where these are many, learn how the last one is laid out."""
    for entry in entries:
        match = PATTERNS[kind].fullmatch(entry, HEAD_LENGTH)
        if match is None:
            raise _OddError
        index = int.from_bytes(entry[4:12], "big")
        if kind in ANSWERED and (delivery := match["delivery"]) is not None:
            columns.answers.append(answer_record(delivery, index))
        if kind in REFERRING and match["refers"] is not None and match["epoch"] is None:
            columns.references.append((kind, [index], [read_number(match["refers"])]))
    if len(entries) >= FEW:
        if len(_layouts) >= _MAX_LAYOUTS:
            _layouts.clear()
        _layouts[len(entries[-1]), kind] = learn(entries[-1], HEAD_LENGTH)
