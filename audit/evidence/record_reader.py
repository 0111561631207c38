"""Records read without their schema's code: protobuf in the one form that ``proto/README.md``, section 2, allows.

A table says which fields there are. Refused are fields that do not ascend, a singular one twice, numbers longer than
they need be, written defaults, unknown fields, text that is not UTF-8, bytes of another length than the table has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keys.errors import RefusedError

MAX_FIELDS = 20_000
NUMBER, BYTES, TEXT = "number", "bytes", "text"
_U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name here, and NUMBER, BYTES, TEXT or the table of a record inside."""

    name: str
    form: "str | Table"
    many: bool = False
    length: int = 0  # of bytes; 0 where the table does not say


Table = Mapping[int, Field]


def read_fields(record: str, data: bytes, table: Table) -> dict[str, Any]:
    """Return a record's fields by name; what is absent is 0, ``b""``, ``""``, None (a record) or () (of many).

    Args:
        record: Its name, for messages.
        data: The bytes as they were signed.
        table: Its fields by number.

    Raises:
        RefusedError: MALFORMED; NOT_UNDERSTOOD for a field that the table does not have.
    """
    found: dict[str, Any] = {field.name: _absent(field) for field in table.values()}
    lists: dict[str, list[Any]] = {}
    at = last = count = 0
    while at < len(data):
        tag, at = _varint(record, data, at)
        number, wire = tag >> 3, tag & 7
        field = table.get(number)
        if field is None:
            raise RefusedError("NOT_UNDERSTOOD", f"{record}: a field {number} that is not known")
        if number < last or (number == last and not field.many):
            raise _malformed(record, f"field {number} is out of order or stands twice")
        count += 1
        if count > MAX_FIELDS or wire != (0 if field.form == NUMBER else 2):
            raise _malformed(record, f"field {number} has wire type {wire}, or there are too many")
        value, at = _varint(record, data, at)
        if field.form != NUMBER:
            start, at = at, at + value
            if at > len(data):
                raise _malformed(record, f"field {number} is longer than the record")
            value = _value(record, number, field, data[start:at])
        if not field.many and value in (0, b"", ""):
            raise _malformed(record, f"field {number} writes a default value")
        if field.many:
            lists.setdefault(field.name, []).append(value)
        else:
            found[field.name] = value
        last = number
    return found | {name: tuple(values) for name, values in lists.items()}


def _value(record: str, number: int, field: Field, raw: bytes) -> Any:
    if field.form == TEXT:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise _malformed(record, f"field {number} is not UTF-8") from error
    if field.form == BYTES:
        if field.length and len(raw) != field.length:
            raise _malformed(record, f"{field.name} of {len(raw)} bytes, {field.length} were expected")
        return raw
    if isinstance(field.form, str):
        raise TypeError(f"{record}: {field.name} has no form of ours")
    return read_fields(f"{record}.{field.name}", raw, field.form)


def _absent(field: Field) -> Any:
    if field.many:
        return ()
    return {NUMBER: 0, BYTES: b"", TEXT: ""}.get(field.form) if isinstance(field.form, str) else None


def _varint(record: str, data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _malformed(record, f"ends in the middle of a number at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if value > _U64 or (not byte and shift):
        raise _malformed(record, f"a number longer than it need be at byte {at}")
    return value, at


def _malformed(record: str, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"{record}: {what}")
