"""A correction names a field, what stood there and what should: the three must fit the bulletin it corrects.

A correction never edits. Readers see old and new, so ``old`` must be the very text that was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from exchange.records.bulletin import enum_word
from exchange.v1 import bulletin_pb2 as pb

_STEP = re.compile(r"([a-z][a-z0-9_]*)(?:\[(0|[1-9][0-9]{0,3})\])?")


def value_at(bulletin: pb.Bulletin, path: str) -> str | None:
    """Read one value as an officer would have typed it, or None where the path leads nowhere.

    Args:
        bulletin: The one that is corrected.
        path: As complaints and screens name fields: ``statements[2].text[0].text``.
    """
    here: Any = bulletin
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        field: Any = here.DESCRIPTOR.fields_by_name.get(match[1]) if match and isinstance(here, Message) else None
        if match is None or field is None or field.is_repeated != (match[2] is not None):
            return None
        value = getattr(here, match[1])
        if match[2] is not None:
            if int(match[2]) >= len(value):
                return None
            value = value[int(match[2])]
        here = enum_word(field.enum_type, value) if field.enum_type is not None else value
    return _typed(here)


def mismatches(correction: pb.Bulletin, target: pb.Bulletin) -> Iterator[str]:
    """Name the paths whose ``old`` is not what *target* says; none if the correction fits."""
    for change in correction.correction.changes:
        if value_at(target, change.path) != change.old:
            yield change.path


def _typed(value: Any) -> str | None:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.hex() if isinstance(value, bytes) else str(value)
