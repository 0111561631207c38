"""Roots of earlier sizes from a log's hash tiles, reading only the tiles on the way: some dozens, whatever the size.

What it computes is as true as the tiles. A root that comes out as somebody else's checkpoint has it proves those
hashes that it was made of: every slot, below that size, of the tiles that were incomplete at that size.
"""

from audit.tiles.tiles import TileFolder
from audit.tree.merkle import EMPTY_ROOT, TILE_HEIGHT, TILE_WIDTH, node_hash, root_of


class SubtreeRoots:
    """The hash tiles of a log at one size.

    Raises (every method):
        RefusedError: MALFORMED; a tile is missing or broken.
    """

    def __init__(self, folder: TileFolder, size: int) -> None:
        self._folder, self.size = folder, size
        self._kept: dict[tuple[int, int], bytes] = {}

    def tile(self, level: int, index: int) -> bytes:
        """Return a tile as wide as the log's size makes it."""
        data = self._kept.get((level, index))
        if data is None:
            width = min(TILE_WIDTH, (self.size >> TILE_HEIGHT * level) - index * TILE_WIDTH)
            data = self._folder.tile(level, index, width)
            if level:  # the few upper ones are asked for again and again
                self._kept[level, index] = data
        return data

    def node(self, height: int, index: int) -> bytes:
        """Return the hash of the complete subtree of ``2**height`` entries that begins at ``index << height``."""
        level, row = divmod(height, TILE_HEIGHT)
        data = self.tile(level, index >> TILE_HEIGHT - row)
        first = (index << row) % TILE_WIDTH
        return root_of([data[32 * i : 32 * i + 32] for i in range(first, first + (1 << row))])

    def root(self, size: int) -> bytes:
        """Return the root at *size*, which is at most the log's."""
        root = None
        for height in range(size.bit_length()):
            if size >> height & 1:
                left = self.node(height, (size >> height) - 1)
                root = left if root is None else node_hash(left, root)
        return EMPTY_ROOT if root is None else root
