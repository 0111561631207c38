"""The tree above the entries' hashes, made and compared tile by tile as the roots of level 0 arrive.

Only each level's incomplete tile is kept: 256 hashes for every factor of 256 in the log's length.
"""

from collections.abc import Iterable

from audit.tiles.tile_names import tile_name
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import EMPTY_ROOT, TILE_WIDTH, root_of
from keys.errors import RefusedError


class Levels:
    """The levels from 1 on of a log's tiles.

    Args:
        folder: Where the stored tiles are that these are compared with.
        known_rows: What of the incomplete tiles of level 1, 2, … is known already: (index, its first hashes).
    """

    def __init__(self, folder: TileFolder, known_rows: Iterable[tuple[int, list[bytes]]] = ()) -> None:
        known = list(known_rows)
        self._folder = folder
        self._rows: list[list[bytes]] = [row for _, row in known]  # of the incomplete tile of level 1, 2, …
        self._indices: list[int] = [index for index, _ in known]  # its index
        self._problems: dict[int, tuple[int | None, str]] = {}  # the first of each level: entry, message

    def add(self, roots: Iterable[bytes]) -> None:
        """Take the roots of the next complete level-0 tiles."""
        for root in roots:
            self._put(0, root)

    def finish(self) -> tuple[int | None, str] | None:
        """Compare the incomplete tiles too; return (entry, message) of the lowest tile that is wrong."""
        for level, row in enumerate(self._rows):
            if row:
                self._compare(level, row)
        return self._problems[min(self._problems)] if self._problems else None

    def root(self, tail: list[bytes]) -> bytes:
        """Return the root over everything, *tail* being the leaf hashes after the last complete tile."""
        ragged = [root_of(tail)] if tail else []
        for row in self._rows:
            part = row + ragged
            ragged = [root_of(part)] if part else []
        return ragged[0] if ragged else EMPTY_ROOT

    def _put(self, level: int, value: bytes) -> None:
        if level == len(self._rows):
            self._rows.append([])
            self._indices.append(0)
        row = self._rows[level]
        row.append(value)
        if len(row) == TILE_WIDTH:
            self._compare(level, row)
            self._rows[level] = []
            self._indices[level] += 1
            self._put(level + 1, root_of(row))

    def _compare(self, level: int, row: list[bytes]) -> None:
        if level in self._problems:
            return
        number, index = level + 1, self._indices[level]
        try:
            if self._folder.tile(number, index, len(row)) != b"".join(row):
                message = f"{tile_name(number, index, len(row))}: not made from the tiles below it"
                self._problems[level] = index * TILE_WIDTH << 8 * number, message
        except RefusedError as error:
            self._problems[level] = None, str(error)
