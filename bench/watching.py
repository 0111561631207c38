"""Run a program and watch how much memory it and its children take together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 0.05
ROOT = Path(__file__).resolve().parents[1]


def run(module: str, *arguments: str) -> tuple[dict[str, Any], float]:
    """Run ``python -m MODULE …``; give the JSON object that it prints and the peak in MiB.

    Pages that two processes share are counted once (the kernel's PSS).
    """
    command = [sys.executable, "-m", module, *arguments]
    peak = 0.0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        while True:
            try:
                told, _ = child.communicate(timeout=INTERVAL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, sum(_pss_kib(pid) for pid in _family(child.pid)) / 1024)
    if child.returncode:
        raise RuntimeError(f"{module} ended with {child.returncode}")
    answer: dict[str, Any] = json.loads(told)
    return answer, peak


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in _family(int(child)))]


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
