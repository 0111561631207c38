"""Verify a run of entry bundles: the part of a verification that costs time, fit for a second process.

Every entry is framed, numbered, chained, hashed, compared with its tile, and its body matched against the rule of its
kind. What needs the rest of the log (references before the run, answers to one delivery) is handed back as arrays.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from operator import ge
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from audit.entry.body import parse_body
from audit.entry.entry import HEAD_LENGTH, MAGIC, MAX_ENTRY_BYTES
from audit.entry.grammar import ANSWERS, PATTERNS, REFERS, explain, read_number
from audit.entry.kinds import Kind
from audit.tiles.bundle_folder import folder_at
from audit.tiles.tile_names import tile_name
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH, root_of
from audit.verify.answered import answer_record
from audit.verify.entry_run_fast import BulkRun, References, verify_bulk
from audit.verify.records_in_force import ADOPTING, NAMING, OF_OURS, OWN, Adoption, RecordsTold
from keys.errors import RefusedError
from keys.fast import FAST

ENTRIES_STEP, TILES_STEP, BODIES_STEP, RULES_STEP = 3, 4, 6, 8
RUN_BUNDLES = 64  # 16,384 entries: some hundredths of a second's work, so that two processes end together
AT_ONCE = 8  # bundles looked at together: half a megabyte, for a core's cache holds little more
_WORTH_BULK = 64  # entries; fewer are walked over at once
UNKNOWN_KINDS_SHOWN = 10
OF_A_READING = frozenset(map(int, (Kind.OPENED, Kind.READ_FAILED)))  # where they refer to a reading, they are of it
READINGS = frozenset(map(int, (Kind.OPENED, Kind.EXPORTED)))
_FRAME = Struct(">HIQQ32s")  # a bundle's length prefix and an entry's head
_MAGIC = int.from_bytes(MAGIC, "big")
_TARGETS = {int(kind): frozenset(map(int, targets)) for kind, targets in REFERS.items()}


class Finding(NamedTuple):
    """What refutes the log, and where: the step that found it, and the entry, where it is one entry's."""

    step: int
    entry: int | None
    message: str


@dataclass(slots=True, kw_only=True)
class EntryRun:
    """What a run of bundles contains; every index counts from the log's beginning."""

    first: int
    count: int = 0
    first_previous: bytes = b""
    first_time: int = 0
    last_leaf: bytes = b""
    last_time: int = 0
    kinds: bytearray = field(default_factory=bytearray)  # one byte an entry; 0 where not understood
    roots: list[bytes] = field(default_factory=list)  # of complete level-0 tiles
    tail: list[bytes] = field(default_factory=list)  # leaf hashes of the incomplete one
    references: array[int] = field(default_factory=lambda: array("Q"))  # pairs: index, what it refers to before here
    answers: bytearray = field(default_factory=bytearray)  # records of 16 bytes, see audit/verify/answered.py
    records: RecordsTold = field(default_factory=RecordsTold)  # see audit/verify/records_in_force.py
    readings: array[int] = field(default_factory=lambda: array("Q"))  # pairs: index, the reading that it refers to
    strangers: list[int] = field(default_factory=list)  # entries that are not understood; the first few
    stranger_count: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify_run(root: Path, size: int, first_bundle: int, bundles: int, at_once: int = AT_ONCE) -> EntryRun:
    """Verify bundles of a log folder whose checkpoint has *size*; stop after the first bundle with a finding.

    *at_once* bundles are looked at together first; with 0 each entry is walked over, which says the same, slower.
    """
    folder = folder_at(root)
    run = EntryRun(first=first_bundle * TILE_WIDTH)
    widths = [(i, min(TILE_WIDTH, size - i * TILE_WIDTH)) for i in range(first_bundle, first_bundle + bundles)]
    for at in range(0, bundles, at_once or bundles):
        part = widths[at : at + (at_once or bundles)]
        if FAST and at_once and sum(width for _, width in part) >= _WORTH_BULK:
            bulk = verify_bulk(folder, part, run.last_leaf or None)
            if bulk is not None and _take(run, bulk):
                continue
        for index, width in part:
            leaves = _verify_bundle(run, folder, index, width)
            if len(leaves) == width:
                _compare_tile(run, folder, index, leaves, width)
            if run.findings:
                return run
    return run


def _take(run: EntryRun, bulk: BulkRun) -> bool:
    """Add what was verified at once, if it follows what is there and its references are good."""
    before = len(run.kinds)
    run.kinds += bulk.kinds
    if bulk.first_time < run.last_time or not all(_refer(run, group) for group in bulk.references):
        del run.kinds[before:]
        return False
    if not before:
        run.first_previous, run.first_time = bulk.first_previous, bulk.first_time
    for pair in sorted(pair for group in bulk.references for pair in _before(run.first, group)):
        run.references.extend(pair)
    for pair in sorted(pair for group in bulk.references for pair in _readings(run, group)):
        run.readings.extend(pair)
    run.records.add(bulk.named, sorted(bulk.adopted), bulk.without)
    run.answers += b"".join(bulk.answers)
    run.roots += bulk.roots
    run.tail = bulk.tail
    run.count, run.last_leaf, run.last_time = len(run.kinds), bulk.leaves[-1], bulk.last_time
    return True


def _refer(run: EntryRun, group: References) -> bool:
    """Return whether entries of one kind refer to the right kinds, as far as these lie in this run."""
    kind, indices, targets = group
    if any(map(ge, targets, indices)):
        return False
    first, kinds = run.first, run.kinds
    return {kinds[target - first] for target in set(targets) if target >= first} <= _TARGETS[kind]


def _before(first: int, group: References) -> list[tuple[int, int]]:
    """Return (index, target) of those references that lead to an entry before this run."""
    _, indices, targets = group
    if min(targets) >= first:
        return []
    return [(index, target) for index, target in zip(indices, targets, strict=True) if target < first]


def _readings(run: EntryRun, group: References) -> list[tuple[int, int]]:
    """Return (index, target) of those references that lead to a reading in this run."""
    kind, indices, targets = group
    if kind not in OF_A_READING:
        return []
    first, kinds = run.first, run.kinds
    pairs = zip(indices, targets, strict=True)
    return [(index, at) for index, at in pairs if at >= first and kinds[at - first] in READINGS]


def _verify_bundle(run: EntryRun, folder: TileFolder, index: int, width: int) -> list[bytes]:
    leaves: list[bytes] = []
    try:
        name, data, stored = folder.bundle(index, width)
    except RefusedError as error:
        run.findings.append(Finding(ENTRIES_STEP, index * TILE_WIDTH, str(error)))
        return leaves
    try:
        end = _walk(run, data, leaves, width)
        if stored == width and end != len(data):
            raise _WrongError(f"{len(data) - end} bytes after the last entry")
    except _WrongError as wrong:
        at = index * TILE_WIDTH + len(leaves)
        run.findings.append(Finding(ENTRIES_STEP, min(at, index * TILE_WIDTH + width - 1), f"{name}: {wrong}"))
        _compare_tile(run, folder, index, leaves, width)
    return leaves


class _WrongError(Exception):
    """What is wrong with the entry being read."""


def _walk(run: EntryRun, data: bytes, leaves: list[bytes], width: int) -> int:
    """Read *width* entries; *leaves* grows with each one that is whole and in its place.

    This loop is the cost of a verification: what every entry needs stands here, what some need is called.
    """
    position, total, link, time_us = 0, len(data), run.last_leaf, run.last_time
    number = run.first + run.count
    unpack, matchers, handlers, kinds, append = _FRAME.unpack_from, _MATCH, _HANDLE, run.kinds, leaves.append
    try:
        for expected in range(number, number + width):
            if position + 56 > total:
                raise _WrongError("the bundle ends before the entry does")
            length, magic, index, now, previous = unpack(data, position)
            stop = position + 2 + length
            if not 54 <= length <= MAX_ENTRY_BYTES or stop > total:
                raise _WrongError(f"the entry's length of {length} does not fit")
            if magic != _MAGIC or index != expected or now < time_us:
                raise _WrongError(_head_fault(magic, index, expected))
            if previous != link:
                if expected != run.first:
                    raise _WrongError("its link is not the hash of the entry before")
                run.first_previous, run.first_time = previous, now
            kind = data[position + 55]
            match = matchers[kind](data, position + 54, stop)
            if match is None:
                kind = _stranger(run, data[position + 54 : stop], expected)
            elif (handle := handlers[kind]) is not None:
                handle(run, kind, expected, match)
            kinds.append(kind)
            link, time_us = sha256(b"\0" + data[position + 2 : stop]).digest(), now
            append(link)
            position = stop
    finally:
        run.count, run.last_leaf, run.last_time = len(kinds), link, time_us
    return position


def _head_fault(magic: int, index: int, expected: int) -> str:
    if magic != _MAGIC:
        return f"the entry begins with {magic:08x} instead of {MAGIC.hex()}"
    if index != expected:
        return f"its index is {index}"
    return "its time is before that of the entry before"


def _compare_tile(run: EntryRun, folder: TileFolder, index: int, leaves: list[bytes], expected: int) -> None:
    """Compare leaf hashes, of as many entries as were whole, with level 0 and keep what the tree needs of them."""
    width = len(leaves)
    try:
        stored = folder.tile(0, index, expected)
    except RefusedError as error:
        run.findings.append(Finding(TILES_STEP, index * TILE_WIDTH, str(error)))
        return
    if stored[: 32 * width] != b"".join(leaves):
        wrong = next(i for i, leaf in enumerate(leaves) if stored[32 * i : 32 * i + 32] != leaf)
        message = f"{tile_name(0, index, expected)}: the entry's hash is not the one in the tile"
        run.findings.append(Finding(TILES_STEP, index * TILE_WIDTH + wrong, message))
    if width == TILE_WIDTH:
        run.roots.append(root_of(leaves))
    else:
        run.tail = leaves


def _stranger(run: EntryRun, body: bytes, index: int) -> int:
    """Judge a body that matched no rule: refuted, or not understood and counted as kind 0."""
    try:
        reason = explain(body)
    except RefusedError as error:
        reason = str(error)
    if reason is not None:
        run.findings.append(Finding(BODIES_STEP, index, reason))
    else:
        run.stranger_count += 1
        if len(run.strangers) < UNKNOWN_KINDS_SHOWN:
            run.strangers.append(index)
    return 0


def _reference(run: EntryRun, kind: int, index: int, match: re.Match[bytes]) -> None:
    """Check what an entry refers to, where that lies in this run; hand it back where it lies before."""
    refers = match["refers"]
    if refers is None or match["epoch"] is not None:  # another epoch's entries are in another log
        return
    target = read_number(refers)
    if target >= index:
        run.findings.append(Finding(BODIES_STEP, index, f"it refers to entry {target}, which is not before it"))
    elif target < run.first:
        run.references.extend((index, target))
    elif fault := reference_fault(kind, target, run.kinds[target - run.first]):
        run.findings.append(Finding(BODIES_STEP, index, fault))
    elif kind in OF_A_READING and run.kinds[target - run.first] in READINGS:
        run.readings.extend((index, target))


def _answer(run: EntryRun, kind: int, index: int, match: re.Match[bytes]) -> None:
    """Keep a part of the digest of an answered delivery."""
    delivery = match["delivery"]
    if delivery is not None:
        run.answers += answer_record(delivery, index)
    if kind == Kind.DUPLICATE:
        _reference(run, kind, index, match)
    elif kind == Kind.RECEIVED:
        _name(run, kind, index, match)


def _name(run: EntryRun, kind: int, index: int, match: re.Match[bytes]) -> None:
    """Keep which records an entry names, and whose."""
    records = match["records"]
    if records is None:
        run.records.leave_out(index)
    else:
        run.records.name(OWN if kind in OF_OURS else read_number(match["peer"]), records, index)


def _name_and_refer(run: EntryRun, kind: int, index: int, match: re.Match[bytes]) -> None:
    _name(run, kind, index, match)
    _reference(run, kind, index, match)


def _adopt(run: EntryRun, kind: int, index: int, match: re.Match[bytes]) -> None:
    """Keep which record came into force, and whose."""
    body = parse_body(match[0])
    run.records.adopt(Adoption(index, kind, body.peer, body.digest))


def _handler(kind: int) -> Callable[[EntryRun, int, int, re.Match[bytes]], None] | None:
    if kind in ANSWERS:
        return _answer
    if kind in ADOPTING:
        return _adopt
    if kind in NAMING:
        return _name_and_refer
    return _reference if kind in REFERS else None


def reference_fault(kind: int, target: int, found: int) -> str | None:
    """Return what is wrong with a reference from an entry of *kind* to one of kind *found*; 0 is not understood."""
    if found == 0 or found in _TARGETS[kind]:
        return None
    return f"{Kind(kind).name} refers to entry {target}, which is {Kind(found).name}"


def reading_fault(entry: bytes, target: int, reading: bytes) -> str | None:
    """Return what is wrong with an entry that refers to a reading, entry *target*: both have one actor and bulletin.

    Pseudonyms made with two keys are not compared: nobody but the node could.
    """
    body, first = parse_body(entry[HEAD_LENGTH:]), parse_body(reading[HEAD_LENGTH:])
    if body.actor_epoch == first.actor_epoch and body.actor != first.actor:
        return f"{Kind(body.kind).name} refers to entry {target}, where another actor read"
    if first.bulletin_id and body.bulletin_id != first.bulletin_id:
        return f"{Kind(body.kind).name} refers to entry {target}, where another bulletin was read"
    return None


def _no_match(_data: bytes, _start: int, _stop: int) -> None:
    """Stand in for the pattern of a kind that does not exist."""


_MATCH = [PATTERNS[kind].fullmatch if kind in PATTERNS else _no_match for kind in range(256)]
_HANDLE = [_handler(kind) for kind in range(256)]
