"""Where the fields of a body stand, learned from a body that its kind's rule admitted.

Entries of one kind and one length mostly have their fields at the same places. Another body is admitted by a layout if
its tags, lengths and enum values are the same bytes and its numbers are minimal varints of the same widths: then it
matches the same rule, because no rule looks at a value further than that. Many bodies are compared at once, by column.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from audit.entry.body import FIELDS, MAX_U32
from audit.verify.answered import RECORD

_LOW = bytes(byte & 0x7F for byte in range(0x100))
_MORE = bytes(range(0x80, 0x100))  # a varint's bytes but for the last
_LAST = bytes(range(0x01, 0x80))
_LAST_OF_TEN = b"\x01"  # 64 bits
_LAST_OF_FIVE = bytes(range(0x01, 0x10))  # 32 bits
# Where an entry has the bytes of its index, in the order that this machine has them in.
_NOTHING = slice(0, 0)
_INDEX = range(11, 3, -1) if sys.byteorder == "little" else range(4, 12)


class Layout(NamedTuple):
    """Fixed bytes and the bytes that numbers may have, by their offset in the entry."""

    length: int  # of the entry
    fixed: tuple[tuple[int, bytes], ...]
    numbers: tuple[tuple[int, bytes], ...]  # (offset, bytes allowed there)
    refers: tuple[int, ...]  # offsets of ``refers_to``, where it is there and of this epoch
    delivery: int  # offset of ``delivery_digest``; 0 where there is none
    peer: slice  # where ``peer`` is; nothing where there is none
    records: slice  # where ``records`` is; nothing where there is none

    def admits(self, joined: bytes) -> bool:
        """Return whether every entry in *joined*, all of this length, has this layout."""
        length, count = self.length, len(joined) // self.length
        for offset, byte in self.fixed:
            if joined[offset::length] != byte * count:
                return False
        return not any(joined[offset::length].translate(None, allowed) for offset, allowed in self.numbers)

    def indices(self, joined: bytes) -> array[int]:
        """Return each entry's index."""
        numbers = bytearray(len(joined) // self.length * 8)
        for offset in range(8):
            numbers[offset::8] = joined[_INDEX[offset] :: self.length]
        return array("Q", bytes(numbers))

    def targets(self, joined: bytes) -> array[int]:
        """Return what each entry's ``refers_to`` is; *joined* is admitted and has one.

        All are computed at once, as lanes of 64 bits in one long number.
        """
        total, size = 0, len(joined) // self.length * 8
        for group, offset in enumerate(self.refers):
            lanes = bytearray(size)
            lanes[::8] = joined[offset :: self.length].translate(_LOW)
            total |= int.from_bytes(lanes, "little") << 7 * group
        values = array("Q", total.to_bytes(size, "little"))
        if sys.byteorder == "big":
            values.byteswap()
        return values

    def answers(self, joined: bytes) -> bytes:
        """Return the records (see audit/verify/answered.py) of entries that have a ``delivery_digest``."""
        records = bytearray(len(joined) // self.length * RECORD)
        for offset in range(8):
            records[offset::RECORD] = joined[self.delivery + offset :: self.length]
            records[8 + offset :: RECORD] = joined[_INDEX[offset] :: self.length]
        return bytes(records)


def learn(entry: bytes, start: int) -> Layout:
    """Return the layout of an entry.

    Args:
        entry: Its body has matched the rule of its kind.
        start: Where the body begins.
    """
    constant: list[tuple[int, bytes]] = []
    numbers: list[tuple[int, bytes]] = []
    refers: Sequence[int] = ()
    delivery = 0
    peer = records = _NOTHING
    position, fields = start, iter(FIELDS)
    while position < len(entry):
        field = next(f for f in fields if entry.startswith(f.prefix, position))
        value = position + len(field.prefix)
        constant += _bytes_at(entry, position, value)
        position = value + field.length
        if not field.length:
            position = next(i for i in range(value, len(entry)) if entry[i] < 0x80) + 1
            if field.enum is not None:
                constant += _bytes_at(entry, value, position)
            else:
                numbers += [(offset, _MORE) for offset in range(value, position - 1)]
                numbers.append((position - 1, _last(position - value, field.limit)))
        if field.name == "refers_to":
            refers = range(value, position)
        elif field.name == "refers_to_epoch":  # another epoch's entries are in another log
            refers = ()
        elif field.name == "delivery_digest":
            delivery = value
        elif field.name == "peer":
            peer = slice(value, position)
        elif field.name == "records":
            records = slice(value, position)
    return Layout(len(entry), tuple(constant), tuple(numbers), tuple(refers), delivery, peer, records)


def _bytes_at(entry: bytes, start: int, stop: int) -> list[tuple[int, bytes]]:
    return [(offset, entry[offset : offset + 1]) for offset in range(start, stop)]


def _last(width: int, limit: int) -> bytes:
    if limit == MAX_U32 and width == 5:
        return _LAST_OF_FIVE
    return _LAST_OF_TEN if width == 10 else _LAST
