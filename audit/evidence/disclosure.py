"""One field of a bulletin, shown alone: what it is, and that the log commits to it.

Every PUBLISHED and RECEIVED carries in ``digest`` the root of a tree over sixteen commitments, one a slot. Who holds
the statement can open one of them with its salt and four hashes; the other fifteen stay shut, and nobody can tell
which of them are empty. Here is only the half that verifies: the half that opens needs the statement's salt and is
``exchange.records.disclosure``. A file carries the proof of the entry too, so that it is judged with nothing but the log's key.

Source: RFC 9162, section 2.1.3.2, for the path.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from audit.entry.body import parse_body
from audit.entry.entry import MAX_ENTRY_BYTES, Body, Kind, parse_entry
from audit.note.checkpoint import Checkpoint, VerifierKey, decode_base64
from audit.note.tlogproof import MAX_PROOF_BYTES, parse_proof, verify_proof
from audit.tree.proof import verify_inclusion
from keys.errors import RefusedError

FIRST_LINE = "exchange/v1/disclosure"
SLOTS = (
    "kind",
    "number",
    "originator",
    "author",
    "addressees",
    "dates",
    "marking",
    "urgency",
    "basis",
    "subject",
    "case",
    "references",
    "persons",
    "objects",
    "statements",
    "body",
)
"""The sixteen slots in their order; what each holds stands in ``proto/README.md``, section 15. Frozen."""

SALT_BYTES = 16
PATH_HASHES = 4
PROOF_BYTES = SALT_BYTES + 32 * PATH_HASHES  # 144
MAX_VALUE_BYTES = 1 << 20  # a bulletin has no more
MAX_FILE_BYTES = 2 * MAX_VALUE_BYTES + MAX_PROOF_BYTES + MAX_ENTRY_BYTES
_COMMITTED = frozenset((Kind.PUBLISHED, Kind.RECEIVED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """One field with what opens its commitment; nothing in it is verified."""

    field: str  # one of SLOTS
    value: bytes  # the field's bytes as they were signed
    salt: bytes  # 16 bytes
    path: tuple[bytes, ...]  # four hashes of 32 bytes, lowest level first


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureFile:
    """A file of one or more fields of one bulletin, read but not verified."""

    fields: tuple[Disclosed, ...]
    proof: str  # tlog-proof text with the entry as its extra line


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDisclosure:
    """Fields that the entry of a log commits to."""

    fields: tuple[Disclosed, ...]
    index: int
    body: Body
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class _Head:
    root: bytes
    size: int = len(SLOTS)


def commitment(slot: int, salt: bytes, value: bytes) -> bytes:
    """Return c_j = SHA-256(00 ‖ salt 16 ‖ u16 slot ‖ value): a leaf hash of RFC 6962."""
    return hashlib.sha256(b"\x00" + salt + slot.to_bytes(2, "big") + value).digest()


def verify_field(disclosed: Disclosed, root: bytes) -> bytes:
    """Check that a root commits to a field; return the field's bytes.

    Args:
        disclosed: As somebody shows it.
        root: 32 bytes, ``digest`` of a PUBLISHED or RECEIVED entry whose inclusion is verified.

    Raises:
        RefusedError: MALFORMED for another form; RECEIPT_INVALID where the root commits to something else.
    """
    if disclosed.field not in SLOTS:
        raise RefusedError("MALFORMED", f"there is no field {disclosed.field[:40]!a}; fields are {', '.join(SLOTS)}")
    if len(disclosed.salt) != SALT_BYTES or len(disclosed.path) != PATH_HASHES or not disclosed.value:
        raise RefusedError("MALFORMED", f"field {disclosed.field}: a salt of 16 bytes, four hashes and a value needed")
    slot = SLOTS.index(disclosed.field)
    leaf = commitment(slot, disclosed.salt, disclosed.value)
    try:
        verify_inclusion(leaf, slot, disclosed.path, _Head(root))
    except RefusedError as error:
        raise RefusedError("RECEIPT_INVALID", f"field {disclosed.field}: the entry commits to another value") from error
    return disclosed.value


def verify_disclosure(file: DisclosureFile, key: VerifierKey) -> VerifiedDisclosure:
    """Check a whole file: the entry is in the log of *key*, and commits to each field.

    1 the proof's form; 2 the entry is in the log; 3 it is of a kind that commits to fields; 4 each field.

    Raises:
        RefusedError: With the public code of the check that failed.
    """
    proof = parse_proof(file.proof)  # 1
    if proof.extra is None:
        raise RefusedError("MALFORMED", "disclosure: the proof carries no entry")
    checkpoint = verify_proof(proof, proof.extra, key)  # 2
    entry = parse_entry(proof.extra)
    body = parse_body(entry.body)
    if body.kind not in _COMMITTED or not body.digest or entry.index != proof.index:  # 3
        raise RefusedError("MALFORMED", f"disclosure: entry {proof.index} commits to no fields")
    for each in file.fields:
        verify_field(each, body.digest)  # 4
    return VerifiedDisclosure(fields=file.fields, index=proof.index, body=body, checkpoint=checkpoint)


def format_disclosure(fields: Sequence[Disclosed], proof: str) -> str:
    """Write the file: one line a field (name, proof, value), a blank line, the proof of the entry."""
    lines = [FIRST_LINE]
    for each in fields:
        opened = base64.b64encode(each.salt + b"".join(each.path)).decode()
        lines.append(f"{each.field} {opened} {base64.b64encode(each.value).decode()}")
    return "\n".join(lines) + "\n\n" + proof


def parse_disclosure(text: str) -> DisclosureFile:
    """Read a file strictly.

    Raises:
        RefusedError: MALFORMED; the message says which line and what was expected.
    """
    head, blank, proof = text.partition("\n\n")
    lines = head.split("\n")
    if len(text) > MAX_FILE_BYTES:
        raise _malformed(f"more than {MAX_FILE_BYTES} bytes")
    if lines[0] != FIRST_LINE:
        raise _malformed(f"line 1: {FIRST_LINE} was expected")
    if not blank or not proof:
        raise _malformed("no proof of the entry after a blank line")
    fields = tuple(_field(line, number) for number, line in enumerate(lines[1:], 2))
    places = [SLOTS.index(each.field) for each in fields]
    if not fields or places != sorted(set(places)):
        raise _malformed("fields stand once each, in their order, at least one")
    return DisclosureFile(fields=fields, proof=proof)


def _field(line: str, number: int) -> Disclosed:
    words = line.split(" ")
    if len(words) != 3 or words[0] not in SLOTS:
        raise _malformed(f"line {number}: a field's name, its proof and its value were expected")
    opened = decode_base64(words[1], f"disclosure, line {number}")
    if len(opened) != PROOF_BYTES:
        raise _malformed(f"line {number}: a proof of {len(opened)} bytes, {PROOF_BYTES} were expected")
    hashes = tuple(opened[at : at + 32] for at in range(SALT_BYTES, PROOF_BYTES, 32))
    value = decode_base64(words[2], f"disclosure, line {number}")
    return Disclosed(field=words[0], value=value, salt=opened[:SALT_BYTES], path=hashes)


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"disclosure: {what}")
