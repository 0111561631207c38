"""What a benchmark says: one row a figure, with the bound or rival it was measured beside and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

HEADINGS = (
    "what",
    "product",
    "bound or rival",
    "share",
    "must",
    "aim",
    "p50 ms",
    "p99 ms",
    "CPU µs: product / bound",
    "bound's share of CPU",
    "MiB",
    "calls",
)
MORE, LESS = "more", "less"  # whether a larger figure is a better one


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``share`` is what *must* and *aim* are about: a ratio, or the figure itself."""

    what: str
    unit: str = "/s"  # of product and bound
    product: float | None = None
    bound: float | None = None
    share: float | None = None
    share_unit: str = ""  # empty: a ratio
    must: float | None = None
    aim: float | None = None
    better: str = MORE
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: float | None = None  # a bulletin, of all that the row times
    bound_cpu_us: float | None = None  # the bound's; unlike rates these two hardly feel a busy machine
    memory_mib: float | None = None
    product_calls: Mapping[str, float] = field(default_factory=dict)  # a bulletin
    bound_calls: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return whether it is within the aim, within the must, or short of both."""
        if self.share is None or self.must is None:
            return ""
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "must" if self._reaches(self.must) else "SHORT"

    def _reaches(self, figure: float) -> bool:
        assert self.share is not None
        return self.share >= figure if self.better == MORE else self.share <= figure

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


def not_measured(what: str, reason: str, **asked: Any) -> Row:
    """Make the row of something that this machine lacks; a figure is never invented."""
    return Row(what=what, note=f"not measured: {reason}", **asked)


def per(calls: Mapping[str, int], number: int) -> dict[str, float]:
    """Return calls a bulletin."""
    return {name: round(count / number, 2) for name, count in calls.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of *values* lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the median of ratios of pairs that were measured one right after the other."""
    return median(one / two for one, two in pairs)


def markdown(rows: Sequence[Row]) -> str:
    """Write the table; call counts and notes stand below it."""
    lines = ["| " + " | ".join(HEADINGS) + " | |", "|" + "---|" * (len(HEADINGS) + 1)]
    notes = []
    for number, row in enumerate(rows, 1):
        lines.append("| " + " | ".join(_cells(row)) + f" | {row.verdict} |")
        if row.product_calls:
            notes.append(f"{number}. {row.what}: {_calls(row)}")
        if row.note:
            notes.append(f"{number}. {row.what}: {row.note}")
    return "\n".join([*lines, "", *notes])


def _cells(row: Row) -> list[str]:
    calls = f"{sum(row.product_calls.values()):.0f} / {sum(row.bound_calls.values()):.0f}" if row.product_calls else ""
    return [
        row.what,
        _figure(row.product, row.unit),
        _figure(row.bound, row.unit),
        _figure(row.share, row.share_unit),
        _figure(row.must, row.share_unit),
        _figure(row.aim, row.share_unit),
        _figure(row.p50_ms),
        _figure(row.p99_ms),
        _figure(row.cpu_us) + (f" / {_figure(row.bound_cpu_us)}" if row.bound_cpu_us else ""),
        _figure(row.bound_cpu_us / row.cpu_us) if row.cpu_us and row.bound_cpu_us else "",
        _figure(row.memory_mib),
        calls,
    ]


def _calls(row: Row) -> str:
    both = (f"{name} {row.product_calls.get(name, 0):g}/{row.bound_calls.get(name, 0):g}" for name in row.product_calls)
    return "calls a bulletin, product/bound: " + ", ".join(both)


def _figure(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text + (unit if unit.startswith("/") else f" {unit}" if unit else "")
