"""The tree of RFC 6962 over a growing log, kept as tlog-tiles keep it: eight binary levels a tile.

Every hash of a *complete* subtree is made once, in the tile where it lies. Roots and proofs of any size are then
look-ups plus the ragged right border. In memory stay the newest tiles; older ones are read again through
``read_tile`` and cached.

Source: RFC 6962, section 2.1; c2sp.org/tlog-tiles.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256

from audit.entry.entry import leaf_hash

__all__ = ["EMPTY_ROOT", "TILE_HEIGHT", "TILE_WIDTH", "Tree", "leaf_hash", "node_hash", "root_of"]

EMPTY_ROOT = sha256(b"").digest()
_NODE = sha256(b"\1")
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
_KEPT_TILES = 64  # 16,384 entries' worth of level 0, about 2 MiB: several groups of commits

ReadTile = Callable[[int, int], bytes | None]
"""(level, index) -> 8,192 bytes of a complete tile, or None where there is none."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over *hashes* (leaf hashes, or a tile's), each of 32 bytes, in any number."""
    if not hashes:
        return EMPTY_ROOT
    row = hashes
    while len(row) > 1:
        odd = row[-1:] if len(row) & 1 else ()
        row = [*parents_of(row), *odd]
    return row[0]


def tile_roots(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the root of each tile's 256 *hashes*; there are those of a whole number of tiles."""
    row = hashes
    for _ in range(TILE_HEIGHT):
        row = parents_of(row)
    return list(row)


def parents_of(row: Sequence[bytes]) -> list[bytes]:
    """Return the hash of each pair of neighbours; an odd last one has none.

    A copy of a hash that has taken the prefix costs less than a new one, and two updates less than joining a pair.
    """
    parents: list[bytes] = []
    add, copy, pairs = parents.append, _NODE.copy, iter(row)
    for left, right in zip(pairs, pairs, strict=False):
        node = copy()
        node.update(left)
        node.update(right)
        add(node.digest())
    return parents


class _Tile:
    """One tile: row *r* holds the complete subtrees of *r* binary levels above the tile's own hashes."""

    __slots__ = ("rows",)

    def __init__(self, hashes: Sequence[bytes] = ()) -> None:
        self.rows: list[list[bytes]] = [[] for _ in range(TILE_HEIGHT + 1)]
        self.extend(hashes)

    def append(self, value: bytes) -> bytes | None:
        """Add one hash, and return the tile's root once it is complete."""
        for row in self.rows:
            row.append(value)
            if len(row) & 1:
                break
            value = sha256(b"\1" + row[-2] + value).digest()
        return self.full_root

    def extend(self, values: Sequence[bytes]) -> bytes | None:
        """Add as many hashes as there is room for, row by row; return as ``append`` does."""
        if len(values) == 1:
            return self.append(values[0])
        row = self.rows[0]
        row += values
        for above in self.rows[1:]:
            above += parents_of(row[2 * len(above) :])
            row = above
        return self.full_root

    def cut(self, width: int) -> None:
        for height, row in enumerate(self.rows):
            del row[width >> height :]

    @property
    def full_root(self) -> bytes | None:
        return self.rows[TILE_HEIGHT][0] if self.rows[TILE_HEIGHT] else None


class Tree:
    """An appendable tree whose past can be read back.

    Args:
        size: Leaves that ``read_tile`` and ``read_leaves`` already hold.
        read_tile: Reads a complete tile of hashes.
        read_leaves: (first, count) -> leaf hashes; asked only for the last, incomplete tile.

    Raises:
        LookupError: A tile or leaf that the size promises is missing (here and from every method that reads).
    """

    def __init__(self, size: int, read_tile: ReadTile, read_leaves: Callable[[int, int], list[bytes]]) -> None:
        self._read_tile = read_tile
        self._tiles: dict[tuple[int, int], _Tile] = {}  # newest, by (level, index); holds every incomplete tile
        self._old: OrderedDict[tuple[int, int], _Tile] = OrderedDict()
        self._border: tuple[int, list[bytes | None]] = (0, [])
        self._above: tuple[int, dict[int, list[bytes]]] = (0, {})  # of the size that was asked for last
        self.size = size
        self._load(read_leaves)

    def _load(self, read_leaves: Callable[[int, int], list[bytes]]) -> None:
        width = self.size % TILE_WIDTH
        leaves = read_leaves(self.size - width, width) if width else []
        if len(leaves) != width:
            raise LookupError(f"{len(leaves)} of the last {width} leaf hashes")
        self._tiles[0, self.size // TILE_WIDTH] = _Tile(leaves)
        level, complete = 1, self.size // TILE_WIDTH
        while complete:
            first = complete - complete % TILE_WIDTH
            roots = [self._tile(level - 1, index).full_root for index in range(first, complete)]
            self._tiles[level, complete // TILE_WIDTH] = _Tile([root for root in roots if root])
            level, complete = level + 1, complete // TILE_WIDTH

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, as many at a time as a tile has room for."""
        done = 0
        while done < len(leaves):
            index, width = divmod(self.size, TILE_WIDTH)
            part = leaves[done : done + TILE_WIDTH - width]
            done, self.size = done + len(part), self.size + len(part)
            level, root = 0, self._newest(0, index).extend(part)
            while root is not None:
                level, index = level + 1, index // TILE_WIDTH
                root = self._newest(level, index).append(root)

    def _newest(self, level: int, index: int) -> _Tile:
        tile = self._tiles.get((level, index))
        if tile is None:
            tile = self._tiles[level, index] = _Tile()
        return tile

    def rollback(self, size: int) -> None:
        """Forget every leaf from *size* on; nothing may have been pruned since that size was reached."""
        self.size, self._border, self._above = size, (0, []), (0, {})
        for (level, index), tile in list(self._tiles.items()):
            width = (size >> TILE_HEIGHT * level) - index * TILE_WIDTH
            if width <= 0:
                del self._tiles[level, index]
            elif width < TILE_WIDTH:
                tile.cut(width)

    def prune(self) -> None:
        """Let go of the oldest complete tiles; they can be read back."""
        if len(self._tiles) <= 2 * _KEPT_TILES:
            return
        complete = sorted(key for key, tile in self._tiles.items() if tile.full_root)
        bottom = [key for key in complete if key[0] == 0]
        for key in bottom[:-_KEPT_TILES]:
            del self._tiles[key]

    def complete_tiles(self, since: int) -> list[tuple[int, int, bytes]]:
        """Return (level, index, 8,192 bytes) of each tile that became complete after size *since*."""
        rows: list[tuple[int, int, bytes]] = []
        level, before, now = 0, since // TILE_WIDTH, self.size // TILE_WIDTH
        while now:
            rows += [(level, i, b"".join(self._tile(level, i).rows[0])) for i in range(before, now)]
            level, before, now = level + 1, before // TILE_WIDTH, now // TILE_WIDTH
        return rows

    def hashes(self, level: int, index: int, width: int) -> list[bytes]:
        """Return the first *width* hashes of a tile.

        Raises:
            LookupError: The tree is not that large.
        """
        if not 0 < width <= TILE_WIDTH or index * TILE_WIDTH + width > self.size >> TILE_HEIGHT * level:
            raise LookupError(f"tile {level}/{index} is not {width} wide at size {self.size}")
        return self._tile(level, index).rows[0][:width]

    def node(self, height: int, index: int) -> bytes:
        """Return the hash of the complete subtree of ``2**height`` leaves that begins at ``index << height``."""
        level, row = divmod(height, TILE_HEIGHT)
        shift = TILE_HEIGHT - row
        return self._tile(level, index >> shift).rows[row][index & ((1 << shift) - 1)]

    def root(self, size: int | None = None) -> bytes:
        """Return the root at *size*, by default the present one."""
        size = self.size if size is None else size
        self._check_size(size)
        if size == 0:
            return EMPTY_ROOT
        top = self._partial(size)[-1]
        return top if top is not None else self.node(size.bit_length() - 1, 0)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that leaf *index* is in the tree of *size*, lowest level first.

        Raises:
            LookupError: *index* is not below *size*, or *size* not within the tree.
        """
        self._check_size(size)
        if not 0 <= index < size:
            raise LookupError(f"no leaf {index} at size {size}")
        tile, offset = divmod(index, TILE_WIDTH)
        if tile == size // TILE_WIDTH:
            return self._path(0, index, size)
        rows = self._tile(0, tile).rows
        return [rows[height][offset >> height ^ 1] for height in range(TILE_HEIGHT)] + self._above_tile(tile, size)

    def siblings(self, nodes: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        """Return the hash at each (height, index) of the tree of *size*; the last one of a height may be ragged.

        Raises:
            LookupError: There is none at *size*, or *size* is not within the tree.
        """
        self._check_size(size)
        partial, found = self._partial(size), []
        for height, index in nodes:
            value = self.node(height, index) if (index + 1) << height <= size else partial[height]
            if value is None or index << height >= size:
                raise LookupError(f"no hash at height {height}, {index} of size {size}")
            found.append(value)
        return found

    def _above_tile(self, tile: int, size: int) -> list[bytes]:
        """Return the upper part of a path, which every leaf of a complete tile has in common."""
        at, known = self._above
        if at != size or len(known) > _KEPT_TILES:
            known = {}
            self._above = (size, known)
        path = known.get(tile)
        if path is None:
            path = known[tile] = self._path(TILE_HEIGHT, tile, size)
        return path

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of size *new* extends that of size *old*, at least 1.

        Raises:
            LookupError: Not ``1 <= old <= new <= size``.
        """
        self._check_size(new)
        if not 1 <= old <= new:
            raise LookupError(f"no proof from size {old} to {new}")
        if old == new:
            return []
        height = (old & -old).bit_length() - 1
        index = (old >> height) - 1
        start = [] if index == 0 else [self.node(height, index)]
        return start + self._path(height, index, new)

    def _path(self, height: int, index: int, size: int) -> list[bytes]:
        """Return the siblings on the way from a complete subtree to the root."""
        path, partial, node = [], self._partial(size), self.node
        while (1 << height) < size:
            sibling = index ^ 1
            if (sibling + 1) << height <= size:
                path.append(node(height, sibling))
            elif sibling << height < size:
                ragged = partial[height]
                if ragged is None:  # never: the sibling begins before size and is not complete
                    raise LookupError(f"no border at height {height} of size {size}")
                path.append(ragged)
            index, height = index >> 1, height + 1
        return path

    def _partial(self, size: int) -> list[bytes | None]:
        """Return for each height the hash over the leaves after the last complete subtree of that height."""
        if self._border[0] == size:
            return self._border[1]
        rows: list[bytes | None] = [None]
        for height in range(size.bit_length()):
            below = rows[height]
            if size >> height & 1:
                left = self.node(height, (size >> height) - 1)
                rows.append(left if below is None else node_hash(left, below))
            else:
                rows.append(below)
        self._border = (size, rows)
        return rows

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise LookupError(f"no tree of size {size} in one of {self.size}")

    def _tile(self, level: int, index: int) -> _Tile:
        tile = self._tiles.get((level, index)) or self._old.get((level, index))
        if tile is not None:
            return tile
        data = self._read_tile(level, index)
        if data is None or len(data) != 32 * TILE_WIDTH:
            raise LookupError(f"tile {level}/{index} is missing")
        tile = self._old[level, index] = _Tile([data[i : i + 32] for i in range(0, len(data), 32)])
        if len(self._old) > _KEPT_TILES:
            self._old.popitem(last=False)
        return tile
