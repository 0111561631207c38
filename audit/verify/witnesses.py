"""Step 9 of a verification: who has cosigned this log, up to which size, and when.

Witnesses count only if their keys came from outside: a roster or a ``witnesses.vkeys`` that the auditor trusts. A
cosigned checkpoint is an outside anchor, for the log alone cannot make one. A line by a known key that does not verify
refutes; a quorum that is missing, lags or is old is told and leaves the log not fully verified. The cosignatures'
times bracket the entries': their median, so that no single witness's clock decides.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from audit.entry.entry import parse_head
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, verify_note
from audit.note.cosignature import CosignerKey, parse_cosigner_key
from audit.note.policy import Witnessed, WitnessPolicy
from audit.tiles.subtree_roots import SubtreeRoots
from audit.tiles.tile_names import CHECKPOINT, MLDSA44_KEY_FILE, WITNESSED
from audit.tiles.tiles import MissingError, NotHereError, TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.verify.entry_run import Finding
from audit.verify.external_checkpoints import ExternalCheckpoint, read_note
from keys.errors import RefusedError

WITNESS_STEP = 9
WITNESS_NAME = "witnesses"
STALE_SECONDS = 180  # three heartbeats
LAST_US = 1_000_000  # a log that grows is at most so far ahead of its witnesses
TOLERANCE_SECONDS = 600  # a node five minutes off its witnesses signs nothing; twice that for the asking


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRules:
    """Whose cosignatures the auditor believes."""

    policy: WitnessPolicy  # of at least one witness
    source: str  # for the report: ``from roster 1 …``
    log_mldsa44: CosignerKey | None = None  # the log's own second line; known only from a roster
    now_s: int | None = None  # seconds since 1970; None compares with the newest entry


@dataclass(slots=True, kw_only=True)
class WitnessResult:
    """What step 9 found."""

    ok: bool = False
    reached: int | None = None  # the largest size that a quorum has cosigned
    details: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def detail(self) -> str:
        """Return one sentence for the report."""
        return "; ".join(self.details)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cosigned:
    name: str  # of the file
    size: int
    witnessed: Witnessed


def check_witnesses(
    folder: TileFolder,
    checkpoint: Checkpoint,
    key: VerifierKey,
    rules: WitnessRules,
    notes: Sequence[tuple[str, str]],
    external: Sequence[ExternalCheckpoint],
) -> WitnessResult:
    """Judge the cosignatures under a log's own notes and under those that others kept.

    1. the log's second key and line, 2. each own note is this log's, 3. every known line verifies, 4. the newest note
    with a quorum, 5. entries' times within the cosignatures', 6. how far and how old.

    Args:
        folder: Its entries and tiles are those that *checkpoint* commits to: steps 2 to 5 have passed.
        checkpoint: The log's own.
        key: The log's.
        rules: Whose lines count.
        notes: (file name, text) of the folder's own notes, each read before the entries.
        external: What others kept; their notes count as the own ones do, where they agree with the log.

    Raises:
        RefusedError, LookupError: The folder changed while it was read.
    """
    result = WitnessResult()
    tree = SubtreeRoots(folder, checkpoint.size)
    _check_second_key(result, folder, rules)
    cosigned = _judge_own(result, notes, checkpoint, key, rules, tree)
    cosigned += _judge_external(external, checkpoint, key, rules, tree)
    if result.findings:
        return result
    reached = (each for each in cosigned if each.witnessed.reached)
    quorate = sorted(reached, key=lambda each: (each.size, len(each.witnessed.names)))
    for each in quorate:
        result.findings += _external_bracket(folder, checkpoint, each)
    if result.findings:
        return result
    _tell(result, folder, checkpoint, rules, cosigned, quorate)
    return result


def own_notes(folder: TileFolder) -> list[tuple[str, str]]:
    """Read ``witnessed``, where there is one, and ``checkpoint``, in this order: a log that grows moves the latter first.

    Raises:
        RefusedError: ``checkpoint`` is missing, or one of them cannot be read.
    """
    notes = []
    with suppress(MissingError):  # a log that nobody has cosigned yet, or of before there were witnesses
        notes.append((WITNESSED, folder.text(WITNESSED)))
    return [*notes, (CHECKPOINT, folder.note())]


def double_signers(policy: WitnessPolicy, own: Sequence[str], other: str) -> tuple[str, ...]:
    """Name the witnesses that cosigned one of *own* and *other*, which contradict each other: proof against them."""
    try:
        theirs = set(policy.judge(other).names)
        return tuple(sorted({name for note in own for name in policy.judge(note).names} & theirs))
    except RefusedError:
        return ()


def _check_second_key(result: WitnessResult, folder: TileFolder, rules: WitnessRules) -> None:
    """1: ``log-mldsa44.vkey`` is as little believed as ``log.vkey``; it must be the key that is known from outside."""
    try:
        own = parse_cosigner_key(folder.text(MLDSA44_KEY_FILE))
    except MissingError:
        return
    except RefusedError as error:
        result.findings.append(Finding(WITNESS_STEP, None, f"{MLDSA44_KEY_FILE}: {_plain(error)}"))
        return
    if rules.log_mldsa44 is not None and own != rules.log_mldsa44:
        message = f"{MLDSA44_KEY_FILE}: key {own.key_hash.hex()} of {own.name}, not the one {rules.source}"
        result.findings.append(Finding(WITNESS_STEP, None, message))


def _judge_own(
    result: WitnessResult,
    notes: Sequence[tuple[str, str]],
    checkpoint: Checkpoint,
    key: VerifierKey,
    rules: WitnessRules,
    tree: SubtreeRoots,
) -> list[_Cosigned]:
    """2 and 3."""
    cosigned = []
    for name, text in notes:
        try:
            if name != CHECKPOINT:
                _check_prefix(verify_note(text, key), checkpoint, tree)
            cosigned.append(_Cosigned(name=name, size=parse_note(text).checkpoint.size, witnessed=_judge(rules, text)))
        except RefusedError as error:
            result.findings.append(Finding(WITNESS_STEP, None, f"{name}: {_plain(error)}"))
    return cosigned


def _judge_external(
    external: Sequence[ExternalCheckpoint],
    checkpoint: Checkpoint,
    key: VerifierKey,
    rules: WitnessRules,
    tree: SubtreeRoots,
) -> list[_Cosigned]:
    """Judge what others kept; step 7 has said what is wrong with those that say nothing here."""
    cosigned = []
    for item in external:
        try:
            text = read_note(item)
            other = verify_note(text, key)
            _check_prefix(other, checkpoint, tree)
            cosigned.append(_Cosigned(name=item.name, size=other.size, witnessed=_judge(rules, text)))
        except RefusedError:
            continue
    return cosigned


def _judge(rules: WitnessRules, text: str) -> Witnessed:
    policy = rules.policy
    if rules.log_mldsa44 is not None:
        policy = WitnessPolicy(
            quorum=policy.quorum, witnesses=policy.witnesses, mldsa44=(*policy.mldsa44, rules.log_mldsa44)
        )
    return policy.judge(text)


def _check_prefix(other: Checkpoint, own: Checkpoint, tree: SubtreeRoots) -> None:
    if other.size > own.size:
        raise RefusedError("RECEIPT_INVALID", f"it commits to {other.size:,} entries; the log ends at {own.size:,}")
    if tree.root(other.size) != other.root:
        raise RefusedError("RECEIPT_INVALID", f"another history: the log's root at size {other.size:,} is not its root")


def _external_bracket(folder: TileFolder, checkpoint: Checkpoint, each: _Cosigned) -> list[Finding]:
    """5: the last entry below a cosigned size is no later, the first from it on no earlier, give or take 10 minutes.

    Entries' times never go back, so these two speak for all.
    """
    median = each.witnessed.median_s or 0
    findings = []
    with suppress(NotHereError):  # of a bundle without these entries the times are not known
        if each.size and _time_us(folder, each.size - 1) // 1_000_000 > median + TOLERANCE_SECONDS:
            index, word = each.size - 1, "later"
            findings.append(Finding(WITNESS_STEP, index, _misdated(folder, index, word, each)))
    with suppress(NotHereError):
        if each.size < checkpoint.size and _time_us(folder, each.size) // 1_000_000 < median - TOLERANCE_SECONDS:
            findings.append(Finding(WITNESS_STEP, each.size, _misdated(folder, each.size, "earlier", each)))
    return findings


def _misdated(folder: TileFolder, index: int, word: str, each: _Cosigned) -> str:
    stated = _utc(_time_us(folder, index) // 1_000_000)
    return f"dated {stated}, {word} than size {each.size:,} was cosigned, {_utc(each.witnessed.median_s or 0)} ({each.name})"


def _tell(
    result: WitnessResult,
    folder: TileFolder,
    checkpoint: Checkpoint,
    rules: WitnessRules,
    cosigned: Sequence[_Cosigned],
    quorate: Sequence[_Cosigned],
) -> None:
    """4 and 6: the newest quorum, by whom and when; else who there is."""
    policy, size = rules.policy, checkpoint.size
    wanted = f"{policy.quorum} of {len(policy.witnesses)}, {rules.source}"
    if not quorate or not quorate[-1].size:
        best = max(cosigned, key=lambda each: (len(each.witnessed.names), each.size), default=None)
        found = f"{len(best.witnessed.names)} at size {best.size:,}" if best and best.witnessed.names else "none"
        result.details.append(f"no quorum has cosigned this log ({wanted}): {found}")
        return
    newest = quorate[-1]
    result.reached, witnessed = newest.size, newest.witnessed
    median = f"median {_utc(witnessed.median_s or 0)}"
    count = len(witnessed.names)
    result.details.append(f"witnessed to size {newest.size:,} of {size:,} by {count} ({wanted}), {median}")
    behind, stale = _behind(folder, checkpoint, newest), _stale(folder, checkpoint, newest, rules.now_s)
    result.details += [*behind, *stale, _second_lines(rules, witnessed), _by_time(witnessed)]
    result.ok = not behind and not stale


def _by_time(witnessed: Witnessed) -> str:
    """Name the witnesses, those of one second together."""
    at: dict[int, list[str]] = {}
    for name, time in sorted(zip(witnessed.names, witnessed.times, strict=True), key=lambda pair: pair[1]):
        at.setdefault(time, []).append(name)
    return ", ".join(f"{_utc(time)} by {' '.join(names)}" for time, names in at.items())


def _second_lines(rules: WitnessRules, witnessed: Witnessed) -> str:
    known = len(rules.policy.mldsa44) + (rules.log_mldsa44 is not None)
    return f"ML-DSA-44 lines: {len(witnessed.mldsa44)} verified of {known} known keys"


def _behind(folder: TileFolder, checkpoint: Checkpoint, newest: _Cosigned) -> list[str]:
    """Return how far the log is ahead: the entries after it may span the last second and no more."""
    if newest.size == checkpoint.size:
        return []
    try:
        span = _time_us(folder, checkpoint.size - 1) - _time_us(folder, newest.size)
    except NotHereError:
        return [f"the last {checkpoint.size - newest.size:,} entries are cosigned by no quorum, and are not all here"]
    if span <= LAST_US:
        return []
    entries = checkpoint.size - newest.size
    return [f"the last {entries:,} entries, over {span / 1_000_000:,.0f} s, are cosigned by no quorum"]


def _stale(folder: TileFolder, checkpoint: Checkpoint, newest: _Cosigned, now_s: int | None) -> list[str]:
    """Return how old the cosignatures are, at the auditor's time or else at the newest entry's."""
    at, what = (now_s, "at the time given") if now_s is not None else (None, "at the newest entry")
    if at is None:
        try:
            at = _time_us(folder, checkpoint.size - 1) // 1_000_000
        except NotHereError:
            return []
    age = at - (newest.witnessed.median_s or 0)
    return [f"stale: {age:,} s old {what}, more than {STALE_SECONDS}"] if age > STALE_SECONDS else []


def _time_us(folder: TileFolder, index: int) -> int:
    bundle, offset = divmod(index, TILE_WIDTH)
    return parse_head(folder.entries(bundle, offset + 1)[offset]).time_us


def _utc(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # a lying clock may say anything
        return f"{seconds} s after 1970"


def _plain(error: RefusedError) -> str:
    return str(error).removeprefix("checkpoint: ")
