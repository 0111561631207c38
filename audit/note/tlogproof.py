"""The text of a proof: C2SP tlog-proof, one entry's way to a signed checkpoint.

``c2sp.org/tlog-proof@v1``, an optional ``extra`` line, ``index n``, the hashes, a blank line, the checkpoint. The
extra line of our files is the entry itself. Nothing is trusted before ``verify_proof``.

Source: c2sp.org/tlog-proof.
"""

import re
from binascii import b2a_base64
from collections.abc import Sequence

from audit.entry.entry import MAX_ENTRY_BYTES, leaf_hash
from audit.note.checkpoint import Checkpoint, VerifierKey, decode_base64, verify_note
from audit.tree.proof import MAX_PROOF_HASHES, verify_inclusion
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError
from keys.values import hot_value

FIRST_LINE = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_ENTRY_BYTES + 64 * MAX_PROOF_HASHES
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@hot_value(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """A proof as read from its text; nothing in it is verified."""

    index: int
    hashes: tuple[bytes, ...]  # 32 bytes each, lowest level first
    note: str  # the checkpoint, to the byte
    extra: bytes | None = None


def format_proof(index: int, hashes: Sequence[bytes], note: str, extra: bytes | None = None) -> str:
    """Return the proof's text; *extra* is the entry in files, None on the wire."""
    entry = "" if extra is None else f"extra {b2a_base64(extra).decode()}"
    lines = b"".join(map(b2a_base64, hashes)).decode()  # each with its newline
    return f"{FIRST_LINE}\n{entry}index {index}\n{lines}\n{note}"


def parse_proof(text: str) -> TlogProof:
    """Read a proof strictly; the checkpoint's own form is checked with its signature.

    Raises:
        RefusedError: MALFORMED; the message says which line and what was expected.
    """
    if len(text) > MAX_PROOF_BYTES:
        raise _malformed(f"more than {MAX_PROOF_BYTES} bytes")
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != FIRST_LINE:
        raise _malformed(f"line 1: {FIRST_LINE} was expected")
    if not blank or not note:
        raise _malformed("no checkpoint after a blank line")
    extra, at = None, 1
    if len(lines) > 1 and lines[1].startswith("extra "):
        extra, at = decode_base64(lines[1].removeprefix("extra "), "tlog-proof, line 2"), 2
    match = _INDEX.fullmatch(lines[at]) if at < len(lines) else None
    if match is None:
        raise _malformed(f"line {at + 1}: 'index' and a plain decimal number were expected")
    if len(lines) - at - 1 > MAX_PROOF_HASHES:
        raise _malformed(f"{len(lines) - at - 1} hashes")
    hashes = tuple(_hash(line, number) for number, line in enumerate(lines[at + 1 :], at + 2))
    return TlogProof(index=int(match[1]), hashes=hashes, note=note, extra=extra)


def verify_proof(proof: TlogProof, entry: bytes, key: VerifierKey) -> Checkpoint:
    """Check that *entry* is in the log of *key*; return the checkpoint that says so.

    Raises:
        RefusedError: From ``verify_note``, or RECEIPT_INVALID.
    """
    checkpoint = verify_note(proof.note, key)
    verify_inclusion(leaf_hash(entry), proof.index, proof.hashes, checkpoint)
    return checkpoint


def _hash(line: str, number: int) -> bytes:
    value = decode_base64(line, f"tlog-proof, line {number}")
    if len(value) != 32:
        raise _malformed(f"line {number}: a hash of {len(value)} bytes")
    return value


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"tlog-proof: {what}")
