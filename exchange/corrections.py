"""A correction says what stood there before; it applies only if that is what stands there.

Paths are those of complaints and of the officer's file: ``persons[0].names[1].full``. Values are compared as the
officer writes them: enum words in kebab-case, numbers in decimal, instants as RFC 3339.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from exchange.bulletin import enum_word
from exchange.v1.bulletin_pb2 import Bulletin, FieldChange
from keys.errors import RefusedError

_STEP = re.compile(r"([a-z][a-z0-9_]*)(?:\[([0-9]{1,3})\])?")


def check_correction(correction: Bulletin, target: Bulletin) -> None:
    """Refuse a correction whose old values are not those of its target.

    Raises:
        RefusedError: TARGET_DIFFERS, naming the path.
    """
    for change in correction.correction.changes:
        found = value_at(target, change.path)
        if found is None:
            raise RefusedError("TARGET_DIFFERS", f"the bulletin to be corrected has nothing at {_shown(change)}")
        if found != change.old:
            raise RefusedError("TARGET_DIFFERS", f"the old value at {_shown(change)} is not what stands there")


def value_at(bulletin: Bulletin, path: str) -> str | None:
    """Read one value as an officer writes it; None where the path leads nowhere or to more than a value."""
    value: Any = bulletin
    field: FieldDescriptor | None = None
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        field = value.DESCRIPTOR.fields_by_name.get(match[1]) if match and hasattr(value, "DESCRIPTOR") else None
        if match is None or field is None:
            return None
        value = getattr(value, match[1])
        if field.is_repeated != (match[2] is not None):
            return None
        if match[2] is not None:
            if int(match[2]) >= len(value):
                return None
            value = value[int(match[2])]
    return _written(value, field)


def _written(value: Any, field: FieldDescriptor | None) -> str | None:
    if field is None:
        return None
    if field.message_type is not None:
        is_instant = field.message_type.full_name == "google.protobuf.Timestamp"
        return str(value.ToJsonString()) if is_instant else None
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if isinstance(value, bytes) else str(value)


def _shown(change: FieldChange) -> str:
    return ascii(change.path[:80])
