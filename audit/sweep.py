"""Sweep all entries of a folder, on one core or two, and join what the runs found.

Runs are independent; the seams between them (link, time, index) and what reaches across them (references, two answers
to one delivery) are checked here. Memory stays small: one byte an entry, 16 bytes an answer.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audit.body import parse_body
from audit.chunk import (
    BODIES_STEP,
    CHUNK_BUNDLES,
    ENTRIES_STEP,
    UNKNOWN_KINDS_SHOWN,
    Chunk,
    Finding,
    reference_fault,
    verify_chunk,
)
from audit.entry import parse_entry
from audit.merkle import TILE_WIDTH
from audit.tiles import TileFolder

_WORTH_A_PROCESS = 1 << 17  # entries; below, starting one costs more than it saves
_SET_LIMIT = 1 << 18  # digests looked at together: about 30 MB


@dataclass(slots=True, kw_only=True)
class Sweep:
    """What the entries say together."""

    count: int = 0
    first_previous: bytes = b""
    last_leaf: bytes = b""
    last_time: int = 0
    kinds: bytearray = field(default_factory=bytearray)  # one byte an entry; 0 where not understood
    roots: list[bytes] = field(default_factory=list)  # of complete level-0 tiles
    tail: list[bytes] = field(default_factory=list)  # leaf hashes of the incomplete one
    answers: array[int] = field(default_factory=lambda: array("Q"))  # a part of each answered delivery's digest
    answer_indices: array[int] = field(default_factory=lambda: array("Q"))
    doubles: tuple[int, int] | None = None  # two entries that answer one delivery
    strangers: list[int] = field(default_factory=list)
    stranger_count: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def counts(self) -> Counter[int]:
        """Return the number of entries of each kind."""
        return Counter(self.kinds)


def sweep(root: Path, size: int, processes: int = 1) -> Sweep:
    """Verify every entry below *size*; stop at the earliest run with a finding."""
    swept = Sweep()
    bundles = -(-size // TILE_WIDTH)
    tasks = [(first, min(CHUNK_BUNDLES, bundles - first)) for first in range(0, bundles, CHUNK_BUNDLES)]
    for chunk in _chunks(root, size, tasks, processes if size >= _WORTH_A_PROCESS else 1):
        _join(swept, chunk)
        if swept.findings:
            return swept
    if swept.count != size:
        swept.findings.append(Finding(ENTRIES_STEP, swept.count, "the entries end here"))
    else:
        swept.doubles = _doubles(TileFolder(root), swept)
    return swept


def _chunks(root: Path, size: int, tasks: list[tuple[int, int]], processes: int) -> Iterator[Chunk]:
    if processes < 2:
        for first, count in tasks:
            yield verify_chunk(root, size, first, count)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # A copy of this process starts at once; where threads run, one of them may hold a lock that the copy never gets.
    way = "fork" if threading.active_count() == 1 else "spawn"
    with ProcessPoolExecutor(processes, mp_context=get_context(way)) as pool:
        waiting = [pool.submit(verify_chunk, root, size, *task) for task in tasks]
        try:
            for index, future in enumerate(waiting):
                yield future.result()
                del future
                waiting[index] = None  # type: ignore[call-overload]  # let its arrays go
        finally:
            pool.shutdown(cancel_futures=True)


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
    swept.kinds += chunk.kinds
    swept.roots += chunk.roots
    swept.tail = chunk.tail
    swept.answers.frombytes(bytes(chunk.answers))
    swept.answer_indices.extend(chunk.answer_indices)
    swept.stranger_count += chunk.stranger_count
    swept.strangers = (swept.strangers + chunk.strangers)[:UNKNOWN_KINDS_SHOWN]
    swept.findings += chunk.findings
    _check_references(swept, chunk)
    swept.count += chunk.count
    swept.last_leaf, swept.last_time = chunk.last_leaf, chunk.last_time


def _check_references(swept: Sweep, chunk: Chunk) -> None:
    pairs = iter(chunk.references)
    for index, target in zip(pairs, pairs, strict=True):
        fault = reference_fault(swept.kinds[index], target, swept.kinds[target])
        if fault:
            swept.findings.append(Finding(BODIES_STEP, index, fault))
            return


def _doubles(folder: TileFolder, swept: Sweep) -> tuple[int, int] | None:
    """Find two entries that answer one delivery: eight bytes of the digests first, whole digests where those agree."""
    parts = -(-len(swept.answers) // _SET_LIMIT)
    for part in range(parts):
        mine = swept.answers if parts == 1 else array("Q", (x for x in swept.answers if x % parts == part))
        if len(set(mine)) != len(mine):
            counts = Counter(mine)
            found = _confirm(folder, swept, {x for x, count in counts.items() if count > 1})
            if found:
                return found
    return None


def _confirm(folder: TileFolder, swept: Sweep, suspects: set[int]) -> tuple[int, int] | None:
    seen: dict[bytes, int] = {}
    held, entries = -1, [b""]
    for answer, index in zip(swept.answers, swept.answer_indices, strict=True):
        if answer not in suspects:
            continue
        bundle, place = divmod(index, TILE_WIDTH)
        if bundle != held:
            held, entries = bundle, folder.entries(bundle, min(TILE_WIDTH, swept.count - bundle * TILE_WIDTH))
        digest = parse_body(parse_entry(entries[place]).body).delivery_digest
        if digest in seen:
            return seen[digest], index
        seen[digest] = index
    return None
