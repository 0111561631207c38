"""How long it takes to verify what ten thousand entries have added to a log since yesterday's checkpoint."""

from __future__ import annotations

import shutil
import time

from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.incremental import verify_incremental
from bench.log_files import SIGNER, large_mixture, write_log
from bench.setting import Setting
from bench.table import LESS, Row, percentile
from bench.verify_log import FULL, ORIGIN, QUICK

NEW, TIMES = 10_000, 7


def measure(setting: Setting) -> list[Row]:
    """Verify from an older checkpoint on."""
    size = FULL if setting.full else QUICK
    folder = setting.scratch("re-audit")
    key = write_log(folder, ORIGIN, size, large_mixture)
    root = TileFolder(folder).tree(size).root(size - NEW)
    older = sign_checkpoint(Checkpoint(origin=ORIGIN, size=size - NEW, root=root), SIGNER)
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        report = verify_incremental(folder, key=key, old=ExternalCheckpoint(name="yesterday", data=older.encode()))
        took.append((time.perf_counter() - began) * 1e3)
        if report.exit_code == 6 or report.anchored != size - NEW:
            raise RuntimeError(f"the log is {report.verdict}")
    shutil.rmtree(folder)
    best, middle = min(took), percentile(took, 0.5)
    what = f"re-audit {size:,} entries from a checkpoint {NEW:,} entries old"
    return [
        Row(what=what, unit="ms", product=middle, share=best, share_unit="ms", must=100, aim=50, better=LESS,
            p50_ms=middle, note="one process; the share is the best of seven"),
    ]  # fmt: skip
