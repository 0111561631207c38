"""What somebody else kept of a log: checkpoints and receipts, compared with the log as it is now.

A checkpoint of this origin, signed by the log's key, must be a prefix of the log; a receipt's entry must be the one
at its index. What is malformed or of another origin says nothing about this log and is reported as unusable. One that
names this origin but is not signed by its key contradicts the log, one of the two is false, so it refutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from audit.entry.entry import leaf_hash
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, verify_note
from audit.note.tlogproof import FIRST_LINE, MAX_PROOF_BYTES, TlogProof, parse_proof
from audit.tiles.subtree_roots import SubtreeRoots
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.tree.proof import InclusionError, verify_inclusion
from audit.verify.entry_run import Finding
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError

EXTERNAL_STEP = 7
MAX_EXTERNAL_BYTES = max(MAX_NOTE_BYTES, MAX_PROOF_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalCheckpoint:
    """A checkpoint or a receipt from outside the log folder."""

    name: str  # as the auditor typed it
    data: bytes = b""
    problem: str | None = None  # why it cannot count, known before it is read


@dataclass(slots=True, kw_only=True)
class Agreement:
    """What step 7 found."""

    anchored: int | None = None  # the largest size that agrees
    checkpoints: int = 0
    receipts: int = 0
    unusable: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def detail(self) -> str:
        """Return one sentence for the report."""
        parts = []
        if self.anchored is not None:
            both = (_counted(self.checkpoints, "checkpoint"), _counted(self.receipts, "receipt"))
            parts.append(f"{' and '.join(filter(None, both))} agree, the newest at size {self.anchored:,}")
        parts += self.unusable
        return "; ".join(parts)


def check_external(
    folder: TileFolder, checkpoint: Checkpoint, key: VerifierKey, external: Sequence[ExternalCheckpoint]
) -> Agreement:
    """Compare each of *external* with the verified log in *folder*.

    Args:
        folder: Its entries and tiles are those that *checkpoint* commits to: steps 2 to 5 have passed.
        checkpoint: The log's own.
        key: The log's.
        external: At least one.
    """
    agreement = Agreement()
    own = _OwnLog(folder, checkpoint, key, SubtreeRoots(folder, checkpoint.size))
    for item in external:
        try:
            note, proof = _read(item)
        except RefusedError as error:
            agreement.unusable.append(f"{item.name}: not usable: {error}")
            continue
        _compare(agreement, _Kept(item.name, note, proof), own)
    return agreement


def read_note(item: ExternalCheckpoint) -> str:
    """Return the note in a checkpoint or receipt; RefusedError where it is neither."""
    return _read(item)[0]


def _read(item: ExternalCheckpoint) -> tuple[str, TlogProof | None]:
    """Return the note in a checkpoint or receipt, and the receipt's proof."""
    if item.problem:
        raise RefusedError("MALFORMED", item.problem)
    if len(item.data) > MAX_EXTERNAL_BYTES:
        raise RefusedError("MALFORMED", f"more than {MAX_EXTERNAL_BYTES} bytes")
    try:
        text = item.data.decode()
    except UnicodeDecodeError as error:
        raise RefusedError("MALFORMED", "neither a checkpoint nor a receipt: not UTF-8") from error
    proof = parse_proof(text) if text.startswith(FIRST_LINE) else None
    note = proof.note if proof else text
    parse_note(note)
    return note, proof


class _Kept(NamedTuple):
    name: str
    note: str
    proof: TlogProof | None  # of a receipt


class _OwnLog(NamedTuple):
    folder: TileFolder
    checkpoint: Checkpoint
    key: VerifierKey
    tree: SubtreeRoots


def _compare(agreement: Agreement, kept: _Kept, own: _OwnLog) -> None:
    name, note, proof = kept
    folder, checkpoint, key, tree = own
    origin = parse_note(note).checkpoint.origin
    if origin != checkpoint.origin:
        agreement.unusable.append(f"{name}: not usable: a checkpoint of {origin}, not of {checkpoint.origin}")
        return
    try:
        other = verify_note(note, key)
    except RefusedError as error:
        agreement.findings.append(Finding(EXTERNAL_STEP, None, f"{name}: {error}"))
        return
    finding = _disagreement(other, checkpoint, tree) or _entry_differs(proof, other, folder)
    if finding:
        agreement.findings.append(finding._replace(message=f"{name}: {finding.message}"))
        return
    if other.size == 0:
        agreement.unusable.append(f"{name}: a checkpoint of size 0 says nothing")
        return
    agreement.checkpoints += proof is None
    agreement.receipts += proof is not None
    agreement.anchored = max(other.size, agreement.anchored or 0)


def _disagreement(other: Checkpoint, own: Checkpoint, tree: SubtreeRoots) -> Finding | None:
    if other.size > own.size:
        message = f"it commits to {other.size:,} entries; the log ends before entry {own.size}"
        return Finding(EXTERNAL_STEP, own.size, message)
    if tree.root(other.size) != other.root:
        return Finding(EXTERNAL_STEP, None, f"another history: the log's root at size {other.size:,} is not its root")
    return None


def _entry_differs(proof: TlogProof | None, other: Checkpoint, folder: TileFolder) -> Finding | None:
    """Check a receipt's entry, or without one the log's, at its index, and that the proof leads to its root."""
    if proof is None:
        return None
    if proof.index >= other.size:
        return Finding(EXTERNAL_STEP, None, f"a proof of entry {proof.index} in a tree of {other.size}")
    bundle, offset = divmod(proof.index, TILE_WIDTH)
    entry = folder.entries(bundle, offset + 1)[offset]
    if proof.extra not in (None, entry):
        return Finding(EXTERNAL_STEP, proof.index, "its entry is not the one in the log")
    try:
        verify_inclusion(leaf_hash(entry), proof.index, proof.hashes, other)
    except InclusionError as error:
        return Finding(EXTERNAL_STEP, proof.index, str(error))
    return None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}" if number else ""
