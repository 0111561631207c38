"""The sixteen commitments of a bulletin: made from the statement's salt, opened one at a time.

A slot's value is cut out of the very bytes that the author signed, so that whoever holds the statement, sender or
recipient, newer or older program, computes the same root. A slot without any bytes is filled with noise of the same
key: nobody sees which fields a bulletin has. Once the salt is erased all sixteen are noise.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator

from audit.evidence.disclosure import PATH_HASHES, SALT_BYTES, SLOTS, Disclosed, commitment
from audit.tree.merkle import node_hash
from keys.errors import RefusedError

LABEL = b"exchange/v1/disclosure\0"
_ABSENT = b"absent"
_PLACES = tuple(slot.to_bytes(2, "big") for slot in range(len(SLOTS)))
_BLOCK = 64  # bytes, of SHA-256
_INNER, _OUTER = (bytes(value ^ pad for value in range(256)) for pad in (0x36, 0x5C))
_HEADER = 1  # number of Bulletin.header
_BODIES = 101  # from here on a field's number is the bulletin's kind
_REST_OF_HEADER, _REST = SLOTS.index("references"), SLOTS.index("body")

# Header and bulletin fields by their numbers in bulletin.proto; what is not named goes to references and body.
_HEADER_SLOTS = {
    number: SLOTS.index(name)
    for name, numbers in {
        "number": (1, 2),  # bulletin_id, number
        "originator": (3, 17),  # originator, on_behalf_of
        "author": (18,),
        "addressees": (4,),
        "dates": (5, 19, 21, 22, 23),  # issued_at, as_of, reply_by, valid_from, expires_at
        "marking": (6, 7, 14),  # status, marking, grading
        "urgency": (8, 20),  # urgency, urgency_reason
        "basis": (9, 10, 24),  # purposes, legal_basis, retention
        "subject": (11, 12),  # lang, subject
        "case": (13, 16),  # case, your_ref
        "references": (15, 25),  # relations, sources
    }.items()
    for number in numbers
}
_BULLETIN_SLOTS = {
    2: SLOTS.index("persons"),
    **dict.fromkeys((3, 4, 5, 6, 7, 9), SLOTS.index("objects")),  # vehicles to organisations, attachments
    8: SLOTS.index("statements"),
}


def disclosure_root(salt: bytes, bulletin: bytes) -> bytes:
    """Return the 32 bytes that PUBLISHED and RECEIVED carry in ``digest``.

    Args:
        salt: 32 bytes, the statement's.
        bulletin: As it stands in the statement; its wire form was scanned.
    """
    row = _leaves(disclosure_key(salt), slot_values(bulletin))
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def open_field(salt: bytes, bulletin: bytes, field: str) -> Disclosed:
    """Open one field: its value with the salt and the four hashes that lead to the root.

    Args:
        salt: 32 bytes, the statement's.
        bulletin: As it stands in the statement.
        field: One of ``SLOTS``.

    Raises:
        RefusedError: MALFORMED for an unknown field; NO_SUCH_BULLETIN where this bulletin has no such field: that it
            has none stays shut too.
    """
    if field not in SLOTS:
        raise RefusedError("MALFORMED", f"there is no field {field[:40]!a}; fields are {', '.join(SLOTS)}")
    key, values, slot = disclosure_key(salt), slot_values(bulletin), SLOTS.index(field)
    if not values[slot]:
        raise RefusedError("NO_SUCH_BULLETIN", f"the bulletin says nothing under {field}")
    row, at, path = _leaves(key, values), slot, []
    for _ in range(PATH_HASHES):
        path.append(row[at ^ 1])
        row = [node_hash(row[each], row[each + 1]) for each in range(0, len(row), 2)]
        at >>= 1
    return Disclosed(field=field, value=values[slot], salt=_salt(key, slot), path=tuple(path))


def disclosure_key(salt: bytes) -> bytes:
    """Derive the key of a bulletin's sixteen salts; it is as secret as the statement's salt."""
    return hmac.digest(salt, LABEL, "sha256")


def slot_values(bulletin: bytes) -> list[bytes]:
    """Cut a bulletin into the values of the sixteen slots; empty ones are absent.

    Each is the fields of its numbers as they stand, tags included, in their order; ``kind`` is the body's number, u16.
    """
    values = [bytearray() for _ in SLOTS]
    for number, whole, inside in _fields(bulletin):
        if number == _HEADER:
            for each, field, _ in _fields(inside):
                values[_HEADER_SLOTS.get(each, _REST_OF_HEADER)] += field
        else:
            values[_BULLETIN_SLOTS.get(number, _REST)] += whole
            if number >= _BODIES and not values[0]:
                values[0] += number.to_bytes(4, "big")[-2:]
    return [bytes(value) for value in values]


def _leaves(key: bytes, values: list[bytes]) -> list[bytes]:
    mac = _keyed(key)
    return [
        commitment(slot, mac(_PLACES[slot])[:SALT_BYTES], value) if value else mac(_PLACES[slot] + _ABSENT)
        for slot, value in enumerate(values)
    ]


def _salt(key: bytes, slot: int) -> bytes:
    return _keyed(key)(_PLACES[slot])[:SALT_BYTES]


def _keyed(key: bytes) -> Callable[[bytes], bytes]:
    """Give HMAC-SHA-256 under one key of at most 64 bytes, its two first blocks hashed once: half the time (RFC 2104)."""
    inner = hashlib.sha256(key.ljust(_BLOCK, b"\0").translate(_INNER))
    outer = hashlib.sha256(key.ljust(_BLOCK, b"\0").translate(_OUTER))

    def mac(message: bytes) -> bytes:
        inside, outside = inner.copy(), outer.copy()
        inside.update(message)
        outside.update(inside.digest())
        return outside.digest()

    return mac


def _fields(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (number, the field with its tag, its inside) of scanned bytes."""
    at, end = 0, len(data)
    while at < end:
        start = at
        tag, at = data[at], at + 1
        if tag > 127:  # nearly all tags and lengths have one byte
            tag, at = _varint(data, start)
        inside = at
        if tag & 7 == 2:
            length, inside = data[at], at + 1
            if length > 127:
                length, inside = _varint(data, at)
            at = inside + length
        elif tag & 7 == 0:
            _, at = _varint(data, at)
        else:
            at += 8 if tag & 7 == 1 else 4
        yield tag >> 3, data[start:at], data[inside:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
