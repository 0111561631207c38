"""Sweep all entries of a folder, on one core or two, and join what the runs found.

Runs are independent; the seams between them (link, time, index) and what reaches across them (references, two answers
to one delivery, the tree) are checked here. However long the log, memory stays small: a temporary file holds one byte
an entry and 16 bytes an answer, where these are more than a few megabytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audit.tiles.bundle_folder import folder_at
from audit.tiles.tile_levels import Levels
from audit.tree.merkle import TILE_WIDTH
from audit.verify.answered import Answers
from audit.verify.entry_run import (
    BODIES_STEP,
    CHUNK_BUNDLES,
    ENTRIES_STEP,
    UNKNOWN_KINDS_SHOWN,
    Chunk,
    Finding,
    reference_fault,
    verify_chunk,
)
from audit.verify.fork_pool import in_copies
from audit.verify.kind_counts import Census

_WORTH_A_PROCESS = 1 << 17  # entries; below, starting one costs more than it saves


@dataclass(slots=True, kw_only=True)
class Sweep:
    """What the entries say together."""

    levels: Levels
    count: int = 0
    first_previous: bytes = b""
    last_leaf: bytes = b""
    last_time: int = 0
    kinds: Census = field(default_factory=Census)
    answers: Answers = field(default_factory=Answers)
    tail: list[bytes] = field(default_factory=list)  # leaf hashes of the incomplete level-0 tile
    doubles: tuple[int, int] | None = None  # two entries that answer one delivery
    strangers: list[int] = field(default_factory=list)
    stranger_count: int = 0
    findings: list[Finding] = field(default_factory=list)


def sweep(root: Path, size: int, processes: int = 1) -> Sweep:
    """Verify every entry below *size*; stop at the earliest run with a finding.

    Raises:
        OSError: The temporary files of a very long log could not be written.
    """
    folder = folder_at(root)
    swept = Sweep(levels=Levels(folder))
    for chunk in _chunks(root, size, processes if size >= _WORTH_A_PROCESS else 1):
        _join(swept, chunk)
        if swept.findings:
            return swept
    if swept.count != size:
        swept.findings.append(Finding(ENTRIES_STEP, swept.count, "the entries end here"))
    else:
        swept.doubles = swept.answers.doubles(folder, size)
    return swept


def _chunks(root: Path, size: int, processes: int) -> Iterator[Chunk]:
    bundles = -(-size // TILE_WIDTH)
    runs = -(-bundles // CHUNK_BUNDLES)

    def verify(run: int) -> Chunk:
        first = run * CHUNK_BUNDLES
        return verify_chunk(root, size, first, min(CHUNK_BUNDLES, bundles - first))

    if processes < 2 or threading.active_count() > 1:  # see audit/verify/fork_pool.py
        return map(verify, range(runs))
    return in_copies(verify, runs, processes)


def _join(swept: Sweep, chunk: Chunk) -> None:
    if swept.count == 0:
        swept.first_previous = chunk.first_previous
    elif chunk.count:
        fault = None
        if chunk.first_previous != swept.last_leaf:
            fault = "its link is not the hash of the entry before"
        elif chunk.first_time < swept.last_time:
            fault = "its time is before that of the entry before"
        if fault:
            swept.findings.append(Finding(ENTRIES_STEP, chunk.first, fault))
    swept.kinds.add(bytes(chunk.kinds))
    swept.levels.add(chunk.roots)
    swept.tail = chunk.tail
    swept.answers.add(bytes(chunk.answers))
    swept.stranger_count += chunk.stranger_count
    swept.strangers = (swept.strangers + chunk.strangers)[:UNKNOWN_KINDS_SHOWN]
    swept.findings += chunk.findings
    _check_references(swept, chunk)
    swept.count += chunk.count
    swept.last_leaf, swept.last_time = chunk.last_leaf, chunk.last_time


def _check_references(swept: Sweep, chunk: Chunk) -> None:
    """Check what entries of this run refer to before it: first the pairs of kinds, which are few."""
    indices, targets = chunk.references[::2], chunk.references[1::2]
    pairs = list(zip([chunk.kinds[index - chunk.first] for index in indices], swept.kinds.each(targets), strict=True))
    faulty = {pair for pair in set(pairs) if reference_fault(pair[0], 0, pair[1])}
    if faulty:
        place = next(place for place, pair in enumerate(pairs) if pair in faulty)
        fault = reference_fault(pairs[place][0], targets[place], pairs[place][1])
        swept.findings.append(Finding(BODIES_STEP, indices[place], str(fault)))
