"""The file of CPU figures: what each row's product takes, relative to its bound in the same run.

Both were measured minutes apart on one machine, so that their quotient holds on another one. ``make bench`` brings the
rows that it measured up to date; ``make bench-check`` measures again and compares with what is committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.table import Row

PATH = Path(__file__).with_name("figures.json")
WORSE = 1.15  # so much more CPU for the same bound is no noise
CHECKED = ("ingest", "unary", "whole_job_rpc", "recipients")  # benchmarks whose CPU a bulletin is compared

Figures = dict[str, dict[str, float]]


def of(rows: Iterable[Row]) -> Figures:
    """Return the figures of those rows that have the CPU of a product and of a bound."""
    return {
        row.what: {
            "cpu_us": round(row.cpu_us, 1),
            "bound_cpu_us": round(row.bound_cpu_us, 1),
            "relative": round(row.cpu_us / row.bound_cpu_us, 3),
        }
        for row in rows
        if row.cpu_us and row.bound_cpu_us
    }


def load(path: Path = PATH) -> Figures:
    """Return what the file says; nothing where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def keep(rows: Iterable[Row], path: Path = PATH) -> None:
    """Bring the rows that were measured up to date; the others stay as they are."""
    path.write_text(json.dumps(load(path) | of(rows), indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def worse(found: Figures, committed: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each row that takes 15 % more than the committed one, relative to its bound."""
    return [
        f"{what}: {figures['relative']:.3f} times its bound, committed {committed[what]['relative']:.3f}"
        for what, figures in found.items()
        if what in committed and figures["relative"] > WORSE * committed[what]["relative"]
    ]
