"""Verify all entries of a folder, on one core or two, and join what the runs found.

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
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.verify.answered import Answers
from audit.verify.entry_run import (
    BODIES_STEP,
    ENTRIES_STEP,
    OF_A_READING,
    READINGS,
    RULES_STEP,
    RUN_BUNDLES,
    UNKNOWN_KINDS_SHOWN,
    EntryRun,
    Finding,
    reading_fault,
    reference_fault,
    verify_run,
)
from audit.verify.fork_pool import in_copies
from audit.verify.kind_counts import KindCounts
from audit.verify.records_in_force import RecordsInForce
from keys.errors import RefusedError

_WORTH_A_PROCESS = 1 << 17  # entries; below, starting one costs more than it saves


@dataclass(slots=True, kw_only=True)
class LogEntries:
    """What the entries say together."""

    levels: Levels
    count: int = 0
    first_previous: bytes = b""
    last_leaf: bytes = b""
    last_time: int = 0
    kinds: KindCounts = field(default_factory=KindCounts)
    answers: Answers = field(default_factory=Answers)
    records: RecordsInForce = field(default_factory=RecordsInForce)
    tail: list[bytes] = field(default_factory=list)  # leaf hashes of the incomplete level-0 tile
    doubles: tuple[int, int] | None = None  # two entries that answer one delivery
    strangers: list[int] = field(default_factory=list)
    stranger_count: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify_entries(root: Path, size: int, processes: int = 1) -> LogEntries:
    """Verify every entry below *size*; stop at the earliest run with a finding.

    Raises:
        OSError: The temporary files of a very long log could not be written.
    """
    folder = folder_at(root)
    entries = LogEntries(levels=Levels(folder))
    for run in _runs(root, size, processes if size >= _WORTH_A_PROCESS else 1):
        _join(entries, run)
        _check_readings(entries, run, folder, size)
        if entries.findings:
            return entries
    if entries.count != size:
        entries.findings.append(Finding(ENTRIES_STEP, entries.count, "the entries end here"))
    else:
        entries.doubles = entries.answers.doubles(folder, size)
    return entries


def _runs(root: Path, size: int, processes: int) -> Iterator[EntryRun]:
    bundles = -(-size // TILE_WIDTH)
    runs = -(-bundles // RUN_BUNDLES)

    def verify(run: int) -> EntryRun:
        first = run * RUN_BUNDLES
        return verify_run(root, size, first, min(RUN_BUNDLES, bundles - first))

    if processes < 2 or threading.active_count() > 1:  # see audit/verify/fork_pool.py
        return map(verify, range(runs))
    return in_copies(verify, runs, processes)


def _join(entries: LogEntries, run: EntryRun) -> None:
    if entries.count == 0:
        entries.first_previous = run.first_previous
    elif run.count:
        fault = None
        if run.first_previous != entries.last_leaf:
            fault = "its link is not the hash of the entry before"
        elif run.first_time < entries.last_time:
            fault = "its time is before that of the entry before"
        if fault:
            entries.findings.append(Finding(ENTRIES_STEP, run.first, fault))
    entries.kinds.add(bytes(run.kinds))
    entries.levels.add(run.roots)
    entries.tail = run.tail
    entries.answers.add(bytes(run.answers))
    entries.stranger_count += run.stranger_count
    entries.strangers = (entries.strangers + run.strangers)[:UNKNOWN_KINDS_SHOWN]
    entries.findings += run.findings
    _check_references(entries, run)
    if wrong := entries.records.fault(run.records):
        entries.findings.append(Finding(RULES_STEP, *wrong))
    entries.count += run.count
    entries.last_leaf, entries.last_time = run.last_leaf, run.last_time


def _check_references(entries: LogEntries, run: EntryRun) -> None:
    """Check what entries of this run refer to before it: first the pairs of kinds, which are few."""
    indices, targets = run.references[::2], run.references[1::2]
    pairs = list(zip([run.kinds[index - run.first] for index in indices], entries.kinds.each(targets), strict=True))
    faulty = {pair for pair in set(pairs) if reference_fault(pair[0], 0, pair[1])}
    if faulty:
        number = next(number for number, pair in enumerate(pairs) if pair in faulty)
        fault = reference_fault(pairs[number][0], targets[number], pairs[number][1])
        entries.findings.append(Finding(BODIES_STEP, indices[number], str(fault)))
    for number, (kind, target) in enumerate(pairs):
        if kind in OF_A_READING and target in READINGS:
            run.readings.extend((indices[number], targets[number]))


def _check_readings(entries: LogEntries, run: EntryRun, folder: TileFolder, size: int) -> None:
    """Check that what refers to a reading is of the same one; these are few, so both entries are read again."""
    if entries.findings:
        return
    pairs = sorted(zip(run.readings[::2], run.readings[1::2], strict=True))
    for index, target in pairs:
        try:
            fault = reading_fault(_entry(folder, index, size), target, _entry(folder, target, size))
        except RefusedError as error:
            fault = str(error)
        if fault:
            entries.findings.append(Finding(BODIES_STEP, index, fault))
            return


def _entry(folder: TileFolder, index: int, size: int) -> bytes:
    bundle, offset = divmod(index, TILE_WIDTH)
    return folder.entries(bundle, min(TILE_WIDTH, size - bundle * TILE_WIDTH))[offset]
