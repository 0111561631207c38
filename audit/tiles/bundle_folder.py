"""Read a bundle as the log folder that it is, without unpacking anything.

``folder_at`` gives whatever a path holds, so that every step of a verification works on both.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from audit.note.checkpoint import parse_note
from audit.tiles.bundle_format import README, check_lists, check_name
from audit.tiles.tar import Tar, open_tar
from audit.tiles.tile_names import (
    CHECKPOINT,
    ENTRIES,
    KEY_FILE,
    MLDSA44_KEY_FILE,
    WITNESSED,
    parse_tile_name,
    tile_name,
)
from audit.tiles.tiles import MissingError, NotHereError, TileFolder
from audit.tree.merkle import TILE_WIDTH
from keys.errors import RefusedError


def folder_at(root: Path) -> TileFolder:
    """Return the log in a folder, or in a bundle.

    Raises:
        RefusedError: MALFORMED; a file that is no well-formed bundle.
    """
    return BundleFolder(root) if root.is_file() else TileFolder(root)


def open_bundle(path: Path) -> Tar:
    """Read a bundle's list of members; every name and size is one that a bundle holds, README comes first.

    Raises:
        RefusedError: MALFORMED; one line that names the member, what was found, what was expected.
    """
    try:
        found = path.stat()
        return _open(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise RefusedError("MALFORMED", f"{path.name}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=4)  # a verification opens its bundle once for each run of entries
def _open(path: Path, _mtime_ns: int, _size: int) -> Tar:
    tar = open_tar(path)
    if next(iter(tar.members), None) != README:
        raise RefusedError("MALFORMED", f"at the beginning: {README} was expected")
    for name, (_, size) in tar.members.items():
        check_name(name, size)
    check_lists({name: size for name, (_, size) in tar.members.items()})
    return tar


class BundleFolder(TileFolder):
    """A bundle as a log folder; errors as ``TileFolder``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.tar = open_bundle(path)
        self._last: tuple[int, list[bytes]] = (-1, [])
        tiles = (parse_tile_name(name) for name in self.tar.members)
        self._partials = {tile[:2]: tile[2] for tile in tiles if tile and tile[2] < TILE_WIDTH}

    def names(self) -> list[str]:
        """Return the names of the log's own files; what else a bundle holds has checks of its own."""
        own = (CHECKPOINT, WITNESSED, KEY_FILE, MLDSA44_KEY_FILE)
        return sorted(name for name in self.tar.members if name in own or parse_tile_name(name))

    def stored(self, size: int) -> tuple[int, int]:
        """Return which entries are here: (first, after the last); a log of *size* entries.

        Raises:
            RefusedError: MALFORMED; the entry bundles are not in a row, or not of that log.
        """
        tiles = sorted(tile[1:] for name in self.tar.members if (tile := parse_tile_name(name)) and tile[0] == ENTRIES)
        first = tiles[0][0] if tiles else 0
        for wanted, (index, width) in enumerate(tiles, first):
            if index != wanted or width != min(TILE_WIDTH, size - index * TILE_WIDTH):
                expected = tile_name(ENTRIES, wanted, max(1, min(TILE_WIDTH, size - wanted * TILE_WIDTH)))
                raise RefusedError("MALFORMED", f"{tile_name(ENTRIES, index, width)}: {expected} was expected")
        return first * TILE_WIDTH, min(size, (first + len(tiles)) * TILE_WIDTH)

    def is_whole(self) -> bool:
        """Return whether all entries are here; of a checkpoint that does not read that is for others to say."""
        try:
            size = parse_note(self.note()).checkpoint.size
            return self.stored(size) == (0, size)
        except RefusedError:
            return True

    def each_name(self) -> Iterator[str]:
        """Yield the same one by one."""
        return iter(self.names())

    def read(self, name: str, limit: int) -> bytes:
        """Return a member of at most *limit* bytes."""
        if name not in self.tar.members:
            tile = parse_tile_name(name)
            raise NotHereError(name) if tile and tile[0] == ENTRIES else MissingError(name)
        if self.tar.members[name][1] > limit:
            raise RefusedError("MALFORMED", f"{name}: more than {limit} bytes")
        try:
            return self.tar.read(name)
        except OSError as error:
            raise RefusedError("MALFORMED", f"{name}: cannot be read: {error.strerror}") from error

    def entries_once(self, index: int, width: int) -> list[bytes]:
        """Return entries as ``entries``; the same ones again are not read again."""
        if self._last[0] != index:
            self._last = (index, self.entries(index, width))
        return self._last[1]

    def _wider(self, level: int | str, index: int, width: int) -> list[int]:
        wider = self._partials.get((str(level), index), 0)
        return [TILE_WIDTH, *([wider] if wider > width else [])]
