"""The auditor's commands, as tests of bundles type them: here, or as processes of their own.

To start an interpreter and to load the program costs more than most commands do, so they run in the test's process, end
as they always do, and are a process only where that is what the test is about.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.cli.main import audit
from audit.note.checkpoint import parse_note
from audit.tiles.bundle_folder import BundleFolder
from audit.tiles.bundle_readme import readme
from audit.tiles.tar import write
from keys.cli import ending
from tests.support.running import Typed, type_line

ROOT = Path(__file__).resolve().parents[3]
HOME = "HK-IMMD"  # whose bundle it is
OTHER_SETTINGS = (
    {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"},
    {"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242"},
    {"LC_ALL": "POSIX", "TZ": "America/St_Johns", "PYTHONHASHSEED": "1", "PYTHONUTF8": "1"},
)


def exchange(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """Type ``exchange audit``; *more* (``before``, ``env``, ``stdin``) makes it a process of its own."""
    typed = ["audit", *map(str, words)]
    return process("exchange", typed, **more) if more else _ended(typed, type_line(typed))


def verify(path: Path, *words: object, before: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    """Type ``exchange-audit verify --json``; words *before* it make it a process of its own."""
    typed = ["verify", "--json", str(path), *map(str, words)]
    if before:
        done = process("audit.cli.main", typed, before=before)
    else:
        done = _ended(typed, type_line(typed, lambda line: ending.run(audit, line, "exchange-audit")))
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def process(
    module: str,
    words: list[str],
    *,
    before: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    stdin: Any = None,
) -> subprocess.CompletedProcess[str]:
    """Start a program of ours with other words before it, another environment or another input."""
    command = [*before, sys.executable, "-m", module, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, stdin=stdin, check=False)


def _ended(words: list[str], typed: Typed) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(words, typed.code, typed.out, typed.err)


def unpacked(bundle: Path, folder: Path) -> Path:
    """Unpack member by member: Debian's Python 3.11.2 knows no `filter` of `extractall`, which later ones ask for."""
    with tarfile.open(bundle) as file:
        for member in file:
            content = file.extractfile(member)
            assert content is not None
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    return folder


def remade(members: dict[str, bytes], folder: Path, bundle: Path) -> Path:
    """Write a bundle of altered members, with the README that fits them: what a forger would do."""
    checkpoint = parse_note(members["checkpoint"].decode()).checkpoint
    first, end = BundleFolder(bundle).stored(checkpoint.size)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(members.items()) if name != "README"}
    members = {**members, "README": readme(checkpoint, first, end, digests).encode()}
    path = folder / "remade.audit"
    with path.open("wb") as out:
        write(out, sorted(members.items()))
    return path
