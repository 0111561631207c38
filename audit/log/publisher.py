"""Publishing a log as tlog-tiles files, so that a reader never sees half of anything.

The folder holds what ``audit.tiles.tile_names`` names and nothing else; temporary files lie in a sibling folder. Every file
is written, flushed, renamed, and its folder flushed; it is never changed after. The checkpoint comes last, so that
whatever it commits to is there.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from audit.entry.entry import leaf_hash
from audit.log.log import LogReads
from audit.note.checkpoint import VerifierKey, verify_note
from audit.tiles.tile_names import (
    CHECKPOINT,
    ENTRIES,
    KEY_FILE,
    MLDSA44_KEY_FILE,
    WITNESSED,
    encode_bundle,
    tile_name,
    tiles_at,
)
from audit.tree.merkle import TILE_WIDTH, Tree
from keys.errors import IntegrityError, RefusedError

_FILE_MODE = 0o444  # immutable: a new version is a new file under the same name


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
        self._keys_written: set[str] = set()
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
        After an error, or a crash at any point, the next call does everything again from the last checkpoint.

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
        self._write_keys(writer)
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

    def _write_keys(self, writer: _Writer) -> None:
        """Write the files of the log's keys, once in our life and again where one is gone."""
        for name, key in ((KEY_FILE, str(self._key)), (MLDSA44_KEY_FILE, self._mldsa44_key)):
            if key and not (name in self._keys_written and (self._folder / name).exists()):
                writer.write(name, f"{key}\n".encode())
                self._keys_written.add(name)

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
            self._tree.extend(leaves)

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
