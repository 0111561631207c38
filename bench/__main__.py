"""``python -m bench [NAME…] [--quick | --full] [--check] [--json]``: measure, print the table, keep the CPU figures.

It fails if a count is wrong or, with ``--check``, if a row takes 15 % more CPU than the committed figures say.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench import figures
from bench.setting import Setting
from bench.table import Row, markdown

# In the order of the table; each is a module of this package with ``measure(setting) -> list[Row]``.
NAMES = (
    "whole_job_rpc",
    "ingest",
    "unary",
    "whole_job",
    "classical",
    "gnupg",
    "redis_streams",
    "latency",
    "followers",
    "large_log",
    "verify_log",
    "re_audit",
    "receipt_ready",
    "witness",
    "cosigned",
    "receipt_size",
    "recipients",
    "help_text",
    "oracle",
)


def main() -> int:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures as shares of bounds, same run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--full", action="store_true", help="a million log entries, a hundred thousand bulletins")
    parser.add_argument("--quick", action="store_true", help="2 KiB only and fewer rounds: under a minute a name")
    parser.add_argument("--check", action="store_true", help="compare the CPU figures with the committed; keep none")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    rows = _rows(asked.names or (figures.CHECKED if asked.check else NAMES), full=asked.full, quick=asked.quick)
    print(json.dumps([row.as_json() for row in rows], indent=1) if asked.json else markdown(rows))
    if not asked.check:
        figures.keep(rows)
        return 0
    worse = figures.worse(figures.of(rows), figures.load())
    for said in worse:
        print(f"bench: worse: {said}", file=sys.stderr)
    return 1 if worse else 0


def _rows(names: Iterable[str], *, full: bool, quick: bool) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="exchange-bench-", dir="/var/tmp") as folder:
        setting = Setting(folder=Path(folder), full=full, quick=quick)
        for name in names:
            began = time.monotonic()
            rows += importlib.import_module(f"bench.{name}").measure(setting)
            print(f"bench: {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows


if __name__ == "__main__":
    sys.exit(main())
