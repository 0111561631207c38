"""Which delivery an intake is opening just now, so that one that kills the process is known afterwards (row 69).

A few bytes in ``run/intake-<PEER>``, mapped into memory, written before each step on a delivery and cleared after the
message: they survive the process, not the machine, and that is what they are for. What is left at the next start counts
as one death on that delivery; after two it is refused unopened.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.node import Node

FOLDER = "run"
PREFIX = "intake-"
_LENGTH = 48  # "class epoch sequence", padded
_NOTHING = bytes(_LENGTH)


class Marker:
    """The file of one peer, open as long as it is followed."""

    def __init__(self, home: Path, peer: str) -> None:
        folder = home / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder / f"{PREFIX}{peer}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, _NOTHING, 0)  # a full disk refuses here: later it could only kill the process
            self._bytes = mmap.mmap(handle, _LENGTH)
        finally:
            os.close(handle)
        self.at: tuple[int, int, int] | None = None  # class, epoch, sequence of what is being opened

    def opening(self, lane_class: int, epoch: int, sequence: int) -> None:
        """Note what is opened next."""
        if self.at != (lane_class, epoch, sequence):
            self.at = (lane_class, epoch, sequence)
            self._bytes[:] = (b"%d %d %d" % self.at).ljust(_LENGTH)

    def clear(self) -> None:
        """Note that nothing is being opened."""
        if self.at is not None:
            self.at = None
            self._bytes[:] = _NOTHING

    def close(self) -> None:
        """Let the file go."""
        self.clear()
        self._bytes.close()


def left_behind(home: Path) -> list[tuple[str, int, int, int]]:
    """Read what a run before this one died on: (peer, class, epoch, sequence)."""
    found = []
    for path in sorted((home / FOLDER).glob(f"{PREFIX}*")):
        words = path.read_text("ascii", errors="replace").rstrip("\0").split()
        if len(words) == 3 and all(word.isdigit() for word in words):
            lane_class, epoch, sequence = map(int, words)
            found.append((path.name.removeprefix(PREFIX), lane_class, epoch, sequence))
    return found


def count_deaths(node: Node) -> int:
    """Enter what was left behind, once, before anything is followed.

    Returns:
        How many deliveries it was.
    """
    found = left_behind(node.paths.home)
    if found:
        node.writer.run(lambda work: enter_deaths(work, found))
    for peer, *_ in found:
        (node.paths.home / FOLDER / f"{PREFIX}{peer}").unlink()
    return len(found)


def enter_deaths(work: UnitOfWork, found: Sequence[tuple[str, int, int, int]]) -> None:
    """Count one death on each of these deliveries: (peer, class, epoch, sequence)."""
    for peer, lane_class, epoch, sequence in found:
        lane = work.rows.open_lane(outgoing=False, peer=peer, lane_class=lane_class, epoch=epoch)
        work.rows.add_attempts([(lane.row, sequence)])
