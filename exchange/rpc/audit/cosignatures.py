"""Cosignatures of our own checkpoints as they come in, until a quorum has cosigned one size.

Every line is verified before it is kept: one that fails is refused with all that came with it, and never stands under
a note. The log's own lines come first, then one Ed25519 line of each witness, then as many ML-DSA-44 lines as a note
has room for; only the Ed25519 lines count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.note.checkpoint import MAX_SIGNATURE_LINES, Checkpoint, SignatureLine, parse_note
from audit.note.cosignature import ED25519_COSIGNATURE, CosignerKey, add_lines, parse_lines, verify_cosignature
from audit.note.policy import WitnessPolicy
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError

KEPT = 32  # sizes; a slow witness answers about one that was published some seconds ago
MLDSA44_LINE_BYTES = 3600  # base64 of 2,432 bytes, a name, a dash


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A published checkpoint that witnesses are asked about."""

    note: str  # with the log's own lines
    checkpoint: Checkpoint

    @property
    def size(self) -> int:
        """Its size."""
        return self.checkpoint.size


@dataclass(slots=True)
class _Lines:
    """What came in for one size, by witness."""

    target: Target
    ed25519: dict[str, SignatureLine] = field(default_factory=dict)
    mldsa44: dict[str, SignatureLine] = field(default_factory=dict)


class CosignatureSet:
    """Collects one log's cosignatures."""

    def __init__(self, policy: WitnessPolicy) -> None:
        self._quorum = policy.quorum
        self._keys: dict[str, list[CosignerKey]] = {}
        for key in (*policy.witnesses, *policy.mldsa44):
            self._keys.setdefault(key.name, []).append(key)
        self._sizes: dict[int, _Lines] = {}  # in the order of their publication

    def aim(self, note: str) -> Target:
        """Take a checkpoint that was just published."""
        target = Target(note=note, checkpoint=parse_note(note).checkpoint)
        self._sizes.setdefault(target.size, _Lines(target))
        while len(self._sizes) > KEPT:
            del self._sizes[next(iter(self._sizes))]
        return target

    def take(self, witness: str, target: Target, answer: str) -> int:
        """Keep what a witness answered.

        Args:
            witness: Its name.
            target: What it was asked about.
            answer: Signature lines, as received; lines by keys that are not its own are left out.

        Returns:
            Seconds UTC, as its Ed25519 line states them.

        Raises:
            RefusedError: MALFORMED; SIGNATURE_INVALID; SIGNER_UNKNOWN, no line by the witness's Ed25519 key.
        """
        found: dict[int, SignatureLine] = {}
        times: dict[int, int] = {}
        for line in parse_lines(answer):
            for key in self._keys.get(witness, ()):
                if (line.name, line.key_hash) == (key.name, key.key_hash):
                    times[key.type] = verify_cosignature(line, target.checkpoint, key)
                    found[key.type] = line
        if ED25519_COSIGNATURE not in found:
            raise RefusedError("SIGNER_UNKNOWN", f"{witness} has sent no line by its key")
        lines = self._sizes.get(target.size)
        if lines is None:
            return times[ED25519_COSIGNATURE]  # so late that it helps nobody
        lines.ed25519[witness] = found.pop(ED25519_COSIGNATURE)
        for line in found.values():
            lines.mldsa44[witness] = line
        return times[ED25519_COSIGNATURE]

    def cosigned(self) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint that the quorum has cosigned, with all that came for it."""
        reached = [size for size, lines in self._sizes.items() if 0 < self._quorum <= len(lines.ed25519)]
        return (max(reached), _merge(self._sizes[max(reached)], list(self._keys))) if reached else None


def _merge(lines: _Lines, order: list[str]) -> str:
    """Put lines under the note as far as there is room; the first key's line of each witness before any second one."""
    own = lines.target.note
    room = MAX_SIGNATURE_LINES - len(parse_note(own).signatures)
    chosen = [lines.ed25519[name] for name in order if name in lines.ed25519][:room]
    text = "".join(map(str, chosen))
    left = (MAX_NOTE_BYTES - len(own.encode()) - len(text.encode())) // MLDSA44_LINE_BYTES
    second = [lines.mldsa44[name] for name in order if name in lines.mldsa44][: max(0, min(room - len(chosen), left))]
    return add_lines(own, text + "".join(map(str, second)))
