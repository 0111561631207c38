"""A log's folder as a reader takes it: C2SP tlog-tiles, whoever wrote them.

Nothing in the folder is believed: no link is followed, no length is trusted, and what is missing or misshapen is
refused by the file's name. Whether it is the log that its checkpoint signs is for ``audit.verify`` to say.

Source: c2sp.org/tlog-tiles.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from audit.tiles.tile_names import CHECKPOINT, ENTRIES, KEY_FILE, MAX_BUNDLE_BYTES, parse_tile_name, tile_name
from audit.tree.merkle import TILE_WIDTH, Tree
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError


class TileFolder:
    """Reads a log's folder, and nothing outside it: no link is followed, no length is trusted.

    Raises (every method):
        RefusedError: MALFORMED; the message begins with the file's name inside the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the names of all files, sorted; refuse anything that is neither a file nor a folder."""
        return sorted(self.each_name())

    def each_name(self) -> Iterator[str]:
        """Yield the names of all files, folder by folder: a long log has hundreds of thousands."""
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            for entry in self._list(prefix):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield prefix + entry.name
                else:
                    raise _refused(prefix + entry.name, "neither a file nor a folder")

    def _list(self, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / prefix) as entries:
                return list(entries)
        except FileNotFoundError:  # the log grew, and an emptied folder went away
            return []
        except OSError as error:
            raise _refused(prefix, f"cannot be read: {error.strerror}") from error

    def read(self, name: str, limit: int) -> bytes:
        """Return a file of at most *limit* bytes."""
        try:
            descriptor = os.open(f"{self.root}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                # Room for what is there, not for what may be there at most: of a bundle that is a megabyte.
                size = os.fstat(descriptor).st_size
                data = os.read(descriptor, min(limit, size) + 1)
                while len(data) != size and len(data) <= limit and (more := os.read(descriptor, limit + 1 - len(data))):
                    data += more
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingError(name) from error
        except OSError as error:
            raise _refused(name, f"cannot be read: {error.strerror}") from error
        if len(data) > limit:
            raise _refused(name, f"more than {limit} bytes")
        return data

    def note(self) -> str:
        """Return the checkpoint's text."""
        return self.text(CHECKPOINT)

    def key_text(self) -> str:
        """Return the line in ``log.vkey``."""
        return self.text(KEY_FILE)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first *width* hashes of a tile, from a wider one where the log has grown meanwhile."""
        data, found, name = self._tile(level, index, width, 32 * TILE_WIDTH)
        if len(data) != 32 * found:
            raise _refused(name, f"{len(data)} bytes instead of {32 * found}")
        return data[: 32 * width]

    def bundle(self, index: int, width: int) -> tuple[str, bytes, int]:
        """Return (name, bytes, number of entries it should hold) of a bundle with at least *width* entries."""
        data, found, name = self._tile(ENTRIES, index, width, MAX_BUNDLE_BYTES)
        return name, data, found

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first *width* entries of a bundle, lengths checked, nothing else."""
        name, data, found = self.bundle(index, width)
        entries: list[bytes] = []
        position = 0
        while position + 2 <= len(data) and len(entries) < found:
            end = position + 2 + int.from_bytes(data[position : position + 2], "big")
            entries.append(data[position + 2 : end])
            position = end
        if position != len(data) or len(entries) != found:
            raise _refused(name, f"does not hold exactly {found} entries")
        return entries[:width]

    def tree(self, size: int) -> Tree:
        """Return the tree that the hash tiles make; it proves nothing by itself.

        Raises:
            LookupError: A tile is missing (also from the tree's methods).
        """

        def read_tile(level: int, index: int) -> bytes:
            return self.tile(level, index, TILE_WIDTH)

        def read_leaves(first: int, count: int) -> list[bytes]:
            data = self.tile(0, first // TILE_WIDTH, count)
            return [data[i : i + 32] for i in range(0, len(data), 32)]

        return Tree(size, read_tile, read_leaves)

    def _tile(self, level: int | str, index: int, width: int, limit: int) -> tuple[bytes, int, str]:
        name = tile_name(level, index, width)
        try:
            return self.read(name, limit), width, name
        except MissingError as error:
            if width == TILE_WIDTH:
                raise
            missing = error  # of a bundle of a part of a log it says so
        # A log that grows while it is read takes its partials away; a wider one says the same and more.
        for wider in self._wider(level, index, width):
            try:
                return self.read(tile_name(level, index, wider), limit), wider, tile_name(level, index, wider)
            except MissingError:
                continue
        raise missing

    def _wider(self, level: int | str, index: int, width: int) -> list[int]:
        folder = self.root / (tile_name(level, index) + ".p")
        found = [parse_tile_name(f"{tile_name(level, index)}.p/{path.name}") for path in folder.glob("*")]
        return [TILE_WIDTH, *sorted((tile[2] for tile in found if tile and tile[2] > width), reverse=True)]

    def text(self, name: str) -> str:
        """Return a note or a key file."""
        try:
            return self.read(name, MAX_NOTE_BYTES).decode()
        except UnicodeDecodeError as error:
            raise _refused(name, "not UTF-8") from error


class MissingError(RefusedError):
    """A file that the checkpoint commits to is not in the folder."""

    def __init__(self, name: str) -> None:
        super().__init__("MALFORMED", f"{name}: missing")


class NotHereError(MissingError):
    """Entries that this copy was never meant to hold: a bundle of a part of a log."""


def _refused(name: str, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"{name}: {what}")
