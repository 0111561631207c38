"""How facts look in a line: markings, times, columns. What a peer wrote has passed ``safe_text`` before it is here."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Sequence

from exchange.authoring.text import safe_text
from exchange.records.bulletin import Classification, Tlp, enum_word
from exchange.v1 import bulletin_pb2 as pb

_RELATIONS = {pb.RELATION_TYPE_CORRECTS: "corrected", pb.RELATION_TYPE_RECALLS: "RECALLED"}


def marking(tlp: int, classification: int) -> str:
    """Write a marking in one word group; what we do not know counts as the most restrictive."""
    known = Tlp(tlp) if tlp in Tlp.__members__.values() else Tlp.RED
    level = Classification(classification) if classification in Classification.__members__.values() else None
    return f"TLP:{known.name.replace('_', '+')} {level.name if level is not None else 'SECRET'}"


def highest(markings: Sequence[tuple[int, int]]) -> str:
    """Write the most restrictive of several markings, for the first and last line of a screen."""
    if not markings:
        return ""
    return marking(max(tlp or 5 for tlp, _ in markings), max(level or 4 for _, level in markings))


def time_text(at_ms: int) -> str:
    """Write an instant, UTC, to the minute; empty for none."""
    if not at_ms:
        return ""
    return dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).strftime("%Y-%m-%d %H:%MZ")


def clock_text(at_ms: int, now_ms: int | None = None) -> str:
    """Write an instant, UTC, as people say it on the same day; with its date on another one."""
    today = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC) if now_ms is not None else dt.datetime.now(dt.UTC)
    at = dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC)
    return at.strftime("%H:%MZ") if at.date() == today.date() else time_text(at_ms)


def urgency(number: int) -> str:
    """Write an urgency."""
    return enum_word(pb.Urgency.DESCRIPTOR, number)


def status(number: int) -> str:
    """Write a status in capitals; an actual bulletin needs no word."""
    word = enum_word(pb.MessageStatus.DESCRIPTOR, number).upper()
    return "" if word == "ACTUAL" else word


def relation(number: int) -> str:
    """Write what a notice does to a bulletin."""
    return _RELATIONS.get(pb.RelationType.ValueType(number), enum_word(pb.RelationType.DESCRIPTOR, number))


def columns(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Set rows in columns as wide as their widest cell, counted as a terminal counts."""
    if not rows:
        return []
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def field(text: str, limit: int = 60) -> str:
    """Make a peer's text fit for one cell."""
    return safe_text(text, limit)


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
