"""One verification in a process of its own: ``python -m bench.verify_process FOLDER PROCESSES``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from audit.note.checkpoint import parse_verifier_key
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.verify import verify_log


def main(folder: Path, processes: int) -> None:
    """Verify every step, the log's own checkpoint standing for one from outside."""
    tiles = TileFolder(folder)
    note = ExternalCheckpoint(name="checkpoint", data=tiles.note().encode())
    began = time.perf_counter()
    report = verify_log(folder, key=parse_verifier_key(tiles.key_text()), external=(note,), processes=processes)
    took = time.perf_counter() - began
    if report.verdict != "verified":
        raise RuntimeError(f"the log is {report.verdict}")
    print(json.dumps({"size": report.size, "seconds": took}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
