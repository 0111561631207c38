"""How an entry's kind and time are written for people and programs."""

from __future__ import annotations

from datetime import UTC, datetime

from audit.entry.body import Body
from audit.entry.kinds import Kind

_MAX_YEAR_US = 253_402_300_799_999_999  # the last microsecond of year 9999


def kind_name(body: Body) -> str:
    """Return the kind's name, or its number where it is not known."""
    return body.kind.name if isinstance(body.kind, Kind) else f"kind {body.kind}"


def instant(time_us: int) -> str:
    """Return microseconds UTC as ``2026-03-01T10:00:00.000000Z``, or the bare number where no calendar reaches."""
    if time_us > _MAX_YEAR_US:
        return f"{time_us} us"
    seconds, rest = divmod(time_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06d}Z"
