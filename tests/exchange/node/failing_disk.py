"""A disk that fails: the system calls by which SQLite writes are counted, and fail when told to.

SQLite keeps these calls in a table so that its own tests can replace them; so do these. An error can come before
anything was written, or although all of it was.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

BEFORE, AFTER = "before", "after"  # the bytes are not written; they are, and an error is returned all the same
_CALL = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)
_NAMES = ("pwrite", "pwrite64")


class Disk:
    """Counts writes, and breaks them from the *first*-th on, *times* in a row."""

    def __init__(self) -> None:
        self.writes = 0
        self.broken = 0
        self._first, self._times, self._when = 0, 0, BEFORE
        self._told: Callable[[], None] = lambda: None

    def fail(self, first: int, times: int, when: str, told: Callable[[], None]) -> None:
        """Break that many writes, counted from now; *told* is called with the first."""
        self.writes, self.broken, self._first, self._times, self._when, self._told = 0, 0, first, times, when, told

    def heal(self) -> None:
        """Break no more."""
        self._first = 0

    def write(self, true: Any, descriptor: int, data: int, count: int, offset: int) -> int:
        self.writes += 1
        breaks = self._first and self._first <= self.writes < self._first + self._times
        if breaks and not self.broken:
            self._told()
        written = count if breaks and self._when == BEFORE else true(descriptor, data, count, offset)
        if not breaks:
            return int(written)
        self.broken += 1
        ctypes.set_errno(errno.EIO)
        return -1


@contextmanager
def failing_disk() -> Iterator[Disk]:
    """Put a disk under every SQLite file of this process; the true calls are back afterwards."""
    vfs = apsw.VFS("failing-disk", "")  # only a handle: nobody opens a file by it
    disk, kept, calls = Disk(), {}, []
    for name in _NAMES:
        pointer = vfs.xGetSystemCall(name)
        if pointer:
            true = _CALL(pointer)
            call = _CALL(lambda *words, true=true: disk.write(true, *words))
            calls.append(call)  # as long as SQLite may call it
            kept[name] = pointer
            vfs.xSetSystemCall(name, ctypes.cast(call, ctypes.c_void_p).value or 0)
    try:
        yield disk
    finally:
        for name, pointer in kept.items():
            vfs.xSetSystemCall(name, pointer)
        vfs.unregister()
