"""Steps 1, 2, 7 and 9: what a log hangs on; its key, its checkpoint, what others kept of it and who cosigned it.

They are the same whether the whole log is read or what is new in it. What they find against a log ends its
verification; a cut tail can only be seen by what is from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from audit.note.checkpoint import Checkpoint, VerifierKey, parse_verifier_key, verify_note
from audit.tiles.tile_names import CHECKPOINT, KEY_FILE
from audit.tiles.tiles import MissingError, TileFolder
from audit.verify.entry_run import Finding
from audit.verify.external_checkpoints import ExternalCheckpoint, check_external, read_note
from audit.verify.verdict import NOT_CHECKED, OK, LogRefutedError, Steps
from audit.verify.witnesses import WITNESS_STEP, WitnessResult, WitnessRules, check_witnesses, double_signers, own_notes
from keys.errors import RefusedError

NO_WITNESSES = "whose cosignatures count must be known from outside: a roster that names them, or --witnesses FILE"
OWN_KEY = "key taken from the log itself"


class SourcedKey(NamedTuple):
    """A log's key that is from outside its folder, and where from, in the report's words: ``roster 1 …``."""

    key: VerifierKey
    source: str


LogKey = VerifierKey | SourcedKey | None  # a bare one was given; none takes the log's own, and the report says so


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustQuestion:
    """What steps 7 and 9 hold against each other; steps 1 and 2 have passed."""

    folder: TileFolder
    checkpoint: Checkpoint  # the log's own
    key: VerifierKey
    notes: Sequence[tuple[str, str]]  # the folder's, as they were read
    external: Sequence[ExternalCheckpoint]  # what somebody else kept
    rules: WitnessRules | None  # whose cosignatures count, from outside the folder; None does not ask


def step_key(steps: Steps, folder: TileFolder, given: LogKey) -> VerifierKey:
    """1: the key, from outside or from the folder; the folder's own must be the same.

    Raises:
        LogRefutedError: The folder's key is missing and none was given, is malformed, or is another.
    """
    key, source = given if isinstance(given, SourcedKey) else (given, "given")
    try:
        own = parse_verifier_key(folder.key_text())
    except MissingError as error:
        if key is None:
            raise LogRefutedError(Finding(1, None, f"{KEY_FILE}: missing, and no other key was given")) from error
        own = key
    except RefusedError as error:
        raise LogRefutedError(Finding(1, None, f"{KEY_FILE}: {_plain(error, KEY_FILE)}")) from error
    if key is None:
        steps.put(1, NOT_CHECKED, OWN_KEY)
        return own
    if own != key:
        raise LogRefutedError(
            Finding(1, None, f"{KEY_FILE}: key {own.key_hash.hex()} of {own.name}, not the one {source}")
        )
    steps.put(1, OK, f"key {key.key_hash.hex()} of {key.name}, {source}")
    return key


def step_checkpoint(steps: Steps, folder: TileFolder, key: VerifierKey) -> tuple[list[tuple[str, str]], Checkpoint]:
    """2: strict form, the key's signature, its origin. Returns the folder's notes as they were read, too.

    Raises:
        LogRefutedError: It is missing, malformed, or not signed by *key*.
    """
    try:
        notes = own_notes(folder)
        checkpoint = verify_note(notes[-1][1], key)
    except RefusedError as error:
        raise LogRefutedError(Finding(2, None, f"{CHECKPOINT}: {_plain(error, CHECKPOINT)}")) from error
    steps.put(2, OK, f"size {checkpoint.size:,}, root {checkpoint.root.hex()[:8]}, signed by key {key.key_hash.hex()}")
    return notes, checkpoint


def judge_witnesses(question: TrustQuestion) -> WitnessResult:
    """Judge the cosignatures for step 9, before step 7 asks how far they reach.

    Raises:
        LogRefutedError: The log changed while it was read.
    """
    if question.rules is None:
        return WitnessResult()
    try:
        return check_witnesses(
            question.folder, question.checkpoint, question.key, question.rules, question.notes, question.external
        )
    except (RefusedError, LookupError) as error:
        raise LogRefutedError(Finding(WITNESS_STEP, None, f"the log changed while it was read: {error}")) from error


def step_external(steps: Steps, question: TrustQuestion, witnessed: int | None) -> int | None:
    """7: what others kept of this log is still in it; returns the largest size that agrees or is cosigned.

    Raises:
        LogRefutedError: Something kept outside contradicts the log, or the log changed while it was read.
    """
    external = question.external
    if not external and witnessed is not None:
        steps.put(
            7, OK, f"no outside checkpoint was given; the witnesses' quorum anchors the log at size {witnessed:,}"
        )
        return witnessed
    if not external:
        steps.put(7, NOT_CHECKED, "no outside checkpoint was given: entries cut off the end cannot be seen")
        return None
    try:
        result = check_external(question.folder, question.checkpoint, question.key, external)
    except (RefusedError, LookupError) as error:
        raise LogRefutedError(Finding(7, None, f"the log changed while it was read: {error}")) from error
    if result.findings:
        first, *others = result.findings
        raise LogRefutedError(first._replace(message=first.message + _double_signers(question, first)), *others)
    anchored = max((size for size in (result.anchored, witnessed) if size is not None), default=None)
    steps.put(7, NOT_CHECKED if result.unusable or anchored is None else OK, result.detail)
    return anchored


def _double_signers(question: TrustQuestion, finding: Finding) -> str:
    """Name who cosigned both histories, words_of an outside checkpoint contradicts the log."""
    other = next((item for item in question.external if finding.message.startswith(f"{item.name}: ")), None)
    if question.rules is None or other is None or finding.entry is not None:
        return ""
    try:
        names = double_signers(question.rules.policy, [text for _, text in question.notes], read_note(other))
    except RefusedError:
        return ""
    return f"; {', '.join(names)} cosigned both" if names else ""


def step_witnesses(steps: Steps, result: WitnessResult, rules: WitnessRules | None) -> None:
    """9: who has cosigned this log, up to where and when; not checked where nobody says whose cosignatures count.

    Raises:
        LogRefutedError: A cosignature convicts somebody.
    """
    if rules is None:
        steps.leave(WITNESS_STEP, NO_WITNESSES)
        return
    if result.findings:
        raise LogRefutedError(*result.findings)
    steps.put(WITNESS_STEP, OK if result.ok else NOT_CHECKED, result.detail)


def _plain(error: RefusedError, name: str) -> str:
    return str(error).removeprefix(f"{name}: ").removeprefix("checkpoint: ")
