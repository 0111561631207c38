"""Verify what is new in a log since a checkpoint that the auditor trusts, or those entries that a bundle holds.

Entries before the old checkpoint were verified then; its root proves which ones they were. From its subtrees in the
tree and the new entries the new root is computed, so the work is that of the new entries and a few dozen hashes.
Where entries are missing, their hash tiles stand for them: position and history are then proven, not what they say. What
was not looked at is told; nothing is called verified that was not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audit.entry.entry import HEAD_LENGTH, leaf_hash
from audit.entry.kinds import Kind
from audit.note.checkpoint import Checkpoint, VerifierKey, verify_note
from audit.note.epochs import EpochEnd, link_fault, scar, tell_link
from audit.tiles.bundle_folder import BundleFolder, folder_at
from audit.tiles.subtree_roots import SubtreeRoots
from audit.tiles.tile_levels import Levels
from audit.tiles.tiles import MissingError, TileFolder
from audit.tree.merkle import TILE_WIDTH, root_of
from audit.verify.answered import Answers
from audit.verify.entry_run import (
    BODIES_STEP,
    ENTRIES_STEP,
    OF_A_READING,
    READINGS,
    RULES_STEP,
    RUN_BUNDLES,
    TILES_STEP,
    UNKNOWN_KINDS_SHOWN,
    EntryRun,
    Finding,
    reading_fault,
    reference_fault,
    verify_run,
)
from audit.verify.epoch_end import closing_fault, tell_closed
from audit.verify.external_checkpoints import ExternalCheckpoint, read_note
from audit.verify.kind_counts import KindCounts
from audit.verify.records_in_force import RecordsInForce
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

ROOT_STEP, EXTERNAL_STEP = 5, 7
_KINDS = frozenset(map(int, Kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What is looked at: entries *first* to *end* - 1, after *known* entries that an old root proves."""

    folder: TileFolder
    root: Path
    subtrees: SubtreeRoots
    size: int
    known: int
    first: int
    end: int

    @property
    def tile(self) -> int:
        """The first level-0 tile that is looked at."""
        return self.known // TILE_WIDTH

    @property
    def missing(self) -> int:
        """How many entries after the known ones are not here."""
        return self.size - self.known - max(0, self.end - max(self.first, self.known))


@dataclass(slots=True)
class _Found:
    """What the entries say together."""

    levels: Levels
    records: RecordsInForce
    kinds: KindCounts = field(default_factory=KindCounts)
    answers: Answers = field(default_factory=Answers)
    tail: list[bytes] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)
    stranger_count: int = 0
    unknown_targets: int = 0  # references to entries that are not here


def verify_incremental(
    root: Path,
    *,
    old: ExternalCheckpoint | None = None,
    key: LogKey = None,
    external: Sequence[ExternalCheckpoint] = (),
    witnesses: WitnessRules | None = None,
    before: EpochEnd | None = None,
) -> Report:
    """Verify a log folder or a bundle from an old checkpoint on.

    Args:
        root: The log folder, or the bundle.
        old: A checkpoint of this log, up to which everything was verified before; it counts as one from outside.
            None begins with the first entry.
        key: The log's key, from outside, as ``LogKey`` says.
        external: Further checkpoints and receipts that somebody else kept.
        witnesses: Whose cosignatures count, from outside; without them step 9 is not made.
        before: Where the epoch before ended, from outside; looked at where entry 0 is.

    Raises:
        RefusedError: MALFORMED; *old* is no checkpoint of this log.
        Nothing for whatever the log holds: everything malformed is a refutation in the report.
    """
    steps, result = Steps(), WitnessResult()
    checkpoint: Checkpoint | None = None
    every = [old, *external] if old is not None else list(external)
    try:
        folder = _open(root)
        own_key = step_key(steps, folder, key)
        notes, checkpoint = step_checkpoint(steps, folder, own_key)
        scope = _scope(folder, root, checkpoint, _known(old, checkpoint, own_key))
        found = _look(scope, checkpoint, before)
        _tell_entries(steps, scope, checkpoint, before)
        _tell_tree(steps, scope, checkpoint, found)
        _tell_bodies(steps, scope, found)
        question = TrustQuestion(
            folder=folder, checkpoint=checkpoint, key=own_key, notes=notes, external=every, rules=witnesses
        )
        result = judge_witnesses(question)
        anchored = step_external(steps, question, result.reached)
        _tell_rules(steps, scope, found)
        step_witnesses(steps, result, witnesses)
    except LogRefutedError as refuted:
        for finding in refuted.findings:
            steps.put(finding.step, REFUTED, words_of(finding))
        return report_of(steps, checkpoint, None, None, refuted.findings)
    restored = found.kinds.first.get(Kind.RESTORED)
    told = scar(scope.first + restored if restored is not None else None)
    return _of_part(scope, report_of(steps, checkpoint, anchored, result.reached, (), told))


def _of_part(scope: _Scope, report: Report) -> Report:
    """Return the report, with the verdict limited to the entries that are here where some are missing."""
    if not scope.missing:
        return report
    return replace(report, verdict=f"{report.verdict}, of entries {scope.first:,} to {scope.end - 1:,} alone")


def _open(root: Path) -> TileFolder:
    try:
        return folder_at(root)
    except RefusedError as error:
        raise LogRefutedError(Finding(TILES_STEP, None, str(error))) from error


def _known(old: ExternalCheckpoint | None, checkpoint: Checkpoint, key: VerifierKey) -> Checkpoint | None:
    """Return the old checkpoint, verified; one that contradicts this log is told by step 7's words."""
    if old is None:
        return None
    note = read_note(old)
    try:
        known = verify_note(note, key)
    except RefusedError as error:
        raise RefusedError(error.code, f"{old.name}: {error}") from error
    if known.size == 0:
        raise RefusedError("MALFORMED", f"{old.name}: a checkpoint of size 0 says nothing")
    if known.size > checkpoint.size:
        message = f"{old.name}: it commits to {known.size:,} entries; the log ends before entry {checkpoint.size}"
        raise LogRefutedError(Finding(EXTERNAL_STEP, checkpoint.size, message))
    return known


def _scope(folder: TileFolder, root: Path, checkpoint: Checkpoint, known: Checkpoint | None) -> _Scope:
    size = checkpoint.size
    subtrees = SubtreeRoots(folder, size)
    if known is not None:
        try:
            found = subtrees.root(known.size)
        except RefusedError as error:
            raise LogRefutedError(Finding(TILES_STEP, None, str(error))) from error
        if found != known.root:
            message = f"another history: the log's root at size {known.size:,} is not the old checkpoint's"
            raise LogRefutedError(Finding(EXTERNAL_STEP, None, message))
    first, end = folder.stored(size) if isinstance(folder, BundleFolder) else (0, size)
    begin = (known.size if known is not None else 0) // TILE_WIDTH * TILE_WIDTH
    first = min(max(first, begin), end)
    return _Scope(
        folder=folder, root=root, subtrees=subtrees, size=size, known=known.size if known else 0, first=first, end=end
    )


def _look(scope: _Scope, checkpoint: Checkpoint, before: EpochEnd | None) -> _Found:
    """Read the new entries, and the hash tiles of those that are not here."""
    try:
        found = _Found(Levels(scope.folder, _old_rows(scope)), RecordsInForce(begun=scope.first == 0))
        _add_tiles(scope, found, scope.tile, scope.first // TILE_WIDTH)
        _add_entries(scope, found, checkpoint, before)
        last = -(-scope.end // TILE_WIDTH)
        _add_tiles(scope, found, max(last, scope.tile), -(-scope.size // TILE_WIDTH))
    except RefusedError as error:
        raise LogRefutedError(Finding(TILES_STEP, None, str(error))) from error
    return found


def _old_rows(scope: _Scope) -> Iterator[tuple[int, list[bytes]]]:
    """Yield of each level's tile that was incomplete then the hashes that the old root proves."""
    level, count = 1, scope.tile
    while count:
        index, width = divmod(count, TILE_WIDTH)
        data = scope.subtrees.tile(level, index) if width else b""
        yield index, [data[32 * i : 32 * i + 32] for i in range(width)]
        level, count = level + 1, count // TILE_WIDTH


def _add_tiles(scope: _Scope, found: _Found, first: int, end: int) -> None:
    """Take the hashes of entries that are not here from their tiles."""
    for index in range(first, end):
        data = scope.subtrees.tile(0, index)
        leaves = [data[at : at + 32] for at in range(0, len(data), 32)]
        if len(leaves) == TILE_WIDTH:
            found.levels.add([root_of(leaves)])
        else:
            found.tail = leaves


def _add_entries(scope: _Scope, found: _Found, checkpoint: Checkpoint, before: EpochEnd | None) -> None:
    link, time_us = _before(scope)
    for first in range(scope.first // TILE_WIDTH, -(-scope.end // TILE_WIDTH), RUN_BUNDLES):
        count = min(RUN_BUNDLES, -(-scope.end // TILE_WIDTH) - first)
        run = verify_run(scope.root, scope.size, first, count)
        if first == 0 and (problem := link_fault(run.first_previous, checkpoint.origin, before)):
            raise LogRefutedError(Finding(ENTRIES_STEP, 0, problem))
        if run.count and link not in (None, run.first_previous):
            raise LogRefutedError(Finding(ENTRIES_STEP, run.first, "its link is not the hash of the entry before"))
        if run.count and run.first_time < time_us:
            raise LogRefutedError(Finding(ENTRIES_STEP, run.first, "its time is before that of the entry before"))
        if run.findings:
            raise LogRefutedError(*run.findings)
        link, time_us = run.last_leaf, run.last_time
        found.kinds.add(bytes(run.kinds))
        found.levels.add(run.roots)
        found.tail = run.tail
        found.answers.add(bytes(run.answers))
        found.stranger_count += run.stranger_count
        found.strangers = (found.strangers + run.strangers)[:UNKNOWN_KINDS_SHOWN]
        _check_references(scope, found, run)
        if fault := found.records.fault(run.records):
            raise LogRefutedError(Finding(RULES_STEP, *fault))


def _before(scope: _Scope) -> tuple[bytes | None, int]:
    """Return leaf hash and time of the entry before the first one; none before entry 0."""
    if scope.first == 0:
        return None, 0
    tile = scope.first // TILE_WIDTH - 1
    _authentic(scope, 0, tile)
    try:
        entry = scope.folder.entries(tile, TILE_WIDTH)[-1]
    except MissingError:
        return scope.subtrees.tile(0, tile)[-32:], 0
    leaf = leaf_hash(entry)
    if leaf != scope.subtrees.tile(0, tile)[-32:]:
        raise LogRefutedError(Finding(TILES_STEP, scope.first - 1, "the entry's hash is not the one in the tile"))
    return leaf, int.from_bytes(entry[12:20], "big")


def _check_references(scope: _Scope, found: _Found, run: EntryRun) -> None:
    pairs = iter(run.references)
    for index, target in zip(pairs, pairs, strict=True):
        kind = found.kinds.at(target - scope.first) if target >= scope.first else _old_kind(scope, target)
        if kind is None:
            found.unknown_targets += 1
        elif fault := reference_fault(run.kinds[index - run.first], target, kind):
            raise LogRefutedError(Finding(BODIES_STEP, index, fault))
        elif kind in READINGS and run.kinds[index - run.first] in OF_A_READING:
            run.readings.extend((index, target))
    pairs = iter(run.readings)
    for index, target in zip(pairs, pairs, strict=True):
        entry, opened = _entry(scope, index), _entry(scope, target)
        if entry is not None and opened is not None and (fault := reading_fault(entry, target, opened)):
            raise LogRefutedError(Finding(BODIES_STEP, index, fault))


def _old_kind(scope: _Scope, index: int) -> int | None:
    """Return the kind of an entry before the first one, proven by the tree; None where it is not here."""
    entry = _entry(scope, index)
    if entry is None:
        return None
    kind = entry[HEAD_LENGTH + 1]
    return kind if kind in _KINDS else 0


def _entry(scope: _Scope, index: int) -> bytes | None:
    """Return an entry, one before the first one proven by the tree; None where it is not here."""
    tile, offset = divmod(index, TILE_WIDTH)
    try:
        entry = scope.folder.entries(tile, min(TILE_WIDTH, scope.size - tile * TILE_WIDTH))[offset]
    except MissingError:
        return None
    _authentic(scope, 0, tile)
    if leaf_hash(entry) != scope.subtrees.tile(0, tile)[32 * offset : 32 * offset + 32]:
        raise LogRefutedError(Finding(TILES_STEP, index, "the entry's hash is not the one in the tile"))
    return entry


def _authentic(scope: _Scope, level: int, index: int) -> None:
    """Check that a tile of the known part is the one that the old root proves, by the tiles above it."""
    if level == 0 and index >= scope.tile:
        return  # the new root proves it
    while index < scope.tile >> 8 * level:
        data = scope.subtrees.tile(level, index)
        above = scope.subtrees.tile(level + 1, index // TILE_WIDTH)
        at = 32 * (index % TILE_WIDTH)
        if root_of([data[i : i + 32] for i in range(0, len(data), 32)]) != above[at : at + 32]:
            raise LogRefutedError(
                Finding(TILES_STEP, index << 8 * (level + 1), "its tile is not the one below the next")
            )
        level, index = level + 1, index // TILE_WIDTH


def _tell_entries(steps: Steps, scope: _Scope, checkpoint: Checkpoint, before: EpochEnd | None) -> None:
    count = scope.end - scope.first
    detail = f"{count:,} entries, {scope.first:,} to {scope.end - 1:,}, each chained to the one before"
    linked, told = tell_link(checkpoint.origin, before) if scope.first == 0 else (True, "")
    detail = detail + told if count else "no entry here is new"
    if scope.known:
        detail += f"; those before {scope.known:,} are the ones that the old checkpoint proves, verified then"
    if scope.missing:
        detail += f"; {scope.missing:,} entries are not here, only their hashes"
    steps.put(ENTRIES_STEP, OK if linked and not scope.missing else NOT_CHECKED, detail)


def _tell_tree(steps: Steps, scope: _Scope, checkpoint: Checkpoint, found: _Found) -> None:
    if problem := found.levels.finish():
        raise LogRefutedError(Finding(TILES_STEP, *problem))
    if found.levels.root(found.tail) != checkpoint.root:
        raise LogRefutedError(Finding(ROOT_STEP, None, "the entries' root is not the one that the checkpoint signs"))
    since = f"from entry {scope.tile * TILE_WIDTH:,} on " if scope.known else ""
    steps.put(TILES_STEP, OK, f"hash tiles {since}agree, level by level")
    how = "recomputed from the old checkpoint's subtrees and what is new" if scope.known else "recomputed"
    steps.put(ROOT_STEP, OK, f"{how}, and the one that was signed")


def _tell_bodies(steps: Steps, scope: _Scope, found: _Found) -> None:
    counts = ", ".join(f"{Kind(kind).name} {count:,}" for kind, count in sorted(found.kinds.counts.items()) if kind)
    detail = f"{found.kinds.size:,} bodies read in one way: {counts or 'none'}"
    if found.stranger_count:
        indices = ", ".join(map(str, found.strangers))
        detail += f"; {found.stranger_count:,} not understood, at {indices}: newer than this program"
    if found.unknown_targets:
        detail += f"; {found.unknown_targets:,} refer to entries that are not here"
    steps.put(BODIES_STEP, NOT_CHECKED if found.stranger_count or found.unknown_targets else OK, detail)


def _tell_rules(steps: Steps, scope: _Scope, found: _Found) -> None:
    doubles = found.answers.doubles(scope.folder, scope.size)
    closed = found.kinds.first.get(Kind.EPOCH_CLOSED)
    genesis = found.kinds.first.get(Kind.GENESIS) if scope.first else found.kinds.genesis_again
    if doubles:
        raise LogRefutedError(
            Finding(RULES_STEP, doubles[1], f"the delivery that entry {doubles[0]} answered is answered again")
        )
    if closed is not None and scope.first + closed < scope.size - 1:
        index = scope.first + closed
        raise LogRefutedError(Finding(RULES_STEP, index + 1, f"entry {index} closed this epoch"))
    if closed is not None and (fault := closing_fault(scope.folder, scope.size)):
        raise LogRefutedError(Finding(RULES_STEP, scope.first + closed, fault))
    if genesis is not None:
        raise LogRefutedError(Finding(RULES_STEP, scope.first + genesis, "GENESIS in the middle of a log"))
    detail = f"{found.answers.count:,} deliveries answered here, each once; older answers were not compared"
    if closed is not None:
        detail += tell_closed(scope.folder, scope.size)
    steps.put(RULES_STEP, NOT_CHECKED if scope.missing else OK, detail)
