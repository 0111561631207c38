"""How long a person waits for ``exchange --help``."""

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
ASKED: dict[str, Any] = {"must": 150, "aim": 60, "better": LESS, "share_unit": "ms", "unit": "ms"}


def measure(setting: Setting) -> list[Row]:
    """Run the installed command twenty times, and an interpreter that does nothing beside it."""
    command = Path(sys.executable).with_name("exchange")
    if not command.exists():
        return [not_measured("exchange --help", "the command is not installed", **ASKED)]
    product, empty = [], []
    for _ in range(TIMES):
        product.append(_milliseconds([str(command), "--help"]))
        empty.append(_milliseconds([sys.executable, "-c", ""]))
    took = median(product)
    return [Row(what="exchange --help", product=took, bound=median(empty), share=took, p50_ms=took, **ASKED)]


def _milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1e3
