"""The twenty commitments of a bulletin, one a slot: the log carries one hash over them, and each can be opened alone.

A slot's value is cut out of the very bytes that the author signed, so that whoever holds the statement, sender or
recipient, newer or older program, computes the same root. Every commitment is salted from the statement's salt; a slot
without any bytes is filled from the same stream: nobody sees which fields a bulletin has. Once the salt is erased all
twenty are noise.

Source: FIPS 202, section 6.2 (SHAKE256); a sponge that absorbs a secret first is a pseudo-random function.
"""

from __future__ import annotations

import hashlib

from keys.varint import read_varint

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
    "areas",
    "denied",
    "attachments",
    "parts",
)
"""The twenty slots in their order; what each holds stands in ``proto/README.md``, section 15. Frozen."""

SALT_BYTES = 16
COMMITMENT_BYTES = 32
FIELD_LABEL = b"exchange/v1/field\0"
ROOT_LABEL = b"exchange/v1/fields\0" + bytes([len(SLOTS)])
STREAM_LABEL = b"exchange/v1/field-salts\0"
_STREAM_BYTES = COMMITMENT_BYTES * len(SLOTS)
_CUTS = tuple(range(0, _STREAM_BYTES, COMMITMENT_BYTES))
_NUMBERS = tuple(bytes([slot]) for slot in range(len(SLOTS)))
_HEADER = 1  # number of Bulletin.header
_BODIES = 101  # from here on a field's number is the bulletin's kind
_REST_OF_HEADER, _REST = SLOTS.index("references"), SLOTS.index("body")

# Header and bulletin fields by their numbers in bulletin.proto; what is not named goes to references and body.
# 26 to 28 are reserved there for what these slots are for, so that today's programs commit to them rightly.
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
        "areas": (26,),
        "denied": (27,),
        "parts": (28,),
    }.items()
    for number in numbers
}
HEADER_FIELDS = frozenset(SLOTS[slot] for slot in _HEADER_SLOTS.values())
"""The slots whose values are fields of the header; but for ``kind`` the others' are fields of the bulletin."""

_BULLETIN_SLOTS = {
    2: SLOTS.index("persons"),
    **dict.fromkeys(range(3, 8), SLOTS.index("objects")),  # vehicles to organisations
    8: SLOTS.index("statements"),
    9: SLOTS.index("attachments"),
}


def disclosure_root(salt: bytes, bulletin: bytes) -> bytes:
    """Return the 32 bytes that PUBLISHED and RECEIVED carry in ``digest``.

    Args:
        salt: 32 bytes, the statement's.
        bulletin: As it stands in the statement; its wire form was scanned.
    """
    return fields_root(commitments(salt_stream(salt), slot_values(bulletin)))


def fields_root(each: list[bytes]) -> bytes:
    """Return SHA-256(``exchange/v1/fields`` 00 ‖ u8 20 ‖ c_0 … c_19) of the twenty commitments of 32 bytes."""
    return hashlib.sha256(ROOT_LABEL + b"".join(each)).digest()


def salt_stream(salt: bytes) -> bytes:
    """Return the 640 bytes that all slots are salted or filled with; as secret as the statement's salt of 32 bytes."""
    return hashlib.shake_256(STREAM_LABEL + salt).digest(_STREAM_BYTES)


def slot_salt(stream: bytes, slot: int) -> bytes:
    """Return the 16 bytes that salt one slot's commitment; they alone open it."""
    return stream[COMMITMENT_BYTES * slot :][:SALT_BYTES]


def commitment(slot: int, salt: bytes, value: bytes) -> bytes:
    """Return c_j = SHA-256(``exchange/v1/field`` 00 ‖ salt 16 ‖ u8 slot ‖ value)."""
    return hashlib.sha256(FIELD_LABEL + salt + _NUMBERS[slot] + value).digest()


def commitments(stream: bytes, values: list[bytes]) -> list[bytes]:
    """Return the twenty commitments: to a slot's value, or 32 bytes of the stream where there is none."""
    sha256, label = hashlib.sha256, FIELD_LABEL  # `commitment`, fourteen times a bulletin
    return [
        sha256(label + stream[cut : cut + SALT_BYTES] + number + value).digest()
        if value
        else stream[cut : cut + COMMITMENT_BYTES]
        for cut, number, value in zip(_CUTS, _NUMBERS, values, strict=True)
    ]


def slot_values(bulletin: bytes) -> list[bytes]:
    """Cut a bulletin into the values of the twenty slots; empty ones are absent.

    Each is the fields of its numbers as they stand, tags included, in their order; ``kind`` is the body's number, u16.
    """
    values = [b""] * len(SLOTS)
    for number, start, inside, end in _fields(bulletin, 0, len(bulletin)):
        if number == _HEADER:
            for each, first, _, after in _fields(bulletin, inside, end):
                values[_HEADER_SLOTS.get(each, _REST_OF_HEADER)] += bulletin[first:after]
        else:
            values[_BULLETIN_SLOTS.get(number, _REST)] += bulletin[start:end]
            if number >= _BODIES and not values[0]:
                values[0] = number.to_bytes(4, "big")[-2:]
    return values


def _fields(data: bytes, at: int, end: int) -> list[tuple[int, int, int, int]]:
    """List the fields between two places of scanned bytes: number, where its tag, its inside and the next begin."""
    found = []
    while at < end:
        start = at
        tag, at = data[at], at + 1
        if tag > 127:  # nearly all tags and lengths have one byte
            tag, at = read_varint(data, start, end)
        inside, wire = at, tag & 7
        if wire == 2:
            length, inside = data[at], at + 1
            if length > 127:
                length, inside = read_varint(data, at, end)
            at = inside + length
        elif wire == 0:
            at = at + 1 if data[at] < 128 else read_varint(data, at, end)[1]
        else:
            at += 8 if wire == 1 else 4
        found.append((tag >> 3, start, inside, at))
    return found
