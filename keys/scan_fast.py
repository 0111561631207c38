"""The fast way to know that bytes are a message's canonical encoding: parse, write again, compare.

The law is ``scan``. This may only say yes, and never where the scan says no.

Written deterministically and without unknown fields, a message has one encoding; bytes that equal it hold no field
out of order or twice, no longer varint, no written default, no second member of a oneof and nothing unknown, because
the parser would have to invent them. So the strict scan need not walk them field by field; whatever is not equal is
walked, and the walk finds the fault and names it.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_Record = TypeVar("_Record", bound=Message)


def is_canonical(data: bytes, descriptor: Descriptor, depth: int) -> bool:
    """Return True only for bytes that the scan would pass; False where it might. Arguments as ``parse_canonical``."""
    return parse_canonical(data, _class_of(descriptor), depth) is not None


def parse_canonical(data: bytes, kind: type[_Record], depth: int) -> _Record | None:
    """Return the message only of bytes that the scan would pass; None where it might.

    Args:
        data: The encoded message, as received; short, because it is parsed before anything is known about it.
        kind: Its generated class.
        depth: Levels of messages that may be, the outermost counted.
    """
    if not _is_plain(kind.DESCRIPTOR, depth):
        return None
    try:
        message = kind.FromString(data)
    except DecodeError:
        return None
    message.DiscardUnknownFields()  # of bytes that are equal then there were none
    return message if message.SerializeToString(deterministic=True) == data else None


@cache
def _class_of(descriptor: Descriptor) -> type[Message]:
    return GetMessageClass(descriptor)


@cache
def _is_plain(descriptor: Descriptor, depth: int) -> bool:
    """Return whether equal bytes are proof enough for this type.

    Not where a real oneof has a number or a text among its members, whose written default the parser keeps, nor where
    the type nests deeper than may be, or in itself.
    """
    if depth <= 0:
        return False
    for oneof in descriptor.oneofs:
        synthetic = len(oneof.fields) == 1 and oneof.name.startswith("_")
        if not synthetic and any(field.message_type is None for field in oneof.fields):
            return False
    inside = {field.message_type for field in descriptor.fields if field.message_type is not None}
    return all(_is_plain(each, depth - 1) for each in inside)
