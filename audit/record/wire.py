"""How the records of this package are read: limit, strict scan, parse, bounds, in this order.

The scan goes before the parser because upb silently merges or overrides seven malformed kinds. What passes has one
encoding only, so its digest names its meaning. Every parser of ``statement``, ``dispatch`` and ``lane`` is made of
these few steps; a refusal names the record, the field, what was found and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

from google.protobuf.message import Message

from keys.errors import RefusedError
from keys.identity import DIGEST_BYTES, AgencyId, parse_agency
from keys.scan import parse_scanned

ID_BYTES = 16
MAX_RECIPIENTS = 1000  # of a statement, which may go in several dispatches: proto/README.md, section 10
MAX_ORIGIN_BYTES = 255  # agency, a federation name of 180 bytes, /log/ and an epoch
ZERO_DIGEST = bytes(DIGEST_BYTES)

_Record = TypeVar("_Record", bound=Message)
_Enum = TypeVar("_Enum", bound=IntEnum)


def parse(record: str, payload: bytes, message: type[_Record], limit: int) -> _Record:
    """Scan and parse one record whose maker is already known or is about to be checked.

    Args:
        record: Its name, for messages.
        payload: The bytes as received.
        message: The generated class.
        limit: Most bytes that it may have.

    Raises:
        RefusedError: TOO_LARGE above the limit, NOT_UNDERSTOOD for an unknown field, MALFORMED for all else.
    """
    if len(payload) > limit:
        raise RefusedError("TOO_LARGE", f"{record}: {len(payload)} bytes, at most {limit}")
    return parse_scanned(payload, message)


def encode(message: Message) -> bytes:
    """Encode one of our records: ascending fields, minimal varints, no default value, so that our scan takes it."""
    return message.SerializeToString(deterministic=True)


def malformed(record: str, fault: str) -> RefusedError:
    """Make the refusal of a field out of its bounds."""
    return RefusedError("MALFORMED", f"{record}: {fault}")


def need_bytes(record: str, field: str, value: bytes, length: int = DIGEST_BYTES) -> None:
    """Refuse a field of another length."""
    if len(value) != length:
        raise malformed(record, f"{field} has {len(value)} bytes, {length} expected")


@lru_cache(maxsize=4096)  # the same few agencies stand in every record
def need_agency(text: str) -> AgencyId:
    """Return an agency's code; refuse anything else as MALFORMED."""
    return parse_agency(text)


def need_ascending(record: str, field: str, keys: Sequence[Any]) -> None:
    """Refuse a list that does not ascend or holds something twice."""
    for before, after in pairwise(keys):
        if not before < after:
            raise malformed(record, f"{field} do not ascend or stand twice")


def need_count(record: str, field: str, count: int, least: int, most: int) -> None:
    """Refuse a list that is too short or too long."""
    if not least <= count <= most:
        raise malformed(record, f"{count} {field}, {least} to {most} expected")


def need_enum(record: str, field: str, number: int, kind: type[_Enum]) -> _Enum:
    """Return the member; refuse an absent one as MALFORMED and an unknown one as NOT_UNDERSTOOD."""
    try:
        return kind(number)
    except ValueError:
        code = "NOT_UNDERSTOOD" if number else "MALFORMED"
        raise RefusedError(code, f"{record}: {field} is {number}") from None
