"""Verify a log folder offline, in numbered steps, and say what was examined and what was not.

1 key · 2 checkpoint · 3 entries · 4 tiles · 5 root · 6 bodies · 7 outside · 8 rules · 9 witnesses, which without anybody
who says whose cosignatures count is not checked and does not bear on the verdict. A step is ``ok``, ``refuted`` or
``not checked``; what follows a refuted step is not checked. A cut tail can only be seen from outside, so without an
outside checkpoint or a quorum's cosignatures a log is never plainly verified. Nothing but the folder and what was
handed in is read.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from audit.entry.grammar import FIRST_KINDS
from audit.entry.kinds import Kind
from audit.note.checkpoint import Checkpoint
from audit.note.epochs import EpochEnd, link_fault, scar, tell_link
from audit.tiles.bundle_folder import folder_at
from audit.tiles.tile_names import CHECKPOINT, ENTRIES, KEY_FILE, MLDSA44_KEY_FILE, WITNESSED, parse_tile_name, tiles_at
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.verify.entries import LogEntries, verify_entries
from audit.verify.entry_run import BODIES_STEP, ENTRIES_STEP, TILES_STEP, Finding
from audit.verify.epoch_end import closing_fault, tell_closed
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.kind_counts import KindCounts
from audit.verify.trust_steps import (
    LogKey,
    TrustQuestion,
    judge_witnesses,
    step_checkpoint,
    step_external,
    step_key,
    step_witnesses,
)
from audit.verify.verdict import NOT_CHECKED, OK, REFUTED, LogRefutedError, Report, Steps, report_of, words_of
from audit.verify.witnesses import WitnessResult, WitnessRules
from keys.errors import RefusedError

_IN_A_FOLDER = frozenset(f"{number:03d}" for number in range(1000))  # what complete tiles in one folder are called


def verify_log(
    root: Path,
    *,
    key: LogKey = None,
    external: Sequence[ExternalCheckpoint] = (),
    processes: int = 1,
    witnesses: WitnessRules | None = None,
    before: EpochEnd | None = None,
) -> Report:
    """Verify the log in folder *root*.

    Args:
        root: The log folder, which exists.
        key: The log's key, from outside the folder, as ``LogKey`` says.
        external: Checkpoints and receipts that somebody else kept.
        processes: 2 uses a second core for large logs.
        witnesses: Whose cosignatures count, from outside the folder; without them step 9 is not made.
        before: Where the epoch before ended, from outside the folder; the first epoch has none.

    Raises:
        Nothing for whatever the folder holds: everything malformed is a refutation in the report.
    """
    steps, folder = Steps(), folder_at(root)
    checkpoint: Checkpoint | None = None
    anchored: int | None = None
    result = WitnessResult()
    try:
        own_key = step_key(steps, folder, key)
        notes, checkpoint = step_checkpoint(steps, folder, own_key)
        entries = verify_entries(root, checkpoint.size, processes)
        _step_entries(steps, checkpoint, entries, before)
        _step_tiles(steps, folder, checkpoint, entries)
        _step_root(steps, checkpoint, entries)
        _step_bodies(steps, checkpoint, entries)
        question = TrustQuestion(
            folder=folder, checkpoint=checkpoint, key=own_key, notes=notes, external=external, rules=witnesses
        )
        result = judge_witnesses(question)
        anchored = step_external(steps, question, result.reached)
        _step_rules(steps, folder, checkpoint, entries)
        step_witnesses(steps, result, witnesses)
    except LogRefutedError as refuted:
        for finding in refuted.findings:
            steps.put(finding.step, REFUTED, words_of(finding))
        return report_of(steps, checkpoint, None, None, refuted.findings)
    return report_of(steps, checkpoint, anchored, result.reached, (), scar(entries.kinds.first.get(Kind.RESTORED)))


def _step_entries(steps: Steps, checkpoint: Checkpoint, entries: LogEntries, before: EpochEnd | None) -> None:
    """3: framing, magic, indices without a gap, every link, times that never go back."""
    findings = list(entries.findings)
    if entries.count and (problem := link_fault(entries.first_previous, checkpoint.origin, before)):
        findings.append(Finding(ENTRIES_STEP, 0, problem))
    if findings:
        if all(finding.step > ENTRIES_STEP for finding in findings):
            steps.put(ENTRIES_STEP, OK, f"{checkpoint.size:,} entries, numbered and chained")
        raise LogRefutedError(*findings)
    detail = f"{checkpoint.size:,} entries, indices from 0 without a gap, each chained to the one before"
    linked, told = tell_link(checkpoint.origin, before)
    steps.put(ENTRIES_STEP, OK if linked else NOT_CHECKED, detail + told)


def _step_tiles(steps: Steps, folder: TileFolder, checkpoint: Checkpoint, entries: LogEntries) -> None:
    """4: level 0 is the entries' hashes (compared as they were read), each level above is made from the one below."""
    if problem := entries.levels.finish():
        raise LogRefutedError(Finding(TILES_STEP, *problem))
    try:
        detail = _count_files(folder, checkpoint.size)
    except RefusedError as error:
        raise LogRefutedError(Finding(TILES_STEP, None, str(error))) from error
    steps.put(TILES_STEP, NOT_CHECKED if "nothing of this log" in detail else OK, detail)


def _count_files(folder: TileFolder, size: int) -> str:
    """Count the files that the checkpoint commits to, and name what else lies there."""
    expected, later, strange, first = 0, 0, 0, ""
    partial = {level: (index, width) for level, index, width in tiles_at(size)}
    for name in folder.each_name():
        tile = _tile_named(name)
        if tile is None:
            if name not in (CHECKPOINT, KEY_FILE, MLDSA44_KEY_FILE, WITNESSED):
                strange, first = strange + 1, min(first or name, name)
            continue
        level = 0 if tile[0] == ENTRIES else int(tile[0])
        if tile[1] * TILE_WIDTH + tile[2] <= size >> 8 * level and (
            tile[2] == TILE_WIDTH or partial.get(level) == tile[1:]
        ):
            expected += 1
        else:
            later += 1
    detail = f"{expected} files agree with the entries, level by level"
    if later:
        detail += f"; {later} that the checkpoint does not commit to were left out"
    if strange:
        detail += f"; {strange} that are nothing of this log were not read: {_printable(first)}"
    return detail


def _tile_named(name: str) -> tuple[str, int, int] | None:
    """Parse a tile's name; of complete tiles each folder's is parsed once, for it may hold a thousand."""
    folder, _, last = name.rpartition("/")
    if last in _IN_A_FOLDER and (tile := _first_tile(folder)):
        return tile[0], tile[1] + int(last), tile[2]
    return parse_tile_name(name)


@lru_cache(maxsize=4)
def _first_tile(folder: str) -> tuple[str, int, int] | None:
    return parse_tile_name(f"{folder}/000")


def _step_root(steps: Steps, checkpoint: Checkpoint, entries: LogEntries) -> None:
    """5: the root over all entries is the one that was signed."""
    if entries.levels.root(entries.tail) != checkpoint.root:
        raise LogRefutedError(Finding(5, None, "the entries' root is not the one that the checkpoint signs"))
    steps.put(5, OK, "recomputed from the entries, and the one that was signed")


def _step_bodies(steps: Steps, checkpoint: Checkpoint, entries: LogEntries) -> None:
    """6: bodies read in one way, by their kind's rule, references to the right kind (all as they were read); counts."""
    counts = ", ".join(f"{Kind(kind).name} {count:,}" for kind, count in sorted(entries.kinds.counts.items()) if kind)
    detail = f"{checkpoint.size:,} bodies read in one way: {counts or 'none'}"
    if entries.stranger_count:
        indices = ", ".join(map(str, entries.strangers))
        detail += f"; {entries.stranger_count:,} not understood, at {indices}: newer than this program"
        steps.put(BODIES_STEP, NOT_CHECKED, detail)
    else:
        steps.put(BODIES_STEP, OK, detail)


def _step_rules(steps: Steps, folder: TileFolder, checkpoint: Checkpoint, entries: LogEntries) -> None:
    """8: how a log begins and ends, one answer a delivery, and what everybody must be told."""
    kinds = entries.kinds
    problem = _beginning(kinds)
    if problem is None and entries.doubles:
        first, second = entries.doubles
        problem = Finding(8, second, f"the delivery that entry {first} answered is answered again")
    closed = kinds.first.get(Kind.EPOCH_CLOSED, kinds.size)
    if problem is None and closed < kinds.size - 1:
        problem = Finding(8, closed + 1, f"entry {closed} closed this epoch")
    if problem is None and closed < kinds.size and (fault := closing_fault(folder, checkpoint.size)):
        problem = Finding(8, closed, fault)
    if problem:
        raise LogRefutedError(problem)
    detail = f"begins as a log must; {entries.answers.count:,} deliveries answered, each once"
    if alone := kinds.counts[Kind.STARTED_ALONE]:
        detail += f"; {alone} times the node started alone, first at entry {kinds.first[Kind.STARTED_ALONE]}"
    if kinds.alone_since is not None:
        detail += (
            f"; it started alone at entry {kinds.alone_since} and nobody has answered since: it may be an old copy"
        )
    if closed < kinds.size:
        detail += tell_closed(folder, checkpoint.size)
    steps.put(8, OK, detail)


def _beginning(kinds: KindCounts) -> Finding | None:
    """GENESIS, ROSTER_ADOPTED, one or more MANIFEST_ADOPTED, KEY_SHEET_ADOPTED; GENESIS never again."""
    for index, (found, kind) in enumerate(zip(kinds.beginning, FIRST_KINDS[:3], strict=False)):
        if found not in (kind, 0):
            return Finding(8, index, f"{Kind(found).name} where {kind.name} belongs")
    if kinds.after is not None and kinds.after[1] not in (Kind.KEY_SHEET_ADOPTED, 0):
        return Finding(8, kinds.after[0], f"{Kind(kinds.after[1]).name} where KEY_SHEET_ADOPTED belongs")
    again = kinds.genesis_again
    return None if again is None else Finding(8, again, "GENESIS in the middle of a log")


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode() if text.isprintable() else ascii(text)
