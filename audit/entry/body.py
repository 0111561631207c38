"""The body of an entry: protobuf ``EntryBody`` in a canonical subset that can be read in one way only.

Known fields ascend, each stands once, default values are never written, varints are minimal, bytes have their fixed
length; no strings, maps, groups or packed fields. An unknown number, kind or enum value in that form is *not
understood*; anything else is refused. Bytes are the truth: a stored body is never written again.
"""

from enum import IntEnum
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple

from audit.entry.kinds import Kind, Outcome, Role
from keys.errors import RefusedError
from keys.values import hot_value
from keys.varint import MAX_U64, VarintError, read_varint, write_varint

MAX_ENUM = (1 << 31) - 1  # protobuf enums are int32; ours are never negative
MAX_U32 = (1 << 32) - 1


class BodyField(NamedTuple):
    """One row of the field table; ``length`` is that of bytes, else 0, and ``limit`` bounds a number."""

    number: int
    name: str
    length: int = 0
    limit: int = 0
    enum: type[IntEnum] | None = None

    @property
    def prefix(self) -> bytes:
        """Return what stands in the body before the value: number and wire type, and the length of bytes."""
        tag = write_varint(self.number << 3 | (2 if self.length else 0))
        return tag + bytes([self.length]) if self.length else tag


FIELDS = (
    BodyField(1, "kind", limit=MAX_ENUM, enum=Kind),
    BodyField(2, "actor", length=16),
    BodyField(3, "actor_epoch", limit=MAX_U32),
    BodyField(4, "role", limit=MAX_ENUM, enum=Role),
    BodyField(5, "peer", limit=MAX_U32),
    BodyField(6, "bulletin_id", length=16),
    BodyField(7, "dispatch_digest", length=32),
    BodyField(8, "delivery_digest", length=32),
    BodyField(9, "statement_digest", length=32),
    BodyField(10, "opening", length=32),
    BodyField(11, "purpose", limit=MAX_U32),
    BodyField(12, "outcome", limit=MAX_ENUM, enum=Outcome),
    BodyField(13, "retain_until_day", limit=MAX_U32),
    BodyField(14, "retention_rule", limit=MAX_U32),
    BodyField(15, "peer_index", limit=MAX_U64),
    BodyField(16, "peer_leaf_hash", length=32),
    BodyField(17, "peer_size", limit=MAX_U64),
    BodyField(18, "peer_root", length=32),
    BodyField(19, "key_id", length=32),
    BodyField(20, "refers_to", limit=MAX_U64),
    BodyField(21, "refers_to_epoch", limit=MAX_U32),
    BodyField(22, "count", limit=MAX_U64),
    BodyField(23, "digest", length=32),
)


@hot_value(frozen=True, slots=True, kw_only=True)
class Body:
    """What one entry says. Fields as in ``entry.proto``; 0 and ``b""`` mean absent."""

    kind: int
    actor: bytes = b""
    actor_epoch: int = 0
    role: int = 0
    peer: int = 0
    bulletin_id: bytes = b""
    dispatch_digest: bytes = b""
    delivery_digest: bytes = b""
    statement_digest: bytes = b""
    opening: bytes = b""
    purpose: int = 0
    outcome: int = 0
    retain_until_day: int = 0
    retention_rule: int = 0
    peer_index: int = 0
    peer_leaf_hash: bytes = b""
    peer_size: int = 0
    peer_root: bytes = b""
    key_id: bytes = b""
    refers_to: int = 0
    refers_to_epoch: int = 0
    count: int = 0
    digest: bytes = b""
    understood: bool = True  # False: it holds a field, kind or enum value that this program does not know

    def encode(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            ValueError: A field is out of its bounds, or this body was read without being understood.
        """
        if not self.understood:
            raise ValueError("a body that was not understood is never written anew")
        parts: list[bytes] = []
        add, values = parts.append, _VALUES(self)
        for value, (prefix, length, limit, name) in zip(filter(None, values), compress(_ROWS, values), strict=True):
            add(prefix)
            if length:
                if len(value) != length:
                    raise ValueError(f"{name} has {len(value)} bytes instead of {length}")
                add(value)
            else:
                if not 0 < value <= limit:
                    raise ValueError(f"{name} is out of its bounds: {value}")
                add(_ONE_BYTE[value] if value < 0x80 else write_varint(value))
        return b"".join(parts)

    def present(self) -> dict[str, Any]:
        """Return the fields that stand in the body, by name, in the order of their numbers."""
        return {field.name: value for field in FIELDS if (value := getattr(self, field.name))}


_BY_NUMBER = {field.number: field for field in FIELDS}
_VALUES = attrgetter(*(field.name for field in FIELDS))
_ROWS = tuple((field.prefix, field.length, field.limit, field.name) for field in FIELDS)
_ONE_BYTE = tuple(bytes([value]) for value in range(0x80))


def parse_body(data: bytes) -> Body:
    """Read a body strictly.

    Raises:
        RefusedError: MALFORMED; the bytes are outside the canonical subset. The message says where and why.
    """
    try:
        return _parse(data)
    except VarintError as error:
        raise RefusedError("MALFORMED", f"body, {error}") from None


def _parse(data: bytes) -> Body:
    values: dict[str, Any] = {}
    understood, last, position = True, 0, 0
    while position < len(data):
        start = position
        tag, position = read_varint(data, position, len(data))
        number, wire = tag >> 3, tag & 7
        if number <= last:
            raise _malformed(start, f"field {number} after field {last}")
        last = number
        value, position = _read_value(data, position, wire, number)
        field = _BY_NUMBER.get(number)
        if field is None:
            understood = False
            continue
        known, values[field.name] = _check_known(field, value, start)
        understood = understood and known
    if "kind" not in values:
        raise _malformed(0, "no kind")
    return Body(**values, understood=understood)


def _check_known(field: BodyField, value: int | bytes, start: int) -> tuple[bool, int | bytes]:
    if isinstance(value, bytes):
        if len(value) != field.length:
            raise _malformed(start, f"{field.name} is not {field.length or 'a number of 0'} bytes long")
        return True, value
    if field.length or value > field.limit:
        raise _malformed(start, f"{field.name} is out of its bounds")
    if field.enum is None:
        return True, value
    try:
        return True, field.enum(value)
    except ValueError:
        return False, value


def _read_value(data: bytes, position: int, wire: int, number: int) -> tuple[int | bytes, int]:
    value, after = read_varint(data, position, len(data))
    if wire == 0:
        if value == 0:
            raise _malformed(position, f"field {number} writes its default value")
        return value, after
    if wire != 2:
        raise _malformed(position, f"field {number} has wire type {wire}")
    if value == 0:
        raise _malformed(position, f"field {number} writes its default value")
    if after + value > len(data):
        raise _malformed(position, f"field {number} ends after the body")
    return data[after : after + value], after + value


def _malformed(position: int, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"body, byte {position}: {what}")
