"""Runs the independent reader where nothing of ours can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LIBRARIES = ("cryptography", "nacl", "cffi", "pycparser")
READER = Path(__file__).parent / "reader.py"

Read = Callable[[dict[str, Any]], dict[str, Any]]


def link_libraries(folder: Path) -> None:
    """Make a folder that holds the two libraries that the reader uses, and what they need."""
    folder.mkdir()
    site = Path(sysconfig.get_path("platlib"))
    for path in [site / name for name in LIBRARIES] + list(site.glob("_cffi_backend*")):
        if path.exists():
            (folder / path.name).symlink_to(path)


def start_reader(cwd: Path, job: dict[str, Any], *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run the reader alone: isolated, without site-packages, with these folders to import from."""
    words = [sys.executable, "-I", "-S", str(READER), *map(str, folders)]
    return subprocess.run(words, input=json.dumps(job), capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that hands one job to the reader, isolated, in an empty folder."""
    libraries, empty = tmp_path / "libraries", tmp_path / "empty"
    empty.mkdir()
    link_libraries(libraries)

    def run(job: dict[str, Any]) -> dict[str, Any]:
        done = start_reader(empty, job, libraries)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run
