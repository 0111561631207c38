"""Dates as reports give them: a small profile of EDTF.

Level 0 and part of level 1 of ISO 8601-2: ``2022``, ``202X``, ``2022-08``, ``2022-08-XX``, each with ``?``, ``~`` or
``%`` behind it, and intervals of two of them, one side of which may be ``..``. No seasons, times, sets or long years.
"""

from __future__ import annotations

import calendar
import re
from functools import lru_cache

_DATE = re.compile(
    r"(?:(\d{4})(?:-(\d\d)(?:-(\d\d|XX))?|-XX(?:-XX)?)?|\d{3}X|\d\dXX)[?~%]?",
    re.ASCII,
)
_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # by month
_FEBRUARY = 2
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@lru_cache(maxsize=1024)  # most are of these days
def is_edtf(text: str) -> bool:
    """Return whether *text* is a date or an interval of the profile, and possible on the calendar."""
    start, slash, end = text.partition("/")
    if not slash:
        return _is_date(text)
    if start == "..":
        return _is_date(end)
    if end == "..":
        return _is_date(start)
    return _is_date(start) and _is_date(end) and _digits(start, "0") <= _digits(end, "9")


@lru_cache(maxsize=1024)
def is_date(text: str) -> bool:
    """Return whether *text* is a plain calendar date, as 2025-01-24."""
    return _DAY.fullmatch(text) is not None and _is_date(text)


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if not found or not found[2]:
        return found is not None
    year, month = int(found[1]), int(found[2])
    if not 1 <= month <= 12:
        return False
    if not found[3] or found[3] == "XX":
        return True
    # Year 0 is a leap year, as 2000 is.
    return 1 <= int(found[3]) <= _DAYS[month] + (month == _FEBRUARY and calendar.isleap(year))


def _digits(date: str, unknown: str) -> str:
    """Fill what a date leaves open, so that dates compare as text: earliest with 0, latest with 9."""
    plain = date.rstrip("?~%").replace("X", unknown).replace("-", "")
    return plain.ljust(8, unknown)
