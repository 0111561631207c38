"""The fast way to verify many entries at once: the same checks as one by one, made on columns of their bytes.

The law is ``entry_run``. This may only say yes, and never where the law says no: ``verify_bulk`` returns what is in
a few bundles if everything in them is in order, and nothing where anything is not; the walk entry by entry then finds
out what, so that there is one place that words a refutation. ``body_layout`` is a part of it.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from itertools import repeat
from operator import itemgetter
from struct import Struct

from audit.entry.body import parse_body
from audit.entry.entry import HEAD_LENGTH, MAGIC, MAX_ENTRY_BYTES
from audit.entry.grammar import ANSWERS, PATTERNS, REFERS, read_number
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH, tile_roots
from audit.verify.answered import answer_record
from audit.verify.body_layout import Layout, learn
from audit.verify.records_in_force import ADOPTING, NAMING, OF_OURS, OWN, Adoption, Named
from keys.errors import RefusedError

FEW = 12  # entries of one kind and length; fewer are matched one by one
ANSWERED = frozenset(map(int, ANSWERS))
REFERRING = frozenset(map(int, REFERS))
_MAX_LAYOUTS = 2048  # two or three kilobytes each
_LEAF = sha256(b"\0")
OF_NOBODY = slice(0, 0)  # read as the number ``OWN``
_SHORTEST = HEAD_LENGTH + 2  # a head, and the number and value of its kind
_LAST_BYTES = bytes(range(TILE_WIDTH))  # of the indices of a tile's entries
_BEGINNING = itemgetter(slice(_SHORTEST))
_LENGTHS = {length.to_bytes(2, "big"): length for length in range(_SHORTEST, MAX_ENTRY_BYTES + 1)}
References = tuple[int, Sequence[int], Sequence[int]]
"""(kind, indices of entries of that kind, what each of them refers to)."""

_layouts: dict[tuple[int, int], Layout] = {}  # by (length, kind): what was learned last


@dataclass(slots=True, kw_only=True)
class BulkRun:
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
    answers: list[bytes] = field(default_factory=list)  # records of one answer or more, see audit/verify/answered.py
    cuts: list[int] = field(default_factory=list)  # indices of entries that adopt records
    named: list[Named] = field(default_factory=list)  # which records are named before, between and after these
    adopted: list[Adoption] = field(default_factory=list)  # what these adopt, in any order
    without: list[Sequence[int]] = field(default_factory=list)  # indices of entries that could name records and do not


class _UnlikeError(Exception):
    """Something here needs to be looked at entry by entry."""


def verify_bulk(folder: TileFolder, bundles: Sequence[tuple[int, int]], link: bytes | None) -> BulkRun | None:
    """Verify bundles in a row as far as they tell it by themselves; None where anything is unusual or wrong.

    Args:
        folder: The log's.
        bundles: (index, width) of each.
        link: Leaf hash of the entry before; None where only what follows is compared.
    """
    bulk = BulkRun(first=bundles[0][0] * TILE_WIDTH)
    try:
        entries = _read(bulk, folder, bundles)
        _check_heads(bulk, entries, link)
        groups: defaultdict[int, list[bytes]] = defaultdict(list)
        for entry in entries:
            groups[len(entry)].append(entry)
        for length, chosen in groups.items():
            _check_bodies(bulk, length, chosen)
    except (_UnlikeError, RefusedError, KeyError):
        return None
    return bulk


def _read(bulk: BulkRun, folder: TileFolder, bundles: Sequence[tuple[int, int]]) -> list[bytes]:
    """Frame and hash the entries, compare the hashes with the tiles, and make the tiles' roots."""
    entries: list[bytes] = []
    copy = _LEAF.copy  # a copy of a hash that has taken the prefix costs less than a new one
    for index, width in bundles:
        _, data, _ = folder.bundle(index, width)
        framed = _frame(data, width)
        leaves: list[bytes] = []
        for entry in framed:
            leaf = copy()
            leaf.update(entry)
            leaves.append(leaf.digest())
        if folder.tile(0, index, width) != b"".join(leaves):
            raise _UnlikeError
        entries += framed
        bulk.leaves += leaves
    whole = len(entries) - len(entries) % TILE_WIDTH
    bulk.roots, bulk.tail = tile_roots(bulk.leaves[:whole]), bulk.leaves[whole:]
    return entries


def _frame(data: bytes, width: int) -> list[bytes]:
    """Return the entries of a bundle that holds *width* of them, each of a length that an entry can have.

    Lengths and entries are read in turn, so that no step of it is Python's: ``map`` takes one when it needs one.
    """
    read = BytesIO(data).read
    entries = list(map(read, map(_LENGTHS.__getitem__, map(read, repeat(2, width)))))
    # Only the last entry can be shorter than it should be, and only the last can have something after it.
    last = entries[-1]
    if read(1) or not data.endswith(len(last).to_bytes(2, "big") + last):
        raise _UnlikeError
    return entries


def _check_heads(bulk: BulkRun, entries: list[bytes], link: bytes | None) -> None:
    """Compare magic, indices, times and links; note the kinds, if each is where it belongs."""
    count = len(entries)
    heads = b"".join(map(_BEGINNING, entries))
    expected = _beginnings(bulk.first, count)
    if any(heads[offset::_SHORTEST] != column for offset, column in enumerate(expected)):
        raise _UnlikeError
    numbers = _heads_of(count).unpack(heads)
    times, links = numbers[::2], numbers[1::2]
    bulk.first_previous, bulk.first_time, bulk.last_time = links[0], times[0], times[-1]
    if times != tuple(sorted(times)) or links != (link or links[0], *bulk.leaves[:-1]):
        raise _UnlikeError
    bulk.kinds = heads[_SHORTEST - 1 :: _SHORTEST]
    if any(kind in bulk.kinds for kind in ADOPTING):
        bulk.cuts = [at for at, kind in enumerate(bulk.kinds, bulk.first) if kind in ADOPTING]
    bulk.named = [{} for _ in range(len(bulk.cuts) + 1)]


def _beginnings(first: int, count: int) -> Iterator[bytes]:
    """Yield, byte by byte, magic and index of entries in a row, of which the first begins a tile."""
    tiles = [MAGIC + tile.to_bytes(7, "big") for tile in range(first // TILE_WIDTH, -(-(first + count) // TILE_WIDTH))]
    for offset in range(len(MAGIC) + 7):
        yield b"".join([beginning[offset : offset + 1] * TILE_WIDTH for beginning in tiles])[:count]
    yield (_LAST_BYTES * len(tiles))[:count]


@lru_cache(maxsize=2)  # nearly always as many; the format of a few thousand is a few hundred kilobytes
def _heads_of(count: int) -> Struct:
    return Struct(">" + "12xQ32s2x" * count)


def _check_bodies(bulk: BulkRun, length: int, entries: list[bytes]) -> None:
    """Check bodies of one length, kind by kind; by a layout where many have one."""
    joined = b"".join(entries)
    kinds = joined[HEAD_LENGTH + 1 :: length]
    kind = kinds[0]
    if kinds.count(kind) != len(kinds):
        for kind in set(kinds):
            _check_bodies(bulk, length, [entry for entry in entries if entry[HEAD_LENGTH + 1] == kind])
        return
    if kind not in PATTERNS:
        raise _UnlikeError
    layout = _layout_of(kind, entries, joined) if len(entries) >= FEW else None
    if layout is None:
        for entry in entries:
            _match(bulk, kind, entry)
        return
    if kind in ANSWERED and layout.delivery:
        bulk.answers.append(layout.answers(joined))
    if kind in REFERRING and layout.refers:
        bulk.references.append((kind, layout.indices(joined), layout.targets(joined)))
    if kind in NAMING:
        _name(bulk, kind, layout, entries, joined)
    elif kind in ADOPTING:
        for entry in entries:
            _adopt(bulk, entry)


def _name(bulk: BulkRun, kind: int, layout: Layout, entries: list[bytes], joined: bytes) -> None:
    """Keep which records the entries name, and whose: each only once, with the first entry that does."""
    if layout.records.stop == 0:
        bulk.without.append(layout.indices(joined))
        return
    named = list(map(itemgetter(layout.records, OF_NOBODY if kind in OF_OURS else layout.peer), entries))
    if bulk.cuts:
        for index, (records, peer) in zip(layout.indices(joined), named, strict=True):
            _name_one(bulk, read_number(peer), records, index)
        return
    for each in set(named):
        _name_one(bulk, read_number(each[1]), each[0], int.from_bytes(entries[named.index(each)][4:12], "big"))


def _name_one(bulk: BulkRun, maker: int, records: bytes, index: int) -> None:
    part = bulk.named[bisect(bulk.cuts, index)]
    part[maker, records] = min(index, part.get((maker, records), index))


def _adopt(bulk: BulkRun, entry: bytes) -> None:
    body = parse_body(entry[HEAD_LENGTH:])
    bulk.adopted.append(Adoption(int.from_bytes(entry[4:12], "big"), body.kind, body.peer, body.digest))


def _layout_of(kind: int, entries: list[bytes], joined: bytes) -> Layout | None:
    """Return the layout that all of these have; where the one known is not theirs, learn it from the first."""
    shape = len(entries[0]), kind
    known = _layouts.get(shape)
    if known is not None and known.admits(joined):
        return known
    if PATTERNS[kind].fullmatch(entries[0], HEAD_LENGTH) is None:
        raise _UnlikeError
    if len(_layouts) >= _MAX_LAYOUTS:
        _layouts.clear()
    learned = _layouts[shape] = learn(entries[0], HEAD_LENGTH)
    return learned if learned.admits(joined) else None


def _match(bulk: BulkRun, kind: int, entry: bytes) -> None:
    match = PATTERNS[kind].fullmatch(entry, HEAD_LENGTH)
    if match is None:
        raise _UnlikeError
    index = int.from_bytes(entry[4:12], "big")
    if kind in ANSWERED and (delivery := match["delivery"]) is not None:
        bulk.answers.append(answer_record(delivery, index))
    if kind in REFERRING and match["refers"] is not None and match["epoch"] is None:
        bulk.references.append((kind, [index], [read_number(match["refers"])]))
    if kind in NAMING:
        if (records := match["records"]) is None:
            bulk.without.append([index])
        else:
            _name_one(bulk, OWN if kind in OF_OURS else read_number(match["peer"]), records, index)
    elif kind in ADOPTING:
        _adopt(bulk, entry)
