"""The auditor's commands as tests type them: without network, here or in a process of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

from audit.cli.main import audit
from keys.cli import ending
from tests.support.running import type_line

ROOT = Path(__file__).resolve().parents[3]
OFFLINE = """
import socket, sys
def refuse(event, args):
    if event.startswith("socket."):
        raise RuntimeError("the network was touched: " + event)
sys.addaudithook(refuse)
from audit.cli.main import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"grpc", "rich", "structlog", "protovalidate", "exchange"} & set(sys.modules)
    assert not heavy, heavy
"""


OFFLINE_THREADS: set[int] = set()  # threads that may not touch the network now


def _refuse(event: str, arguments: object) -> None:
    if event.startswith("socket.") and threading.get_ident() in OFFLINE_THREADS:
        raise RuntimeError(f"the network was touched: {event}")


sys.addaudithook(_refuse)  # for ever, as the interpreter has it


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Type a line in this process, without network; each interpreter of its own would cost more than most commands."""
    typed = list(map(str, words))
    OFFLINE_THREADS.add(threading.get_ident())
    try:
        with contextlib.chdir(cwd or ROOT):
            done = type_line(typed, lambda line: ending.run(audit, line, "exchange-audit"))
    finally:
        OFFLINE_THREADS.clear()
    return subprocess.CompletedProcess(typed, done.code, done.out, done.err)


def run_alone(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Type a line in a process of its own, which may load nothing of the program that writes logs."""
    command = [sys.executable, "-c", OFFLINE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)
