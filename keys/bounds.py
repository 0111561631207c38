"""Bounds that every record is checked against when it is parsed: sizes, order, names, times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from google.protobuf.message import Message

from keys.errors import RefusedError
from keys.identity import DIGEST_BYTES
from keys.scan import parse_scanned

MAX_RECORD_BYTES = 1 << 20  # rosters and manifests
MAX_NOTE_BYTES = 64 << 10  # a checkpoint: room for 32 signature lines, a few of them post-quantum


def parse_record(payload: bytes, kind: type[Any], *, limit: int = MAX_RECORD_BYTES) -> Any:
    """Parse a record of ours: size, strict scan, then the parser; MALFORMED, TOO_LARGE or NOT_UNDERSTOOD."""
    if len(payload) > limit:
        raise RefusedError("TOO_LARGE", f"a {kind.DESCRIPTOR.name} has {len(payload)} bytes, {limit} may be")
    return parse_scanned(payload, kind)


def encode_record(message: Message) -> bytes:
    """Encode a record of ours to its canonical bytes."""
    return message.SerializeToString(deterministic=True)


def require(holds: bool, what: str, code: str = "MALFORMED") -> None:
    """Refuse unless a condition holds; *what* says what was found."""
    if not holds:
        raise RefusedError(code, what)


def digest_field(value: bytes, what: str) -> bytes:
    """Take a field that must be a digest of 32 bytes."""
    require(len(value) == DIGEST_BYTES, f"{what} has {len(value)} bytes, a digest has {DIGEST_BYTES}")
    return value


def ascending(values: Sequence[Any], what: str) -> None:
    """Refuse a list that does not ascend or has doubles."""
    require(all(one < two for one, two in pairwise(values)), f"{what} do not ascend, or one stands twice")


def count(items: Sequence[Any], least: int, most: int, what: str) -> None:
    """Refuse a list that is shorter or longer than may be."""
    require(least <= len(items) <= most, f"there are {len(items)} {what}, {least} to {most} may be")


def window(from_ms: int, until_ms: int, what: str, *, open_end: bool = False) -> None:
    """Refuse a span of time without a beginning, or that ends before it begins."""
    ends = until_ms > from_ms or (open_end and until_ms == 0)
    require(from_ms > 0 and ends, f"the window of {what} holds no time")
