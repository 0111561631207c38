"""The strict wire scan: only the one canonical encoding of a message is parsed at all.

upb merges or overrides seven kinds of malformed bytes without a word (docs/design.md, "Canonical bytes"), so two readers may see two
messages in the same signed bytes. Before anything signed is parsed, this scan refuses: fields out of order, a
singular field twice, varints longer than needed, wrong wire types, unpacked or empty lists of numbers, two members
of a oneof, written default values, invalid UTF-8, numbers out of their type's range, more than ``MAX_FIELDS``
fields, deeper nesting than ``MAX_DEPTH``, and unknown fields, unless the caller admits them.

The tables are made from the descriptors, so they cannot drift from the schema. Short bytes that equal their own
parsed and rewritten form pass without the walk (``scan_fast``); everything else is walked, and the walk alone refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from keys.errors import RefusedError
from keys.fast import FAST
from keys.scan_fast import is_canonical, parse_canonical
from keys.varint import MAX_U64, read_varint

MAX_FIELDS = 20_000  # a parsed field costs up to sixteen times its bytes in memory
MAX_DEPTH = 8  # twice what our deepest record needs; deeper is an attack on the parser's stack

_Record = TypeVar("_Record", bound=Message)

_VARINT, _FIXED, _TEXT, _BYTES, _MESSAGE, _PACKED = range(6)
_F = FieldDescriptor
# Largest value on the wire, and the first of the sign-extended negative ones (2^64: there are none).
_VARINTS = {
    _F.TYPE_UINT64: (MAX_U64, 1 << 64),
    _F.TYPE_INT64: (MAX_U64, 1 << 64),
    _F.TYPE_SINT64: (MAX_U64, 1 << 64),
    _F.TYPE_UINT32: ((1 << 32) - 1, 1 << 64),
    _F.TYPE_SINT32: ((1 << 32) - 1, 1 << 64),
    _F.TYPE_INT32: ((1 << 31) - 1, (1 << 64) - (1 << 31)),
    _F.TYPE_ENUM: ((1 << 31) - 1, (1 << 64) - (1 << 31)),
    _F.TYPE_BOOL: (1, 1 << 64),
}
_WIDTHS = {
    _F.TYPE_FIXED32: 4,
    _F.TYPE_SFIXED32: 4,
    _F.TYPE_FLOAT: 4,
    _F.TYPE_FIXED64: 8,
    _F.TYPE_SFIXED64: 8,
    _F.TYPE_DOUBLE: 8,
}


class _Rule(NamedTuple):
    """What may follow one tag."""

    kind: int
    repeated: bool  # as separate fields: strings, bytes, messages
    default: bool  # the default value may be written: elements of lists, explicit presence, messages
    largest: int
    negative: int  # varints from here on are negative numbers, sign-extended
    width: int  # bytes of a fixed-width number
    member: int  # the oneof's bit, 0 outside a oneof
    inside: _Table | None


@dataclass(slots=True)
class _Table:
    """The rules of one message type; rules are filled in after making, because types may hold themselves."""

    name: str
    rules: dict[int, _Rule] = field(default_factory=dict)
    numbers: frozenset[int] = frozenset()


def scan(data: bytes, descriptor: Descriptor, *, unknown: bool = False, depth: int = MAX_DEPTH) -> bool:
    """Refuse every encoding of a message but its canonical one.

    Args:
        data: The encoded message, as received.
        descriptor: Its type.
        unknown: Admit unknown fields in canonical form (their inside is not scanned).
        depth: Levels of messages, the outermost counted.

    Returns:
        True if unknown fields were seen: the message is not fully understood.

    Raises:
        RefusedError: MALFORMED, or NOT_UNDERSTOOD for an unknown field where none may be.

    Source: proto/README.md, section 2.
    """
    # No more fields than bytes, so what is as short as this cannot have too many of them.
    if FAST and len(data) <= MAX_FIELDS and is_canonical(data, descriptor, depth):
        return False
    return walk(data, descriptor, unknown=unknown, depth=depth)


def parse_scanned(data: bytes, kind: type[_Record], *, unknown: bool = False) -> _Record:
    """Scan a message and parse it; arguments and errors as ``scan``, but that *kind* is its generated class."""
    if FAST and len(data) <= MAX_FIELDS:
        message = parse_canonical(data, kind, MAX_DEPTH)
        if message is not None:
            return message
    walk(data, cast(Descriptor, kind.DESCRIPTOR), unknown=unknown)
    try:
        return kind.FromString(data)
    except DecodeError:  # what passes the scan parses; a parser that thinks otherwise still ends in a refusal
        raise RefusedError("MALFORMED", f"{kind.DESCRIPTOR.full_name} cannot be parsed") from None


def walk(data: bytes, descriptor: Descriptor, *, unknown: bool = False, depth: int = MAX_DEPTH) -> bool:
    """Scan field by field, whatever the bytes are; arguments, result and errors as ``scan``."""
    state = _State(fields=0, unknown=unknown, seen=False)
    try:
        _walk(data, 0, len(data), _table(descriptor), depth, state)
    except IndexError:
        raise RefusedError("MALFORMED", f"{descriptor.full_name} ends in the middle of a field") from None
    except UnicodeDecodeError:
        raise RefusedError("MALFORMED", f"{descriptor.full_name} holds text that is not UTF-8") from None
    return state.seen


@dataclass(slots=True)
class _State:
    """What one scan counts."""

    fields: int
    unknown: bool
    seen: bool

    def add(self, count: int, table: _Table) -> None:
        self.fields += count
        if self.fields > MAX_FIELDS:
            raise RefusedError("MALFORMED", f"{table.name} has more than {MAX_FIELDS} fields")


def _walk(data: bytes, at: int, end: int, table: _Table, depth: int, state: _State) -> None:
    """Scan one message, ``data[at:end]``; in one piece, because it runs for every field of every signed thing."""
    if depth <= 0:
        raise RefusedError("MALFORMED", f"{table.name} is nested too deeply")
    rules = table.rules
    last = members = count = 0
    while at < end:
        count += 1
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = read_varint(data, at - 1, end)
        rule = rules.get(tag)
        if rule is None:
            at, last = _skip(data, at, end, (tag, last), table, state), tag
            continue
        # Known numbers have one wire type each, so tags ascend as numbers do.
        kind, repeated, default, largest, negative, width, member, inside = rule
        if (tag <= last and not (tag == last and repeated)) or members & member:
            raise _malformed(table, tag, "is out of order, stands twice or is a second member of its oneof")
        last, members = tag, members | member
        if kind == _FIXED:
            at += width
            if not default and not any(data[at - width : at]):
                raise _malformed(table, tag, "writes a default value")
            continue
        value = data[at]  # a number, or the size of what follows
        at += 1
        if value > 127:
            value, at = read_varint(data, at - 1, end)
        if not (value or default):
            raise _malformed(table, tag, "writes a default value")
        if kind == _VARINT:
            if largest < value < negative:
                raise _malformed(table, tag, "is out of its range")
            continue
        start, at = at, at + value
        if at > end:
            raise _malformed(table, tag, "is longer than its message")
        if kind == _TEXT:
            data[start:at].decode()
        elif inside is not None:
            _walk(data, start, at, inside, depth - 1, state)
        elif kind == _PACKED:
            count += _packed(data, start, at, rule, table, tag)
    if at != end:  # a read beyond it leaves `at` larger
        raise RefusedError("MALFORMED", f"{table.name} ends in the middle of a field")
    state.add(count, table)


def _packed(data: bytes, at: int, end: int, rule: _Rule, table: _Table, tag: int) -> int:
    """Scan a packed list of numbers; return how many there are."""
    count = 0
    while at < end:
        value, at = read_varint(data, at, end)
        count += 1
        if rule.largest < value < rule.negative:
            raise _malformed(table, tag, "is out of its range")
    return count


def _skip(data: bytes, at: int, end: int, tags: tuple[int, int], table: _Table, state: _State) -> int:
    """Step over an unknown field, if any may be; its inside is not scanned. *tags* are its own and the one before."""
    tag, last = tags
    number, wire = tag >> 3, tag & 7
    if number in table.numbers:
        raise _malformed(table, tag, f"has wire type {wire}")
    if not 0 < number < 1 << 29 or wire not in (0, 1, 2, 5):
        raise _malformed(table, tag, f"with wire type {wire} is not a field")
    if number < last >> 3:
        raise _malformed(table, tag, "is out of order")
    if not state.unknown:
        raise RefusedError("NOT_UNDERSTOOD", f"{table.name} has an unknown field {number}")
    state.seen = True
    if wire == 0:
        return read_varint(data, at, end)[1]
    if wire == 2:
        size, at = read_varint(data, at, end)
        return at + size
    return at + (8 if wire == 1 else 4)


def _malformed(table: _Table, tag: int, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"{table.name}: field {tag >> 3} {what}")


@cache
def _table(descriptor: Descriptor) -> _Table:
    """Compile the rules of a message type and of all types inside it, once."""
    return _compile(descriptor, {})


def _compile(descriptor: Descriptor, made: dict[str, _Table]) -> _Table:
    known = made.get(descriptor.full_name)
    if known is not None:
        return known
    table = made[descriptor.full_name] = _Table(name=descriptor.full_name)
    bits = {
        oneof.name: 1 << bit
        for bit, oneof in enumerate(descriptor.oneofs)
        if len(oneof.fields) > 1 or not oneof.name.startswith("_")  # a synthetic one stands for `optional`
    }
    for each in descriptor.fields:
        tag, rule = _rule(each, bits, made)
        table.rules[tag] = rule
    table.numbers = frozenset(each.number for each in descriptor.fields)
    return table


def _rule(each: FieldDescriptor, bits: dict[str, int], made: dict[str, _Table]) -> tuple[int, _Rule]:
    """Return a field's one tag and its rule."""
    oneof = each.containing_oneof
    member = bits.get(oneof.name, 0) if oneof is not None else 0
    repeated, inside, width = each.is_repeated, None, _WIDTHS.get(each.type, 0)
    largest, negative = _VARINTS.get(each.type, (0, 0))
    # An element of a list may be zero or empty, and `optional` says "stated"; a real oneof's numbers never.
    default = repeated or (each.has_presence and not member)
    if largest and repeated and each.is_packed:
        kind, wire, repeated, default = _PACKED, 2, False, False
    elif (largest or width) and not repeated:
        kind, wire = (_VARINT, 0) if largest else (_FIXED, 5 if width == 4 else 1)
    elif each.type == _F.TYPE_MESSAGE and each.message_type is not None:
        kind, wire, default = _MESSAGE, 2, True
        inside = _compile(each.message_type, made)
    elif each.type in (_F.TYPE_STRING, _F.TYPE_BYTES):
        kind, wire = (_TEXT if each.type == _F.TYPE_STRING else _BYTES), 2
    else:
        raise TypeError(f"{each.full_name} has a type that our schemas do not use")
    return each.number << 3 | wire, _Rule(kind, repeated, default, largest, negative, width, member, inside)
