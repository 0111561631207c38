"""What benchmarks of one run share: a folder on a real disk, the scale, and federations made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.federation import Federation, found

SIZES = {"2 KiB": 2048, "8 KiB": 8192}  # of the encoded bulletin
ROUNDS = 5  # product and bound in turn; medians of ratios, because a shared machine is noisy


@dataclass(slots=True)
class Setting:
    """One run."""

    folder: Path  # not on a memory file system: flushes must reach a disk
    full: bool = False
    _made: dict[str, Federation] = field(default_factory=dict)
    _serial: int = 1

    def federation(self, name: str = "shared") -> Federation:
        """Give a federation of four agencies; the same name, the same federation."""
        if name not in self._made:
            self._made[name] = found(self.scratch(name))
        return self._made[name]

    def scratch(self, name: str) -> Path:
        """Give a folder."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def serials(self, number: int) -> int:
        """Give the first of so many serial numbers that no bulletin of this run has."""
        first, self._serial = self._serial, self._serial + number
        return first
