"""Print entries for people and programs, as stored: nothing here verifies.

One line an entry: index, UTC time, kind, then its fields by name; digests by their first eight digits for people,
whole for programs. Every index printed is the entry's place in the log, so nothing can hide in a filtered view.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from audit.entry.body import Body, parse_body
from audit.note.checkpoint import parse_note
from audit.entry.entry import parse_entry
from audit.entry.kinds import Kind, Outcome, Role
from audit.tree.merkle import TILE_WIDTH
from audit.tiles.tiles import TileFolder
from keys.errors import RefusedError

_MAX_YEAR_US = 253_402_300_799_999_999  # the last microsecond of year 9999
_SHOWN_ENUMS = {"role": Role, "outcome": Outcome}


def read_range(folder: TileFolder, first: int, last: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield (index, entry) from *first* to *last*, both included, as far as the folder's checkpoint says.

    Raises:
        RefusedError: MALFORMED; a file is missing or broken.
    """
    size = parse_note(folder.note()).checkpoint.size
    end = size if last is None else min(size, last + 1)
    for bundle in range(first // TILE_WIDTH, -(-end // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - bundle * TILE_WIDTH)
        for index, entry in enumerate(folder.entries(bundle, width), bundle * TILE_WIDTH):
            if first <= index < end:
                yield index, entry


def describe(index: int, entry: bytes) -> dict[str, Any]:
    """Return an entry for programs: numbers, names and whole digests in hex.

    Raises:
        RefusedError: MALFORMED; the message begins with the entry's index.
    """
    try:
        parsed = parse_entry(entry)
        body = parse_body(parsed.body)
    except RefusedError as error:
        raise RefusedError(error.code, f"entry {index}: {error}") from error
    told: dict[str, Any] = {"index": index, "time": instant(parsed.time_us), "kind": kind_name(body)}
    for name, value in body.present().items():
        if name != "kind":
            told[name] = value.hex() if isinstance(value, bytes) else _name(name, value)
    if not body.understood:
        told["understood"] = False
    return told


def line(told: dict[str, Any]) -> str:
    """Return what ``describe`` told as one line for people."""
    fields = [f"{name}={_short(value)}" for name, value in told.items() if name not in ("index", "time", "kind")]
    return f"{told['index']:>9}  {told['time']}  {told['kind']:<19} {' '.join(fields)}".rstrip()


def kind_name(body: Body) -> str:
    """Return the kind's name, or its number where it is not known."""
    return body.kind.name if isinstance(body.kind, Kind) else f"kind {body.kind}"


def instant(time_us: int) -> str:
    """Return microseconds UTC as ``2026-03-01T10:00:00.000000Z``, or the bare number where no calendar reaches."""
    if time_us > _MAX_YEAR_US:
        return f"{time_us} us"
    seconds, rest = divmod(time_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06d}Z"


def _name(field: str, value: int) -> int | str:
    enum = _SHOWN_ENUMS.get(field)
    return enum(value).name if enum and value in enum._value2member_map_ else value


def _short(value: Any) -> str:
    return value[:8] if isinstance(value, str) and len(value) >= 32 else str(value)
