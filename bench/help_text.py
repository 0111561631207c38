"""How long a person waits for ``exchange --help`` and ``exchange-audit --help``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.setting import Setting
from bench.table import LESS, Row, not_measured

TIMES = 20
ASKED: dict[str, Any] = {"must": 100, "aim": 60, "better": LESS, "share_unit": "ms", "unit": "ms"}


def measure(setting: Setting) -> list[Row]:
    """Run the installed commands twenty times, and an interpreter that does nothing beside each."""
    return [_row(name) for name in ("exchange", "exchange-audit")]


def _row(name: str) -> Row:
    command = Path(sys.executable).with_name(name)
    if not command.exists():
        return not_measured(f"{name} --help", "the command is not installed", **ASKED)
    product, empty = [], []
    for _ in range(TIMES):
        product.append(_milliseconds([str(command), "--help"]))
        empty.append(_milliseconds([sys.executable, "-c", ""]))
    took = median(product)
    return Row(what=f"{name} --help", product=took, bound=median(empty), share=took, p50_ms=took, **ASKED)


def _milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1e3
