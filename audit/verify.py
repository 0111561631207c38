"""Verify a log folder offline, in numbered steps, and say what was examined and what was not.

1 key · 2 checkpoint · 3 entries · 4 tiles · 5 root · 6 bodies · 7 outside · 8 rules, and 9 witnesses where somebody
says whose cosignatures count. A step is ``ok``, ``refuted`` or ``not checked``; what follows a refuted step is not
checked. A cut tail can only be seen from outside, so without an outside checkpoint or a quorum's cosignatures a log is
never plainly verified. Nothing but the folder and what was handed in is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit.bundle_folder import folder_at
from audit.census import Census
from audit.checkpoint import Checkpoint, VerifierKey, parse_note, parse_verifier_key, verify_note
from audit.chunk import BODIES_STEP, ENTRIES_STEP, TILES_STEP, Finding
from audit.epochs import EpochEnd, link_fault, scar, tell_link
from audit.grammar import FIRST_KINDS
from audit.kinds import Kind
from audit.merkle import TILE_WIDTH
from audit.outside import Outside, check_outside, read_note
from audit.sweep import Sweep, sweep
from audit.tile_names import CHECKPOINT, KEY_FILE, MLDSA44_KEY_FILE, WITNESSED, parse_tile_name, tiles_at
from audit.tiles import MissingError, TileFolder
from audit.verify_witness import (
    WITNESS_NAME,
    WITNESS_STEP,
    WitnessResult,
    WitnessRules,
    check_witnesses,
    double_signers,
    own_notes,
)
from keys.errors import RefusedError

EXIT_VERIFIED, EXIT_REFUTED, EXIT_INCOMPLETE = 0, 6, 7
OK, REFUTED, NOT_CHECKED = "ok", "refuted", "not checked"
NAMES = ("key", "checkpoint", "entries", "tiles", "root", "bodies", "outside", "rules")
OWN_KEY = "key taken from the log itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of one step."""

    step: int
    name: str
    result: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification found."""

    verdict: str
    origin: str | None
    size: int | None
    root: bytes | None
    steps: tuple[Step, ...]
    anchored: int | None = None  # size of the newest outside or cosigned checkpoint that the log agrees with
    witnessed: int | None = None  # size of the newest checkpoint that the witnesses' quorum has cosigned

    @property
    def exit_code(self) -> int:
        """Return 0 verified, 6 refuted, 7 something was not checked."""
        results = {step.result for step in self.steps}
        if REFUTED in results:
            return EXIT_REFUTED
        return EXIT_INCOMPLETE if NOT_CHECKED in results else EXIT_VERIFIED


class _RefutedError(Exception):
    """Ends a verification: the findings of the earliest entry."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(findings[0].message)
        self.findings = findings


@dataclass(slots=True)
class _Steps:
    """Collects results in order."""

    last: int  # number of the last step
    done: dict[int, Step] = field(default_factory=dict)

    def put(self, number: int, result: str, detail: str) -> None:
        self.done[number] = Step(step=number, name=(*NAMES, WITNESS_NAME)[number - 1], result=result, detail=detail)

    def all(self) -> tuple[Step, ...]:
        for number in range(1, self.last + 1):
            if number not in self.done:
                self.put(number, NOT_CHECKED, "the log was refuted before")
        return tuple(self.done[number] for number in sorted(self.done))


def verify_log(
    root: Path,
    *,
    key: VerifierKey | None = None,
    key_source: str = "given",
    outside: Sequence[Outside] = (),
    processes: int = 1,
    witnesses: WitnessRules | None = None,
    before: EpochEnd | None = None,
) -> Report:
    """Verify the log in folder *root*.

    Args:
        root: The log folder, which exists.
        key: The log's key, from outside the folder; None takes the folder's own and says so.
        key_source: Where *key* is from, for the report: ``given``, ``roster 1 …``.
        outside: Checkpoints and receipts that somebody else kept.
        processes: 2 uses a second core for large logs.
        witnesses: Whose cosignatures count, from outside the folder; without them there is no step 9.
        before: Where the epoch before ended, from outside the folder; the first epoch has none.

    Raises:
        Nothing for whatever the folder holds: everything malformed is a refutation in the report.
    """
    steps, folder = _Steps(last=WITNESS_STEP if witnesses else WITNESS_STEP - 1), folder_at(root)
    checkpoint: Checkpoint | None = None
    anchored: int | None = None
    result = WitnessResult()
    try:
        key = _step_key(steps, folder, key, key_source)
        notes, checkpoint = _step_checkpoint(steps, folder, key)
        swept = sweep(root, checkpoint.size, processes)
        _step_entries(steps, checkpoint, swept, before)
        _step_tiles(steps, folder, checkpoint, swept)
        _step_root(steps, checkpoint, swept)
        _step_bodies(steps, checkpoint, swept)
        if witnesses is not None:
            result = _judge_witnesses(folder, checkpoint, key, witnesses, notes, outside)
        anchored = _step_outside(steps, folder, checkpoint, key, outside, witnesses, notes, result.reached)
        _step_rules(steps, checkpoint, swept)
        if witnesses is not None:
            _step_witnesses(steps, result)
    except _RefutedError as refuted:
        for finding in refuted.findings:
            steps.put(finding.step, REFUTED, _where(finding))
        return _report(steps, checkpoint, None, None, refuted.findings)
    return _report(steps, checkpoint, anchored, result.reached, (), scar(swept.kinds.first.get(Kind.RESTORED)))


def _report(
    steps: _Steps,
    checkpoint: Checkpoint | None,
    anchored: int | None,
    witnessed: int | None,
    findings: Sequence[Finding],
    break_seen: str = "",
) -> Report:
    verdict = "verified" if anchored is not None else "verified, end not anchored"
    if witnessed is not None:
        verdict = f"verified, witnessed to {witnessed}"
    verdict += break_seen
    if findings:
        first = min(findings, key=lambda f: (f.entry is None, f.entry or 0, f.step))
        verdict = f"refuted {_where(first)}" if first.entry is not None else f"refuted: {first.message}"
    return Report(
        verdict=verdict,
        origin=checkpoint.origin if checkpoint else None,
        size=checkpoint.size if checkpoint else None,
        root=checkpoint.root if checkpoint else None,
        steps=steps.all(),
        anchored=anchored,
        witnessed=witnessed,
    )


def _where(finding: Finding) -> str:
    return finding.message if finding.entry is None else f"at entry {finding.entry}: {finding.message}"


def _step_key(steps: _Steps, folder: TileFolder, key: VerifierKey | None, source: str) -> VerifierKey:
    """1: the key, from outside or from the folder; the folder's own must be the same."""
    try:
        own = parse_verifier_key(folder.key_text())
    except MissingError as error:
        if key is None:
            raise _RefutedError(Finding(1, None, f"{KEY_FILE}: missing, and no other key was given")) from error
        own = key
    except RefusedError as error:
        raise _RefutedError(Finding(1, None, f"{KEY_FILE}: {_plain(error, KEY_FILE)}")) from error
    if key is None:
        steps.put(1, NOT_CHECKED, OWN_KEY)
        return own
    if own != key:
        raise _RefutedError(
            Finding(1, None, f"{KEY_FILE}: key {own.key_hash.hex()} of {own.name}, not the one {source}")
        )
    steps.put(1, OK, f"key {key.key_hash.hex()} of {key.name}, {source}")
    return key


def _step_checkpoint(steps: _Steps, folder: TileFolder, key: VerifierKey) -> tuple[list[tuple[str, str]], Checkpoint]:
    """2: strict form, the key's signature, its origin. Returns the folder's notes as they were read, too."""
    try:
        notes = own_notes(folder)
        checkpoint = verify_note(notes[-1][1], key)
    except RefusedError as error:
        raise _RefutedError(Finding(2, None, f"{CHECKPOINT}: {_plain(error, CHECKPOINT)}")) from error
    steps.put(2, OK, f"size {checkpoint.size:,}, root {checkpoint.root.hex()[:8]}, signed by key {key.key_hash.hex()}")
    return notes, checkpoint


def _step_entries(steps: _Steps, checkpoint: Checkpoint, swept: Sweep, before: EpochEnd | None) -> None:
    """3: framing, magic, indices without a gap, every link, times that never go back."""
    findings = list(swept.findings)
    if swept.count and (problem := link_fault(swept.first_previous, checkpoint.origin, before)):
        findings.append(Finding(ENTRIES_STEP, 0, problem))
    if findings:
        if all(finding.step > ENTRIES_STEP for finding in findings):
            steps.put(ENTRIES_STEP, OK, f"{checkpoint.size:,} entries, numbered and chained")
        raise _RefutedError(*findings)
    detail = f"{checkpoint.size:,} entries, indices from 0 without a gap, each chained to the one before"
    linked, told = tell_link(checkpoint.origin, before)
    steps.put(ENTRIES_STEP, OK if linked else NOT_CHECKED, detail + told)


def _step_tiles(steps: _Steps, folder: TileFolder, checkpoint: Checkpoint, swept: Sweep) -> None:
    """4: level 0 is the entries' hashes (compared in the sweep), each level above is made from the one below."""
    if problem := swept.levels.finish():
        raise _RefutedError(Finding(TILES_STEP, *problem))
    try:
        detail = _census(folder, checkpoint.size)
    except RefusedError as error:
        raise _RefutedError(Finding(TILES_STEP, None, str(error))) from error
    steps.put(TILES_STEP, NOT_CHECKED if "nothing of this log" in detail else OK, detail)


def _census(folder: TileFolder, size: int) -> str:
    """Count the files that the checkpoint commits to, and name what else lies there."""
    expected, later, strange, first = 0, 0, 0, ""
    partial = {level: (index, width) for level, index, width in tiles_at(size)}
    for name in folder.each_name():
        tile = parse_tile_name(name)
        if name in (CHECKPOINT, KEY_FILE, MLDSA44_KEY_FILE, WITNESSED):
            continue
        if tile is None:
            strange, first = strange + 1, min(first or name, name)
            continue
        level = 0 if tile[0] == "entries" else int(tile[0])
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


def _step_root(steps: _Steps, checkpoint: Checkpoint, swept: Sweep) -> None:
    """5: the root over all entries is the one that was signed."""
    if swept.levels.root(swept.tail) != checkpoint.root:
        raise _RefutedError(Finding(5, None, "the entries' root is not the one that the checkpoint signs"))
    steps.put(5, OK, "recomputed from the entries, and the one that was signed")


def _step_bodies(steps: _Steps, checkpoint: Checkpoint, swept: Sweep) -> None:
    """6: bodies read in one way, by their kind's rule, references to the right kind (all in the sweep); counts."""
    counts = ", ".join(f"{Kind(kind).name} {count:,}" for kind, count in sorted(swept.kinds.counts.items()) if kind)
    detail = f"{checkpoint.size:,} bodies read in one way: {counts or 'none'}"
    if swept.stranger_count:
        places = ", ".join(map(str, swept.strangers))
        detail += f"; {swept.stranger_count:,} not understood, at {places}: newer than this program"
        steps.put(BODIES_STEP, NOT_CHECKED, detail)
    else:
        steps.put(BODIES_STEP, OK, detail)


def _judge_witnesses(
    folder: TileFolder,
    checkpoint: Checkpoint,
    key: VerifierKey,
    rules: WitnessRules,
    notes: Sequence[tuple[str, str]],
    outside: Sequence[Outside],
) -> WitnessResult:
    try:
        return check_witnesses(folder, checkpoint, key, rules, notes, outside)
    except (RefusedError, LookupError) as error:
        raise _RefutedError(Finding(WITNESS_STEP, None, f"the log changed while it was read: {error}")) from error


def _step_outside(
    steps: _Steps,
    folder: TileFolder,
    checkpoint: Checkpoint,
    key: VerifierKey,
    outside: Sequence[Outside],
    rules: WitnessRules | None,
    notes: Sequence[tuple[str, str]],
    witnessed: int | None,
) -> int | None:
    """7: what others kept of this log is still in it; returns the largest size that agrees or is cosigned."""
    if not outside and witnessed is not None:
        steps.put(
            7, OK, f"no outside checkpoint was given; the witnesses' quorum anchors the log at size {witnessed:,}"
        )
        return witnessed
    if not outside:
        steps.put(7, NOT_CHECKED, "no outside checkpoint was given: entries cut off the end cannot be seen")
        return None
    try:
        result = check_outside(folder, checkpoint, key, outside)
    except (RefusedError, LookupError) as error:
        raise _RefutedError(Finding(7, None, f"the log changed while it was read: {error}")) from error
    if result.findings:
        first, *others = result.findings
        raise _RefutedError(
            first._replace(message=first.message + _double_signers(rules, notes, outside, first)), *others
        )
    anchored = max((size for size in (result.anchored, witnessed) if size is not None), default=None)
    steps.put(7, NOT_CHECKED if result.unusable or anchored is None else OK, result.detail)
    return anchored


def _double_signers(
    rules: WitnessRules | None, notes: Sequence[tuple[str, str]], outside: Sequence[Outside], finding: Finding
) -> str:
    """Name who cosigned both histories, where an outside checkpoint contradicts the log."""
    other = next((item for item in outside if finding.message.startswith(f"{item.name}: ")), None)
    if rules is None or other is None or finding.entry is not None:
        return ""
    try:
        names = double_signers(rules.policy, [text for _, text in notes], read_note(other))
    except RefusedError:
        return ""
    return f"; {', '.join(names)} cosigned both" if names else ""


def _step_witnesses(steps: _Steps, result: WitnessResult) -> None:
    """9: who has cosigned this log, up to where and when."""
    if result.findings:
        raise _RefutedError(*result.findings)
    steps.put(WITNESS_STEP, OK if result.ok else NOT_CHECKED, result.detail)


def _step_rules(steps: _Steps, checkpoint: Checkpoint, swept: Sweep) -> None:
    """8: how a log begins and ends, one answer a delivery, and what everybody must be told."""
    kinds = swept.kinds
    problem = _beginning(kinds)
    if problem is None and swept.doubles:
        first, second = swept.doubles
        problem = Finding(8, second, f"the delivery that entry {first} answered is answered again")
    closed = kinds.first.get(Kind.EPOCH_CLOSED, kinds.size)
    if problem is None and closed < kinds.size - 1:
        problem = Finding(8, closed + 1, f"entry {closed} closed this epoch")
    if problem:
        raise _RefutedError(problem)
    detail = f"begins as a log must; {swept.answers.count:,} deliveries answered, each once"
    if alone := kinds.counts[Kind.STARTED_ALONE]:
        detail += f"; {alone} times the node started alone, first at entry {kinds.first[Kind.STARTED_ALONE]}"
    if kinds.alone_since is not None:
        detail += (
            f"; it started alone at entry {kinds.alone_since} and nobody has answered since: it may be an old copy"
        )
    steps.put(8, OK, detail)


def _beginning(kinds: Census) -> Finding | None:
    """GENESIS, ROSTER_ADOPTED, one or more MANIFEST_ADOPTED, KEY_SHEET_ADOPTED; GENESIS never again."""
    for index, (found, kind) in enumerate(zip(kinds.beginning, FIRST_KINDS[:3], strict=False)):
        if found not in (kind, 0):
            return Finding(8, index, f"{Kind(found).name} where {kind.name} belongs")
    if kinds.after is not None and kinds.after[1] not in (Kind.KEY_SHEET_ADOPTED, 0):
        return Finding(8, kinds.after[0], f"{Kind(kinds.after[1]).name} where KEY_SHEET_ADOPTED belongs")
    again = kinds.genesis_again
    return None if again is None else Finding(8, again, "GENESIS in the middle of a log")


def _plain(error: RefusedError, name: str) -> str:
    return str(error).removeprefix(f"{name}: ").removeprefix("checkpoint: ")


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode() if text.isprintable() else ascii(text)


__all__ = ["Outside", "Report", "Step", "parse_note", "verify_log"]
