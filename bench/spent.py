"""What a piece of work takes: seconds by the clock, and CPU microseconds a bulletin, which a busy machine hardly moves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.table import median_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One round of one side."""

    seconds: float
    cpu_us: float  # a bulletin


class Rounds:
    """Rounds of product and of bound or rival, in turn, and the figures that a row has of them."""

    def __init__(self, number: int, rival_number: int | None = None) -> None:
        self._number, self._rival_number = number, rival_number or number
        self._pairs: list[tuple[Spent, Spent]] = []

    def add(self, product: Spent, rival: Spent) -> None:
        """Keep a round of each."""
        self._pairs.append((product, rival))

    @property
    def product(self) -> float:
        """Return the product's bulletins a second in the middle round."""
        return self._number / self._middle()[0].seconds

    @property
    def rival(self) -> float:
        """Return the other's bulletins a second in the middle round."""
        return self._rival_number / self._middle()[1].seconds

    @property
    def cpu_us(self) -> float:
        """Return the product's CPU microseconds a bulletin."""
        return median(product.cpu_us for product, _ in self._pairs)

    @property
    def rival_cpu_us(self) -> float:
        """Return the other's CPU microseconds a bulletin."""
        return median(rival.cpu_us for _, rival in self._pairs)

    @property
    def cpu_share(self) -> float:
        """Return the other's CPU over the product's, round by round."""
        return median_ratio((rival.cpu_us, product.cpu_us) for product, rival in self._pairs)

    def _middle(self) -> tuple[Spent, Spent]:
        ordered = sorted(self._pairs, key=lambda pair: pair[1].cpu_us / pair[0].cpu_us)
        return ordered[len(ordered) // 2]


def cpu_of(process: int) -> float:
    """Return the CPU seconds of another process and of its children that ended."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def spent(work: Callable[[], object], number: int, cpu: Callable[[], float] = time.process_time) -> Spent:
    """Run something once.

    Args:
        work: For so many bulletins.
        number: Of bulletins.
        cpu: Returns the CPU seconds that everybody who counts has used until now.
    """
    began_cpu, began = cpu(), time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return Spent(seconds=seconds, cpu_us=(cpu() - began_cpu) / number * 1e6)
