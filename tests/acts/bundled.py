"""The auditor's commands as processes of their own, as tests of bundles type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def exchange(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}
    command = [*more.pop("before", ()), sys.executable, "-m", "exchange", "audit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)


def verify(path: Path, *words: object, before: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    command = [*before, sys.executable, "-m", "audit.cli", "verify", "--json", str(path), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def unpacked(bundle: Path, folder: Path) -> Path:
    with tarfile.open(bundle) as file:
        file.extractall(folder, filter="data")
    return folder
