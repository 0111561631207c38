"""How fast an auditor verifies a log offline, bodies included, beside ``git fsck`` and aics-tlog in the same run.

The product runs on all cores, the rivals as they are: one process each, and neither reads what an entry says. git is
given commits in a chain, each with a message as long as an entry.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from bench import watching
from bench.log_files import Mixture, large_mixture, node_mixture, write_log
from bench.setting import Setting
from bench.table import LESS, Row, not_measured

ORIGIN = "bench.bench.example/log/1"
FULL, QUICK, LONG = 1_000_000, 280_000, 10_000_000  # entries
RIVALS = 100_000  # entries or commits given to a rival: they are slower, and their rate does not depend on it
TIMES = 3
TLOG = Path(".venv/tlog/bin/python")
AUDIT = """
import json, sys, time
from aics_tlog import FileSystemTileReader, audit_tiles, parse_checkpoint, parse_note
began, folder = time.perf_counter(), sys.argv[1]
checkpoint = parse_checkpoint(parse_note(open(folder + "/checkpoint", "rb").read()).text)
report = audit_tiles(FileSystemTileReader(folder), checkpoint.size, checkpoint.root)
print(json.dumps({"rate": report.size / (time.perf_counter() - began)}))
"""


def measure(setting: Setting) -> list[Row]:
    """Verify logs of two mixtures and, if asked, a long one; then the rivals."""
    size = FULL if setting.full else QUICK
    large = _log(setting, "large-entries", large_mixture, size)
    rivals = _log(setting, "rival-entries", large_mixture, RIVALS)
    best, tlog, git, peak, bare = 0.0, 0.0, 0.0, 0.0, 0.0
    for _ in range(TIMES):  # in turn, so that a noisy minute hits all of them
        rate, mib = _verify(large)
        best, peak = max(best, rate), max(peak, mib)
        tlog, git, bare = max(tlog, _tlog(rivals)), max(git, _git(setting)), max(bare, _bare(large))
    mean = sum(f.stat().st_size for f in (large / "tile/entries").rglob("*") if f.is_file()) / size - 2
    shutil.rmtree(large)
    said = f"best of three; entries of {mean:.0f} bytes" + ("" if setting.full else f"; --full takes {FULL:,}")
    what = f"verify {size:,} entries offline, {os.cpu_count()} processes"
    rows = [
        Row(what=what, unit="M/s", product=best / 1e6, share=best / 1e6, share_unit="M/s", must=0.65, aim=0.75,
            memory_mib=peak, note=said),
        Row(what=f"{what}: memory", unit="MiB", product=peak, share=peak, share_unit="MiB", must=150, aim=100,
            better=LESS),
        _beside("aics-tlog audit_tiles", best, tlog),
        _beside("git fsck --full", best, git),
        Row(what="verify, entries/s of the product / hashing alone", product=best, bound=bare, share=best / bare,
            note="leaf and node hashes in this interpreter's tightest loop, as many processes, nothing read or checked"),
        _mixture(setting, size),
    ]  # fmt: skip
    return [*rows, _long(setting)] if setting.full else rows


def _beside(rival: str, best: float, rate: float) -> Row:
    what = f"verify, entries/s of the product / {rival}"
    if not rate:
        return not_measured(what, "not installed", must=1)
    return Row(what=what, product=best, bound=rate, share=best / rate, must=1, aim=2)


def _mixture(setting: Setting, size: int) -> Row:
    folder = _log(setting, "node-entries", node_mixture, size)
    rate = max(_verify(folder)[0] for _ in range(TIMES))
    shutil.rmtree(folder)
    return Row(what=f"verify {size:,} entries as a node writes them", unit="M/s", product=rate / 1e6, share=rate / 1e6,
               share_unit="M/s", must=0.7, aim=1, note="entries of 184 bytes, references and answers among them")  # fmt: skip


def _long(setting: Setting) -> Row:
    folder = _log(setting, "long", node_mixture, LONG)
    rate, peak = _verify(folder)
    shutil.rmtree(folder)
    return Row(what=f"verify {LONG:,} entries: memory", unit="MiB", product=peak, share=peak, share_unit="MiB", must=150,
               aim=100, better=LESS, note=f"{rate / 1e6:.2f} M/s")  # fmt: skip


def _log(setting: Setting, name: str, mixture: Mixture, size: int) -> Path:
    folder = setting.scratch(name)
    write_log(folder, ORIGIN, size, mixture)
    return folder


def _verify(folder: Path) -> tuple[float, float]:
    told, peak = watching.run("bench.verify_process", str(folder), str(os.cpu_count() or 1))
    return told["size"] / told["seconds"], peak


def _bare(folder: Path) -> float:
    """Return the entries a second that hashing alone would allow."""
    return float(watching.run("bench.verify_hashing", str(folder), str(os.cpu_count() or 1))[0]["rate"])


def _tlog(folder: Path) -> float:
    """Return aics-tlog's entries a second; 0 without it."""
    if not TLOG.exists():
        return 0.0
    done = subprocess.run([TLOG, "-I", "-c", AUDIT, str(folder)], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["rate"])


def _git(setting: Setting) -> float:
    """Return git's commits a second; 0 without it."""
    if shutil.which("git") is None:
        return 0.0
    folder = setting.scratch("git")
    if not (folder / "HEAD").exists():
        subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
        commits = b"".join(_commit(number) for number in range(RIVALS))
        subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=commits, check=True)
    began = time.perf_counter()
    subprocess.run(["git", "-C", str(folder), "fsck", "--full"], check=True, capture_output=True)
    return RIVALS / (time.perf_counter() - began)


def _commit(number: int) -> bytes:
    message = os.urandom(150).hex().encode()
    return b"commit refs/heads/log\ncommitter a <a@b> %d +0000\ndata %d\n%s\n" % (number, len(message), message)
