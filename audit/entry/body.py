"""The body of an entry: protobuf ``EntryBody`` in a canonical subset that can be read in one way only.

Known fields ascend, each stands once, default values are never written, varints are minimal, bytes have their fixed
length; no strings, maps, groups or packed fields. An unknown number, kind or enum value in that form is *not
understood*; anything else is refused. Bytes are the truth: a stored body is never written again.
"""

from enum import IntEnum
from itertools import compress
from typing import Any, NamedTuple

from audit.entry.kinds import Kind, Outcome, Role
from keys.errors import RefusedError
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
    BodyField(24, "records", length=32),
)


class Body(NamedTuple):
    """What one entry says. Fields as in ``entry.proto``; 0 and ``b""`` mean absent. Always made by name.

    A tuple, because many are written at once, column by column (``bodies_fast``).
    """

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
    count: int = 0  # type: ignore[assignment] # a method of tuples, which nobody asks of a body
    digest: bytes = b""
    records: bytes = b""
    understood: bool = True  # False: it holds a field, kind or enum value that this program does not know

    def encode(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            ValueError: A field is out of its bounds, or this body was read without being understood.
        """
        if not self.understood:
            raise ValueError("a body that was not understood is never written anew")
        parts: list[bytes] = []
        add = parts.append
        values: tuple[Any, ...] = self[:-1]
        for value, (prefix, length, limit, name) in zip(filter(None, values), compress(_ROWS, values), strict=True):
            add(prefix)
            if length:
                if len(value) != length:
                    raise ValueError(f"{name} has {len(value)} bytes instead of {length}")
                add(value)
            else:
                if not 0 < value <= limit:
                    raise ValueError(f"{name} is out of its bounds: {value}")
                add(write_varint(value))
        return b"".join(parts)

    def present(self) -> dict[str, Any]:
        """Return the fields that stand in the body, by name, in the order of their numbers."""
        return {field.name: value for field in FIELDS if (value := getattr(self, field.name))}


_MEMBERS: dict[type[IntEnum], dict[int, int]] = {
    each: {int(value): value for value in each} for each in (Kind, Role, Outcome)
}
_BY_TAG = {
    field.number << 3 | (2 if field.length else 0): (
        field.name,
        field.length,
        field.limit,
        _MEMBERS[field.enum] if field.enum else None,
    )
    for field in FIELDS
}
_UNKNOWN = ("", 0, 0, None)
_ROWS = tuple((field.prefix, field.length, field.limit, field.name) for field in FIELDS)


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
    understood, last, at, end = True, 0, 0, len(data)
    while at < end:
        start = at
        tag, at = (data[at], at + 1) if data[at] < 0x80 else read_varint(data, at, end)
        if tag >> 3 <= last:
            raise _malformed(start, f"field {tag >> 3} after field {last}")
        last = tag >> 3
        stood = at
        value, at = (data[at], at + 1) if at < end and data[at] < 0x80 else read_varint(data, at, end)
        if not value:
            raise _malformed(stood, f"field {last} writes its default value")
        name, length, limit, members = _BY_TAG.get(tag, _UNKNOWN)
        if length:
            if value != length or at + value > end:
                raise _malformed(start, f"{name} is not {length} bytes long")
            values[name] = data[at : at + value]
            at += value
        elif limit:
            if value > limit:
                raise _malformed(start, f"{name} is out of its bounds")
            values[name] = value
            if members is not None:
                values[name] = members.get(value, value)
                understood = understood and value in members
        else:
            at, understood = _after_unknown(tag, value, at, end), False
    if "kind" not in values:
        raise _malformed(0, "no kind")
    return Body(**values, understood=understood)


def _after_unknown(tag: int, value: int, at: int, end: int) -> int:
    """Return where a field ends whose number we do not know; refuse one whose number we know with another type."""
    if tag & 7 not in (0, 2) or tag >> 3 <= FIELDS[-1].number:
        raise _malformed(at, f"field {tag >> 3} has wire type {tag & 7}")
    after = at + value if tag & 7 else at
    if after > end:
        raise _malformed(at, f"field {tag >> 3} ends after the body")
    return after


def _malformed(position: int, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"body, byte {position}: {what}")
