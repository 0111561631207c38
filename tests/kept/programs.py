"""Programs of several releases, each run as processes of its own: this one, and older ones out of the history."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.kept.make import Program

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("exchange", "keys", "audit")
_RUN = "import sys; from exchange.cli.main import main; sys.argv[0] = 'exchange'; main()"


def present() -> Program:
    """Return the program under test."""
    return Program((sys.executable, "-c", _RUN), {**os.environ, "PYTHONPATH": str(ROOT)})


def of_commit(commit: str, folder: Path) -> Program:
    """Take a release out of the history, with the libraries of the present one: whole clones alone have it."""
    made = subprocess.run(["git", "archive", commit, *PACKAGES], cwd=ROOT, capture_output=True)
    assert not made.returncode, (
        f"{made.stderr.decode()}: a clone with its whole history is needed: git fetch --unshallow"
    )
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extraction_filter = lambda member, _: member
        archive.extractall(folder)
    return Program((sys.executable, "-c", _RUN), {**os.environ, "PYTHONPATH": str(folder)})
