"""What a log asks of a witness: a checkpoint and the proof that it extends the one before, as C2SP tlog-witness has it.

Source: c2sp.org/tlog-witness, "add-checkpoint".
"""

import base64
import re
from dataclasses import dataclass

from audit.note.checkpoint import MAX_SIZE, Note, decode_base64, parse_note
from audit.tree.proof import MAX_PROOF_HASHES
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError

MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 45 * MAX_PROOF_HASHES + 32  # a hash's line is 45 bytes
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A request, read; nothing in it is verified."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str
    read: Note


def parse_request(body: bytes) -> AddCheckpoint:
    """Read ``old N``, at most 63 proof lines, a blank line and a checkpoint.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE; the message says which line and what was expected.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise RefusedError("TOO_LARGE", f"request: {len(body)} bytes, more than {MAX_REQUEST_BYTES}")
    try:
        head, blank, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise _malformed("not UTF-8") from error
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if old is None or int(old[1]) > MAX_SIZE:
        raise _malformed("line 1: 'old' and a size in plain decimal digits were expected")
    if not blank:
        raise _malformed("a blank line between proof and checkpoint was expected")
    if len(lines) > MAX_PROOF_HASHES:
        raise _malformed(f"{len(lines)} proof lines, more than {MAX_PROOF_HASHES}")
    proof = tuple(_hash(line, number) for number, line in enumerate(lines, 2))
    return AddCheckpoint(old_size=int(old[1]), proof=proof, note=note, read=parse_note(note))


def format_request(old_size: int, proof: tuple[bytes, ...] | list[bytes], note: str) -> bytes:
    """Write a request, as a log asks a witness."""
    lines = "".join(f"{base64.b64encode(value).decode()}\n" for value in proof)
    return f"old {old_size}\n{lines}\n{note}".encode()


def _hash(line: str, number: int) -> bytes:
    value = decode_base64(line, f"line {number}")
    if len(value) != 32:
        raise _malformed(f"line {number}: a hash of {len(value)} bytes instead of 32")
    return value


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"request: {what}")
