"""The fast way to write the bodies of a group: many of one shape at once.

The law is ``bodies``. This may only write what the law would write, byte for byte, and nothing where the law refuses.
Bodies of one kind with the same fields have one *shape*. Many of a shape are written field by field, and the rule of
their kind is asked of the first: in the others it would look no further than at which fields there are, their bounds
and the numbers of their enums, and those are compared here. What is rare or odd is left to the law.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import compress, repeat
from operator import index, lt
from typing import Any

from audit.entry.body import FIELDS
from audit.entry.grammar import PATTERNS
from keys.varint import write_varint

FEW = 8  # bodies of one shape; fewer are written one by one
_FIELDS = [(field.prefix, field.length, field.limit, field.enum is not None) for field in FIELDS]
_FIELD_NUMBERS = range(len(FIELDS) + 1)
_REFERS, _REFERS_EPOCH = ([field.name for field in FIELDS].index(name) for name in ("refers_to", "refers_to_epoch"))
_Columns = Sequence[tuple[Any, ...]]
"""Of each field, and last of ``understood``, the values: one a body."""


class _OddError(Exception):
    """Something here is for the law."""


def group_by_shape(bodies: Sequence[Any]) -> Iterator[tuple[Sequence[int], _Columns]]:
    """Yield the positions of bodies of one shape, with their values; without them where there are few."""
    kinds: defaultdict[int, list[int]] = defaultdict(list)
    for position, body in enumerate(bodies):
        kinds[-1 if isinstance(body, bytes) else +body.kind].append(position)
    yield kinds.pop(-1, []), ()
    for positions in kinds.values():
        rows = [bodies[position] for position in positions] if len(positions) >= FEW else []
        columns = list(zip(*rows, strict=True))
        if all(all(column) or not any(column) for column in columns):
            yield positions, columns
            continue
        mixed: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            mixed[bytes(compress(_FIELD_NUMBERS, row))].append(number)
        for numbers in mixed.values():
            yield (
                [positions[number] for number in numbers],
                list(zip(*(rows[number] for number in numbers), strict=True)),
            )


def encode_shape(columns: _Columns, indices: Sequence[int]) -> list[bytes] | None:
    """Return the bytes of bodies of one shape, of entries with these indices; None where anything is odd."""
    try:
        return _encode_shape(columns, indices)
    except _OddError:
        return None


def _encode_shape(columns: _Columns, indices: Sequence[int]) -> list[bytes]:
    if len(indices) < FEW or not columns or not all(columns[-1]):
        raise _OddError
    constant, parts = b"", []
    for (prefix, length, limit, enum), column in zip(_FIELDS, columns, strict=False):
        if not column[0]:
            continue
        if length:
            if set(map(len, column)) != {length}:
                raise _OddError
            parts += [repeat(constant + prefix, len(indices)), column]
            constant = b""
            continue
        numbers = list(map(index, column))
        low, high = min(numbers), max(numbers)
        if low < 1 or high > limit or (enum and low != high):
            raise _OddError
        if low == high:
            constant += prefix + write_varint(low)
        else:
            parts += [repeat(constant + prefix, len(indices)), map(write_varint, numbers)]
            constant = b""
    encoded = list(map(b"".join, zip(*parts, repeat(constant, len(indices)), strict=True)))
    if (rule := PATTERNS.get(int.from_bytes(encoded[0][1:2]))) is None or rule.fullmatch(encoded[0]) is None:
        raise _OddError
    refers = columns[_REFERS]
    if refers[0] and not columns[_REFERS_EPOCH][0] and not all(map(lt, refers, indices)):
        raise _OddError
    return encoded
