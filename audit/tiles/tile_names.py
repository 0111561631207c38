"""The names in a log's folder, and which tiles a tree of a size has.

The folder holds ``checkpoint``, ``tile/<L>/<N>[.p/<W>]``, ``tile/entries/<N>[.p/<W>]`` and ``log.vkey``; a log that
is witnessed also ``witnessed``, the newest checkpoint with its quorum of cosignatures, and ``log-mldsa44.vkey``, the
key of the log's own second line. A path that is not written exactly so is no tile's.

Source: c2sp.org/tlog-tiles.
"""

import re
from collections.abc import Iterator

from audit.entry.entry import MAX_ENTRY_BYTES
from audit.tree.merkle import TILE_WIDTH

CHECKPOINT = "checkpoint"
KEY_FILE = "log.vkey"
MLDSA44_KEY_FILE = "log-mldsa44.vkey"
WITNESSED = "witnessed"
ENTRIES = "entries"
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
_NAME = re.compile(
    r"tile/(entries|0|[1-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


def tile_name(level: int | str, index: int, width: int = TILE_WIDTH) -> str:
    """Return a tile's path inside the folder, as ``tile/0/x001/067`` or ``tile/entries/003.p/17``.

    Args:
        level: 0 to 63, or ``ENTRIES`` for an entry bundle.
        index: Within the level, from 0.
        width: Hashes or entries in it; fewer than 256 make it partial.
    """
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03d}")
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(parts)}{suffix}"


def parse_tile_name(name: str) -> tuple[str, int, int] | None:
    """Return (level or ``entries``, index, width) of a tile's path, or None where it is no tile's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    index, width = int(match[2].replace("x", "").replace("/", "")), int(match[3] or TILE_WIDTH)
    if (match[3] and width >= TILE_WIDTH) or tile_name(match[1], index, width) != name:
        return None
    return match[1], index, width


def tiles_at(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (level, index, width) of the incomplete tile of each level, where a tree of *size* has one."""
    level = 0
    while size >> 8 * level:
        index, width = divmod(size >> 8 * level, TILE_WIDTH)
        if width:
            yield level, index, width
        level += 1


def encode_bundle(entries: list[bytes]) -> bytes:
    """Return entries, each after its length in two big-endian bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
