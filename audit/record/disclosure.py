"""Some fields of a bulletin, shown alone: what they are, and that the log commits to them.

Every PUBLISHED and RECEIVED carries in ``digest`` one hash over twenty commitments, one a slot (``commitments``). Who
holds the statement can open some of them with their salts; the commitments of the others are shown as they are and
stay shut, and nobody can tell which of them are empty. A file carries the proof of the entry too, so that it is judged
with nothing but the log's key.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass

from audit.entry.body import parse_body
from audit.entry.entry import MAX_ENTRY_BYTES, Body, Kind, parse_entry
from audit.note.checkpoint import Checkpoint, VerifierKey, decode_base64
from audit.note.tlogproof import MAX_PROOF_BYTES, parse_proof, verify_proof
from audit.record.commitments import (
    COMMITMENT_BYTES,
    SALT_BYTES,
    SLOTS,
    commitment,
    commitments,
    fields_root,
    salt_stream,
    slot_salt,
    slot_values,
)
from keys.errors import RefusedError

FIRST_LINE = "exchange/v1/disclosure"
SHUT = "shut"  # the word of the last line; no slot is called so
MAX_VALUE_BYTES = 1 << 20  # a bulletin has no more
MAX_FILE_BYTES = 2 * MAX_VALUE_BYTES + MAX_PROOF_BYTES + MAX_ENTRY_BYTES
_COMMITTED = frozenset((Kind.PUBLISHED, Kind.RECEIVED))


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedField:
    """One field with what opens its commitment; nothing in it is verified."""

    field: str  # one of SLOTS
    value: bytes  # the field's bytes as they were signed
    salt: bytes  # 16 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """Some fields of one bulletin, and the commitments of all others; nothing in it is verified."""

    fields: tuple[DisclosedField, ...]  # in the order of SLOTS
    shut: tuple[bytes, ...]  # 32 bytes each, of the other slots in their order


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureFile:
    """A disclosure with the proof of the entry, read but not verified."""

    disclosure: Disclosure
    proof: str  # tlog-proof text with the entry as its extra line


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDisclosure:
    """Fields that the entry of a log commits to."""

    fields: tuple[DisclosedField, ...]
    index: int
    body: Body
    checkpoint: Checkpoint


def open_fields(salt: bytes, bulletin: bytes, names: Collection[str]) -> Disclosure:
    """Open some fields: their values and salts, with the commitments of the others.

    Args:
        salt: 32 bytes, the statement's.
        bulletin: As it stands in the statement.
        names: Of ``SLOTS``, at least one.

    Raises:
        RefusedError: MALFORMED for an unknown field or none; NO_SUCH_BULLETIN where this bulletin has no such field:
            that it has none stays shut too.
    """
    for name in names:
        _check_name(name)
    if not names:
        raise _malformed("no field is to be shown")
    stream, values = salt_stream(salt), slot_values(bulletin)
    opened = [slot for slot, name in enumerate(SLOTS) if name in names]
    for slot in opened:
        if not values[slot]:
            raise RefusedError("NO_SUCH_BULLETIN", f"the bulletin says nothing under {SLOTS[slot]}")
    return Disclosure(
        fields=tuple(
            DisclosedField(field=SLOTS[slot], value=values[slot], salt=slot_salt(stream, slot)) for slot in opened
        ),
        shut=tuple(each for slot, each in enumerate(commitments(stream, values)) if slot not in opened),
    )


def verify_fields(disclosure: Disclosure, root: bytes) -> tuple[DisclosedField, ...]:
    """Check that a root commits to the fields shown; return them.

    1 the form: known fields, once each and in order, a salt of 16 bytes and a value each, 32 bytes for every other
    slot; 2 the root over all twenty commitments.

    Args:
        disclosure: As somebody shows it.
        root: 32 bytes, ``digest`` of a PUBLISHED or RECEIVED entry whose inclusion is verified.

    Raises:
        RefusedError: MALFORMED for another form; RECEIPT_INVALID where the root commits to something else.
    """
    opened: dict[int, bytes] = {}
    for each in disclosure.fields:
        slot = _check_name(each.field)
        if len(each.salt) != SALT_BYTES or not each.value:  # 1
            raise _malformed(f"field {each.field}: a salt of {SALT_BYTES} bytes and a value are needed")
        opened[slot] = commitment(slot, each.salt, each.value)
    _check_order(disclosure.fields)  # 1
    shut = disclosure.shut
    if len(shut) != len(SLOTS) - len(opened) or any(len(each) != COMMITMENT_BYTES for each in shut):  # 1
        raise _malformed(f"{len(shut)} commitments beside {len(opened)} fields; {len(SLOTS)} slots there are")
    others = iter(shut)
    whole = [opened[slot] if slot in opened else next(others) for slot in range(len(SLOTS))]
    if fields_root(whole) != root:  # 2
        shown = ", ".join(each.field for each in disclosure.fields)
        raise RefusedError("RECEIPT_INVALID", f"fields {shown}: the entry commits to another bulletin")
    return disclosure.fields


def verify_disclosure(file: DisclosureFile, key: VerifierKey) -> VerifiedDisclosure:
    """Check a whole file: the entry is in the log of *key*, and commits to each field.

    1 the proof's form; 2 the entry is in the log; 3 it is of a kind that commits to fields; 4 the fields.

    Raises:
        RefusedError: With the public code of the check that failed.
    """
    proof = parse_proof(file.proof)  # 1
    if proof.extra is None:
        raise _malformed("the proof carries no entry")
    checkpoint = verify_proof(proof, proof.extra, key)  # 2
    entry = parse_entry(proof.extra)
    body = parse_body(entry.body)
    if body.kind not in _COMMITTED or not body.digest or entry.index != proof.index:  # 3
        raise _malformed(f"entry {proof.index} commits to no fields")
    fields = verify_fields(file.disclosure, body.digest)  # 4
    return VerifiedDisclosure(fields=fields, index=proof.index, body=body, checkpoint=checkpoint)


def format_disclosure(disclosure: Disclosure, proof: str) -> str:
    """Write the file: a line a field (name, salt, value), one of the other commitments, a blank line, the proof."""
    lines = [FIRST_LINE]
    lines += [f"{each.field} {_base64(each.salt)} {_base64(each.value)}" for each in disclosure.fields]
    lines.append(f"{SHUT} {_base64(b''.join(disclosure.shut))}")
    return "\n".join(lines) + "\n\n" + proof


def parse_disclosure(text: str) -> DisclosureFile:
    """Read a file strictly.

    Raises:
        RefusedError: MALFORMED; the message says which line and what was expected.
    """
    if len(text) > MAX_FILE_BYTES:
        raise _malformed(f"more than {MAX_FILE_BYTES} bytes")
    head, blank, proof = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != FIRST_LINE:
        raise _malformed(f"line 1: {FIRST_LINE} was expected")
    if not blank or not proof:
        raise _malformed("no proof of the entry after a blank line")
    fields = tuple(_field(line, number) for number, line in enumerate(lines[:-1], 2))
    _check_order(fields)
    shut = _shut(lines[-1], len(lines) + 1, len(SLOTS) - len(fields))
    return DisclosureFile(disclosure=Disclosure(fields=fields, shut=shut), proof=proof)


def _field(line: str, number: int) -> DisclosedField:
    words = line.split(" ")
    if len(words) != 3 or words[0] not in SLOTS:
        raise _malformed(f"line {number}: a field's name, its salt and its value were expected")
    salt = decode_base64(words[1], f"disclosure, line {number}")
    if len(salt) != SALT_BYTES:
        raise _malformed(f"line {number}: a salt of {len(salt)} bytes, {SALT_BYTES} were expected")
    return DisclosedField(field=words[0], value=decode_base64(words[2], f"disclosure, line {number}"), salt=salt)


def _shut(line: str, number: int, count: int) -> tuple[bytes, ...]:
    words = line.split(" ")
    if len(words) != 2 or words[0] != SHUT:
        raise _malformed(f"line {number}: the word {SHUT} and the commitments of the other fields were expected")
    told = decode_base64(words[1], f"disclosure, line {number}")
    if len(told) != COMMITMENT_BYTES * count:
        raise _malformed(f"line {number}: {len(told)} bytes, {COMMITMENT_BYTES * count} were expected")
    return tuple(told[at : at + COMMITMENT_BYTES] for at in range(0, len(told), COMMITMENT_BYTES))


def _check_name(name: str) -> int:
    """Return a field's slot; refuse what is no field."""
    if name not in SLOTS:
        raise RefusedError("MALFORMED", f"there is no field {name[:40]!a}; fields are {', '.join(SLOTS)}")
    return SLOTS.index(name)


def _check_order(fields: tuple[DisclosedField, ...]) -> None:
    slots = [SLOTS.index(each.field) for each in fields]
    if not slots or slots != sorted(set(slots)):
        raise _malformed("fields stand once each, in their order, at least one")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"disclosure: {what}")
