"""What benchmarks of one run share: a folder on a real disk, the scale, and federations made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.federation import Federation, found
from bench.machine import Machine

SIZES = {"2 KiB": 2048, "8 KiB": 8192}  # of the encoded bulletin


@dataclass(slots=True)
class Setting:
    """One run."""

    folder: Path  # not on a memory file system: flushes must reach a disk
    full: bool = False
    quick: bool = False
    _made: dict[str, Federation] = field(default_factory=dict)
    _machine: Machine | None = None
    _serial: int = 1

    @property
    def rounds(self) -> int:
        """Return how often product and bound take turns; medians of ratios, because a shared machine is noisy."""
        return 3 if self.quick else 5

    @property
    def sizes(self) -> dict[str, int]:
        """Return the sizes of bulletins to measure, by name."""
        return {name: size for name, size in SIZES.items() if not self.quick or size == min(SIZES.values())}

    @property
    def machine(self) -> Machine:
        """Return the fixed piece of work that says how fast this machine is."""
        if self._machine is None:
            self._machine = Machine(self.scratch("machine"))
        return self._machine

    def federation(self, name: str = "shared") -> Federation:
        """Return a federation of four agencies; the same name, the same federation."""
        if name not in self._made:
            self._made[name] = found(self.scratch(name))
        return self._made[name]

    def scratch(self, name: str) -> Path:
        """Return a folder."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def serials(self, number: int) -> int:
        """Return the first of so many serial numbers that no bulletin of this run has."""
        first, self._serial = self._serial, self._serial + number
        return first
