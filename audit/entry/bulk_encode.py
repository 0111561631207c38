"""Write the bodies of a group: each in its one canonical form, each by the rule of its kind, many at once.

Bodies of one kind with the same fields have one *shape*. Many of a shape are written field by field, and the rule of
their kind is asked of the first: in the others it would look no further than at which fields there are, their bounds
and the numbers of their enums, and those are compared here. What is rare or odd is written one by one, so that one
place words a fault. The bytes are the same either way.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import compress, repeat
from operator import attrgetter, index, lt
from typing import Any

from audit.entry.body import FIELDS, Body, BodyField, varint
from audit.entry.grammar import PATTERNS, explain, read_number
from keys.errors import IntegrityError, RefusedError

FEW = 16  # bodies of one shape; fewer are written one by one
MANY = 256  # bodies at a time: of more, what is made on the way would leave the processor's cache
_VALUES = attrgetter(*(field.name for field in FIELDS), "understood")
_PLACES = range(len(FIELDS) + 1)
_REFERS, _REFERS_EPOCH = ([field.name for field in FIELDS].index(name) for name in ("refers_to", "refers_to_epoch"))
_RULES = {bytes([kind]): (rule.fullmatch, "refers" in rule.groupindex) for kind, rule in PATTERNS.items()}
_Columns = Sequence[tuple[Any, ...]]
"""Of each field, and last of ``understood``, the values: one a body."""


class _OddError(Exception):
    """Something here needs to be looked at one by one."""


def encode_bodies(bodies: Sequence[Body | bytes], first: int) -> list[bytes]:
    """Return the canonical bytes of bodies that follow each other in a log.

    Args:
        bodies: By the rules of their kinds; one that is bytes already stays as it is.
        first: Index of the first one's entry.

    Raises:
        IntegrityError: A body breaks its kind's rule: this program must never write what no verifier accepts.
        ValueError: A field is out of its bounds, or a body was read without being understood.
    """
    encoded: list[bytes] = []
    for start in range(0, len(bodies), MANY):
        encoded += _encode_some(bodies[start : start + MANY], first + start)
    return encoded


def _encode_some(bodies: Sequence[Body | bytes], first: int) -> list[bytes]:
    if len(bodies) < FEW:
        return [_encode_one(body, at) for at, body in enumerate(bodies, first)]
    encoded = [b""] * len(bodies)
    for places, columns in _shapes(bodies):
        indices = [first + place for place in places]
        try:
            found = _encode_shape(columns, indices)
        except _OddError:
            found = [_encode_one(bodies[place], at) for place, at in zip(places, indices, strict=True)]
        for place, data in zip(places, found, strict=True):
            encoded[place] = data
    return encoded


def _shapes(bodies: Sequence[Any]) -> Iterator[tuple[Sequence[int], _Columns]]:
    """Yield the places of bodies of one shape, with their values; without them where there are few."""
    kinds: defaultdict[int, list[int]] = defaultdict(list)
    for place, body in enumerate(bodies):
        kinds[-1 if isinstance(body, bytes) else +body.kind].append(place)
    yield kinds.pop(-1, []), ()
    for places in kinds.values():
        rows = [_VALUES(bodies[place]) for place in places] if len(places) >= FEW else []
        columns = list(zip(*rows, strict=True))
        if all(all(column) or not any(column) for column in columns):
            yield places, columns
            continue
        mixed: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            mixed[bytes(compress(_PLACES, row))].append(number)
        for numbers in mixed.values():
            yield [places[number] for number in numbers], list(zip(*(rows[number] for number in numbers), strict=True))


def _encode_shape(columns: _Columns, indices: Sequence[int]) -> list[bytes]:
    if len(indices) < FEW or not columns or not all(columns[-1]):
        raise _OddError
    constant, parts = b"", []
    for field, column in zip(FIELDS, columns, strict=False):
        if not column[0]:
            continue
        if field.length:
            if set(map(len, column)) != {field.length}:
                raise _OddError
            parts += [repeat(constant + field.prefix, len(indices)), column]
            constant = b""
            continue
        numbers = list(map(index, column))
        written = _numbers(field, set(numbers))
        if len(written) == 1:
            constant += written[numbers[0]]
        else:
            parts += [repeat(constant, len(indices)), map(written.__getitem__, numbers)]
            constant = b""
    encoded = list(map(b"".join, zip(*parts, repeat(constant, len(indices)), strict=True)))
    _check(encoded[0], indices[0])
    refers = columns[_REFERS]
    if refers[0] and not columns[_REFERS_EPOCH][0] and not all(map(lt, refers, indices)):
        raise _OddError
    return encoded


def _numbers(field: BodyField, numbers: set[int]) -> dict[int, bytes]:
    """Write each of the numbers that a field has, with what stands before it."""
    if min(numbers) < 1 or max(numbers) > field.limit or (field.enum is not None and len(numbers) > 1):
        raise _OddError
    return {number: field.prefix + varint(number) for number in numbers}


def _encode_one(body: Body | bytes, at: int) -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    _check(data, at)
    return data


def _check(data: bytes, at: int) -> None:
    fullmatch, refers_back = _RULES.get(data[1:2], (None, False))
    match = fullmatch(data) if fullmatch is not None else None
    if match is None:
        try:
            reason = explain(data) or "not understood"
        except RefusedError as error:
            reason = str(error)
        raise IntegrityError(f"entry {at} would break its rule: {reason}")
    if refers_back:
        refers, epoch = match.group("refers", "epoch")
        if refers is not None and epoch is None and read_number(refers) >= at:
            raise IntegrityError(f"entry {at} would refer to {read_number(refers)}, which is not before it")
