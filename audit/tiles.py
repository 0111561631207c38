"""A log as files: C2SP tlog-tiles, written so that a reader never sees half of anything.

The folder holds ``checkpoint``, ``tile/<L>/<N>[.p/<W>]``, ``tile/entries/<N>[.p/<W>]`` and ``log.vkey``; a log that
is witnessed also ``witnessed``, the newest checkpoint with its quorum of cosignatures, and ``log-mldsa44.vkey``, the key
of the log's own second line. Nothing else; temporary files lie in a sibling folder. Every file is written, flushed, renamed, and its folder flushed; it is
never changed after. The checkpoint comes last, so that whatever it commits to is there.

Source: c2sp.org/tlog-tiles.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from audit.checkpoint import MAX_NOTE_BYTES, VerifierKey, verify_note
from audit.entry import MAX_ENTRY_BYTES, leaf_hash
from audit.log import LogReads
from audit.merkle import TILE_WIDTH, Tree
from keys.errors import IntegrityError, RefusedError

CHECKPOINT = "checkpoint"
KEY_FILE = "log.vkey"
MLDSA44_KEY_FILE = "log-mldsa44.vkey"
WITNESSED = "witnessed"
ENTRIES = "entries"
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
_FILE_MODE = 0o444  # immutable: a new version is a new file under the same name
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


def publish(folder: Path, store: LogReads, key: VerifierKey, note: str) -> None:
    """Bring *folder* up to a signed checkpoint; a ``Publisher`` that is kept does the same with less reading."""
    Publisher(folder, store, key).publish(note)


class Publisher:
    """Keeps one log's folder up to date, from the database, through a reading connection of its own.

    Args:
        folder: Made if missing; its parent exists.
        store: The log's tables; only read.
        key: The log's own.
        mldsa44_key: The verifier key of its second line, as text; none if empty.

    Raises:
        IntegrityError: The folder's checkpoint is not of this log, or ahead of its tables.
    """

    def __init__(self, folder: Path, store: LogReads, key: VerifierKey, mldsa44_key: str = "") -> None:
        self._folder, self._store, self._key, self._mldsa44_key = folder, store, key, mldsa44_key
        self._temporary = folder.with_name(folder.name + ".tmp")
        self._note, self._size = self._published()
        try:
            self._tree = Tree(self._size, store.get_tile, store.leaf_hashes)
        except LookupError as error:
            raise IntegrityError(f"{folder} is at size {self._size}, the tables are not: {error}") from error
        self._recover()

    @property
    def size(self) -> int:
        """Return the size of the checkpoint in the folder; 0 without one."""
        return self._size

    def publish(self, note: str) -> None:
        """Write what a checkpoint commits to, then the checkpoint.

        1. Read the new leaf hashes and compare the root with the signed one.
        2. Complete bundles and tiles. 3. Partial ones. 4. The key, the checkpoint. 5. Superseded partials go.
        After an error, or a crash at any place, the next call does everything again from the last checkpoint.

        Raises:
            IntegrityError: The tables contradict the checkpoint, or each other, or the folder is ahead of it.
            OSError: A file could not be written.
        """
        if note == self._note:
            return
        checkpoint = verify_note(note, self._key)
        if checkpoint.size < self._size:
            raise IntegrityError(f"{self._folder} is at size {self._size}, ahead of checkpoint {checkpoint.size}")
        if self._temporary.exists():  # the last call failed half-way
            self._recover()
        self._extend(checkpoint.size)
        if self._tree.root(checkpoint.size) != checkpoint.root:
            raise IntegrityError(f"the tables have another root at size {checkpoint.size} than was signed")
        writer = _Writer(self._folder, self._temporary)
        for name, data in self._complete(checkpoint.size):
            writer.write(name, data)
        # A crash from here on leaves files that the old checkpoint does not commit to; they are written again.
        for level, index, width in tiles_at(checkpoint.size):
            writer.write(tile_name(level, index, width), b"".join(self._tree.hashes(level, index, width)))
            if level == 0:
                writer.write(tile_name(ENTRIES, index, width), self._bundle(index, width))
        writer.flush()
        writer.write(KEY_FILE, f"{self._key}\n".encode())
        if self._mldsa44_key:
            writer.write(MLDSA44_KEY_FILE, f"{self._mldsa44_key}\n".encode())
        writer.write(CHECKPOINT, note.encode())
        writer.flush()
        # A crash from here on leaves partials too many; the next start removes them.
        for level, index, _ in tiles_at(self._size):
            self._drop_partials(level, index, checkpoint.size)
        self._temporary.rmdir()
        self._note, self._size = note, checkpoint.size
        self._tree.prune()

    def add_cosigned(self, note: str) -> None:
        """Write a checkpoint that its quorum has cosigned: as ``witnessed``, and as ``checkpoint`` if that is of its size.

        The caller has verified every line in it.

        Raises:
            IntegrityError: It is not of this log.
            OSError: A file could not be written.
        """
        try:
            new = verify_note(note, self._key)
        except RefusedError as error:
            raise IntegrityError(f"{self._folder}: a cosigned checkpoint is not this log's: {error}") from error
        writer = _Writer(self._folder, self._temporary)
        writer.write(WITNESSED, note.encode())
        if self._note and new == verify_note(self._note, self._key):
            writer.write(CHECKPOINT, note.encode())
            self._note = note
        writer.flush()
        self._temporary.rmdir()

    def _published(self) -> tuple[str, int]:
        path = self._folder / CHECKPOINT
        if not path.exists():
            return "", 0
        note = path.read_text()
        try:
            checkpoint = verify_note(note, self._key)
        except RefusedError as error:
            raise IntegrityError(f"{path} is not this log's: {error}") from error
        return note, checkpoint.size

    def _recover(self) -> None:
        """Take away what a crash left: temporary files, and partials that the checkpoint does not name."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._folder.mkdir(exist_ok=True)
        needed = {tile_name(level, index, width) for level, index, width in tiles_at(self._size)}
        needed |= {tile_name(ENTRIES, i, w) for level, i, w in tiles_at(self._size) if level == 0}
        for folder in sorted(self._folder.glob("tile/**/*.p")):
            for path in folder.iterdir():
                if str(path.relative_to(self._folder)) not in needed:
                    path.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()

    def _extend(self, size: int) -> None:
        while self._tree.size < size:
            leaves = self._store.leaf_hashes(self._tree.size, min(1 << 14, size - self._tree.size))
            if not leaves:
                raise IntegrityError(f"the tables hold {self._tree.size} entries, but {size} were signed")
            for leaf in leaves:
                self._tree.append(leaf)

    def _complete(self, size: int) -> Iterator[tuple[str, bytes]]:
        level = 0
        while size >> 8 * (level + 1):
            for index in range(self._size >> 8 * (level + 1), size >> 8 * (level + 1)):
                if level == 0:
                    yield tile_name(ENTRIES, index), self._bundle(index, TILE_WIDTH)
                yield tile_name(level, index), b"".join(self._tree.hashes(level, index, TILE_WIDTH))
            level += 1

    def _bundle(self, index: int, width: int) -> bytes:
        entries = self._store.read_entries(index * TILE_WIDTH, width)
        if [leaf_hash(entry) for entry in entries] != self._tree.hashes(0, index, width):
            raise IntegrityError(f"entries from {index * TILE_WIDTH} on are not those that were logged")
        return encode_bundle(entries)

    def _drop_partials(self, level: int, index: int, size: int) -> None:
        kept = (size >> 8 * level) - index * TILE_WIDTH
        for kind in (level, ENTRIES) if level == 0 else (level,):
            folder = self._folder / (tile_name(kind, index) + ".p")
            for path in list(folder.iterdir()) if folder.is_dir() else []:
                if path.name != str(kept):
                    path.unlink()
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


class _Writer:
    """Writes files whole: temporary, flushed, renamed; ``flush`` then makes the names durable."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder, self._temporary = folder, temporary
        self._touched: set[Path] = set()
        temporary.mkdir(exist_ok=True)

    def write(self, name: str, data: bytes) -> None:
        target = self._folder / name
        self._make(target.parent)
        temporary = self._temporary / "next"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        self._touched.add(target.parent)

    def flush(self) -> None:
        for folder in sorted(self._touched):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._touched.clear()

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir()
            self._touched.add(folder.parent)


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
                data = os.read(descriptor, limit + 1)
                while len(data) <= limit and (more := os.read(descriptor, limit + 1 - len(data))):
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
        except MissingError:
            if width == TILE_WIDTH:
                raise
        # A log that grows while it is read takes its partials away; a wider one says the same and more.
        for wider in self._wider(level, index, width):
            try:
                return self.read(tile_name(level, index, wider), limit), wider, tile_name(level, index, wider)
            except MissingError:
                continue
        raise MissingError(name)

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
