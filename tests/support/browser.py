"""A real browser, headless and without network, that opens a page from a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

WAIT_MS = 30_000  # of the page's own time; the browser does not sleep through it


@dataclass(frozen=True)
class Opened:
    """What became of a page."""

    dom: str
    console: tuple[str, ...]  # messages and errors
    requests: tuple[str, ...]  # URLs that are no file's


@cache
def chromium() -> str:
    """Find the browser, or skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium here: pages are not opened in a browser")
    return found


@cache
def _alone() -> list[str]:
    """A network of its own with nobody in it, where we may make one."""
    unshare = shutil.which("unshare")
    if unshare and os.geteuid() == 0 and subprocess.run([unshare, "-n", "true"], check=False).returncode == 0:
        return [unshare, "-n"]
    return []


def open_page(page: Path, work: Path, fragment: str = "", shot: Path | None = None) -> Opened:
    """Open a page and wait until its programs are done."""
    log = work / "net.json"
    arguments = [
        *(*_alone(), chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={work / 'profile'}", f"--log-net-log={log}", "--enable-logging=stderr"),
        *(f"--virtual-time-budget={WAIT_MS}", *([f"--screenshot={shot}"] if shot else ["--dump-dom"])),
        f"{page.resolve().as_uri()}{fragment}",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    console = tuple(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
    return Opened(done.stdout, console, _requests(log))


def _requests(log: Path) -> tuple[str, ...]:
    """The URLs that pages asked for; the browser's own housekeeping names no initiator."""
    text = log.read_text()
    events = json.loads(text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}")["events"]
    found = [each["params"] for each in events if "url" in each.get("params", {}) and "initiator" in each["params"]]
    return tuple(each["url"] for each in found if each["initiator"] != "not an origin")
