"""``python -m bench [NAME…] [--json] [--full]``: measure, print the table, fail if a count is wrong."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from bench.setting import Setting
from bench.table import Row, markdown

# In the order of the table; each is a module of this package with ``measure(setting) -> list[Row]``.
NAMES = (
    "ingest",
    "whole_job_rpc",
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
    asked = parser.parse_args()
    unknown = set(asked.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="exchange-bench-", dir="/var/tmp") as folder:
        setting = Setting(folder=Path(folder), full=asked.full)
        for name in asked.names or NAMES:
            began = time.monotonic()
            rows += importlib.import_module(f"bench.{name}").measure(setting)
            print(f"bench: {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(json.dumps([row.as_json() for row in rows], indent=1) if asked.json else markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
