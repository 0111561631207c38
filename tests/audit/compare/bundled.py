"""The auditor's commands as processes of their own, as tests of bundles type them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from audit.note.checkpoint import parse_note
from audit.tiles.bundle_folder import BundleFolder
from audit.tiles.bundle_readme import readme
from audit.tiles.tar import write

ROOT = Path(__file__).resolve().parents[3]
HOME = "HK-IMMD"  # whose bundle it is
OTHER_SETTINGS = (
    {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"},
    {"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4242"},
    {"LC_ALL": "POSIX", "TZ": "America/St_Johns", "PYTHONHASHSEED": "1", "PYTHONUTF8": "1"},
)


def exchange(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}
    command = [*more.pop("before", ()), sys.executable, "-m", "exchange", "audit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)


def verify(path: Path, *words: object, before: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    command = [*before, sys.executable, "-m", "audit.cli.main", "verify", "--json", str(path), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


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
