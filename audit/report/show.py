"""Print entries for people and programs, as stored: nothing here verifies.

One line an entry: index, UTC time, kind, then its fields by name; digests by their first eight digits for people,
whole for programs. Every index printed is the entry's number in the log, so nothing can hide in a filtered view.
"""

from collections.abc import Iterator
from typing import Any

from audit.entry.body import parse_body
from audit.entry.entry import parse_entry
from audit.entry.kinds import Outcome, Role
from audit.entry.names import instant, kind_name
from audit.note.checkpoint import parse_note
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from keys.errors import RefusedError

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


def _name(field: str, value: int) -> int | str:
    enum = _SHOWN_ENUMS.get(field)
    return enum(value).name if enum and value in enum._value2member_map_ else value


def _short(value: Any) -> str:
    return value[:8] if isinstance(value, str) and len(value) >= 32 else str(value)
