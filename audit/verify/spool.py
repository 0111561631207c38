"""Room for what a verification remembers of every entry: memory first, then a temporary file without a name."""

import os
import weakref
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile


class Spool:
    """Bytes that are appended, and read back from any offset.

    Args:
        limit: Bytes that stay in memory; more goes to the folder that ``TMPDIR`` names.

    Raises (every method):
        OSError: There is no room.
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._memory = bytearray()
        self._descriptor: int | None = None

    def append(self, data: bytes | bytearray) -> None:
        """Add *data* at the end."""
        self.size += len(data)
        if self._descriptor is None and self.size <= self._limit:
            self._memory += data
            return
        if self._descriptor is None:
            file = TemporaryFile(buffering=0)  # noqa: SIM115 (closed below)
            weakref.finalize(self, file.close)  # it goes with whoever holds this
            self._descriptor = file.fileno()
            data, self._memory = self._memory + data, bytearray()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def read(self, offset: int, count: int) -> bytes:
        """Return at most *count* bytes from *offset* on."""
        if self._descriptor is None:
            return bytes(self._memory[offset : offset + count])
        return os.pread(self._descriptor, count, offset)

    def pick(self, offsets: Sequence[int]) -> bytes:
        """Return the byte at each of these offsets, all of which have one."""
        if self._descriptor is None:
            return bytes(map(self._memory.__getitem__, offsets))
        return b"".join([os.pread(self._descriptor, 1, offset) for offset in offsets])

    def blocks(self, count: int) -> Iterator[bytes]:
        """Yield everything, *count* bytes at a time."""
        for offset in range(0, self.size, count):
            yield self.read(offset, min(count, self.size - offset))
