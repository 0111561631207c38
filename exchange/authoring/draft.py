"""A draft is what an officer typed: the tree of text, typed field by field against the schema.

There is one way to write each thing: enum words in kebab-case, ``true`` and ``false``, plain decimal numbers,
instants with their offset. Anything else is a complaint with the place and, where it can be known, the right word.
Bytes (a relation's ``statement_digest``) are filled in by the client and are no field here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from exchange.authoring.yaml_tree import StopError, YamlNode, lone_surrogate, read_tree
from exchange.records.bulletin import KINDS, enum_words
from exchange.rules.complaint import WHOLE, Complaint, nearest
from exchange.v1.bulletin_pb2 import Bulletin

MAX_QUOTE = 60  # characters of a wrong word that a complaint repeats

_F = FieldDescriptor
_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,19}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,15})?")
_LARGEST = {_F.TYPE_UINT32: (1 << 32) - 1, _F.TYPE_UINT64: (1 << 64) - 1}
_UNIX = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A file as read. With a complaint there is no message, and *kind* is named as far as it could be seen."""

    message: Bulletin | None
    kind: str | None  # body key
    lines: Mapping[str, int]  # path -> line, from 1
    complaints: tuple[Complaint, ...]

    def line_of(self, path: str) -> int | None:
        """Find the line of a path, or of what would hold it."""
        while path not in self.lines:
            cut = max(path.rfind("."), path.rfind("["))
            if cut < 0:
                return None
            path = path[:cut]
        return self.lines[path]


def read_draft(data: bytes) -> Draft:
    """Read an officer's YAML; reading ends at its first complaint.

    Codes: Y-SIZE Y-UTF8 Y-SYNTAX Y-DOCS Y-ALIAS Y-TAG Y-DEPTH Y-KEY Y-DUPKEY Y-UNKNOWN Y-BODY Y-ENUM Y-TYPE Y-TIME, and
    R-TEXT for half a character, which a message cannot hold.
    """
    lines: dict[str, int] = {}
    kind: str | None = None
    try:
        root = read_tree(data)
        bodies = [key for key in root.value if key in KINDS]
        kind = str(bodies[0]) if len(bodies) == 1 else None
        message = Bulletin()
        _fill(message, root, "", lines)
    except StopError as stop:
        return Draft(message=None, kind=kind, lines=lines, complaints=(stop.complaint,))
    return Draft(message=message, kind=kind, lines=lines, complaints=())


@cache
def _fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """List the fields that an officer may write."""
    return {field.name: field for field in descriptor.fields if field.type != _F.TYPE_BYTES}


def _fill(message: Message, node: YamlNode, path: str, lines: dict[str, int]) -> None:
    """Type one mapping into *message*."""
    if not isinstance(node.value, dict):
        raise StopError("Y-TYPE", path, "a mapping is needed here: lines of 'key: value'", node.line)
    fields = _fields(message.DESCRIPTOR)
    body = None
    for key, child in node.value.items():
        here = f"{path}.{key}" if path else key
        field = fields.get(key)
        if field is None:
            hint = nearest(key, fields)
            raise StopError("Y-UNKNOWN", here, f"there is no field '{key[:MAX_QUOTE]}' here", child.line, hint)
        if field.containing_oneof is not None:
            if body is not None:
                message_text = f"two bodies, {body} and {key}; a bulletin has one"
                raise StopError("Y-BODY", WHOLE, message_text, child.line, "write two bulletins")
            body = key
        lines[here] = child.line
        _set(message, field, child, here, lines)


def _set(message: Message, field: FieldDescriptor, node: YamlNode, path: str, lines: dict[str, int]) -> None:
    """Type one field: a list where the schema repeats it, else one value."""
    if not field.is_repeated:
        if field.type == _F.TYPE_MESSAGE:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _fill_message(inner, node, path, lines)
        else:
            setattr(message, field.name, _scalar(field, node, path))
        return
    if not isinstance(node.value, list):
        raise StopError("Y-TYPE", path, "a list is needed here: one '- ' for each", node.line)
    values = getattr(message, field.name)
    for index, item in enumerate(node.value):
        here = f"{path}[{index}]"
        lines[here] = item.line
        if field.type == _F.TYPE_MESSAGE:
            _fill_message(values.add(), item, here, lines)
        else:
            values.append(_scalar(field, item, here))


def _fill_message(message: Message, node: YamlNode, path: str, lines: dict[str, int]) -> None:
    if isinstance(message, Timestamp):
        _fill_instant(message, _text(node, path), path, node.line)
    else:
        _fill(message, node, path, lines)


def _text(node: YamlNode, path: str) -> str:
    if not isinstance(node.value, str):
        raise StopError("Y-TYPE", path, "a single value is needed here", node.line)
    if lone_surrogate(node.value):
        raise StopError("R-TEXT", path, "holds half a character (a lone surrogate)", node.line)
    return node.value


def _scalar(field: FieldDescriptor, node: YamlNode, path: str) -> Any:
    """Type one scalar by its field."""
    text = _text(node, path)
    if field.type == _F.TYPE_STRING:
        return text
    if field.enum_type is not None:
        return _enum(field.enum_type, text, path, node.line)
    if field.type == _F.TYPE_BOOL:
        if text not in ("true", "false"):
            raise StopError("Y-TYPE", path, "only true or false can stand here", node.line)
        return text == "true"
    if field.type == _F.TYPE_DOUBLE:
        if not _DECIMAL.fullmatch(text):
            raise StopError("Y-TYPE", path, "a decimal number is needed here, as 16.69", node.line)
        return float(text) + 0.0  # never minus zero, which has bits of its own
    if not _INTEGER.fullmatch(text) or int(text) > _LARGEST[field.type]:
        raise StopError("Y-TYPE", path, "a whole number is needed here, in plain digits", node.line)
    return int(text)


def _enum(enum: EnumDescriptor, text: str, path: str, line: int) -> int:
    words = enum_words(enum)
    if text not in words:
        close = nearest(text.lower().replace("_", "-"), words)
        listed = f"one of: {', '.join(words)}"
        hint = f"{close} {listed}" if close else listed
        raise StopError("Y-ENUM", path, f"'{text[:MAX_QUOTE]}' is not in the list", line, hint)
    return words[text]


def _fill_instant(instant: Timestamp, text: str, path: str, line: int) -> None:
    """Parse an instant with its offset. Source: RFC 3339, section 5.6."""
    found = _INSTANT.fullmatch(text)
    hint = "write it as 2025-01-24T10:05:00+08:00"
    if not found:
        raise StopError("Y-TIME", path, "not an instant with an offset from UTC", line, hint)
    try:
        year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
        moment = dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
        if found[8]:
            away = dt.timedelta(minutes=_offset_minutes(found[9], found[10]))
            moment = moment - away if found[8] == "+" else moment + away
    except (ValueError, OverflowError) as error:
        raise StopError("Y-TIME", path, f"no such time: {error}", line, hint) from error
    instant.seconds = (moment - _UNIX) // dt.timedelta(seconds=1)
    instant.nanos = int((found[7] or "0").ljust(9, "0"))


def _offset_minutes(hours: str, minutes: str) -> int:
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("an offset is at most 23:59")
    return int(hours) * 60 + int(minutes)
