"""How fast an auditor verifies a node's log offline: the published files alone, every step, both cores."""

from __future__ import annotations

import os
import time

from audit.outside import Outside
from audit.tiles import TileFolder
from audit.verify import verify_log
from bench.federation import SENDER, opened
from bench.filling import fill
from bench.large_log import FULL, QUICK
from bench.setting import Setting
from bench.table import Row

TIMES = 3


def measure(setting: Setting) -> list[Row]:
    """Fill a log, let the node publish its files, verify them."""
    made = setting.federation("large")
    home = made.home(SENDER)
    fill(home, f"{SENDER.lower()}.bench.example/log/1", FULL if setting.full else QUICK)
    with opened(made, SENDER) as node:
        key = node.vkey
    folder = home / "log"
    took = []
    size = 0
    for _ in range(TIMES):
        began = time.perf_counter()
        note = Outside(name="checkpoint", data=TileFolder(folder).note().encode())
        report = verify_log(folder, key=key, outside=(note,), processes=os.cpu_count() or 1)
        took.append(time.perf_counter() - began)
        size = report.size or 0
        if report.verdict != "verified":
            raise RuntimeError(f"the log is {report.verdict}")
    rate = size / min(took) / 1e6
    what = f"verify {size:,} entries offline, {os.cpu_count()} processes"
    note_full = "best of three" + ("" if setting.full else f"; --full takes {FULL:,}")
    return [Row(what=what, unit="M/s", product=rate, share=rate, share_unit="M/s", must=0.5, aim=0.7, note=note_full)]
