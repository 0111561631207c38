"""The auditor's commands need neither a network nor the program that wrote the log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.bundles import make
from tests.support.world import Desk, advisory

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("grpc", "rich", "structlog", "protovalidate", "exchange", "asyncio")

# A program that may not open a socket, runs the command, and says which of the heavy packages it loaded.
PROGRAM = f"""
import sys
def refuse(event, arguments):
    if event.startswith("socket."):
        raise SystemExit("a socket was opened")
sys.addaudithook(refuse)
from audit.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code or 0
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print("loaded:", *loaded)
sys.exit(code)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [("--help",), ("verify", "--help"), ("show", "--help"), ("prove", "--help"), ("compare", "--help")]
)
def test_help_loads_nothing_heavy_and_opens_no_socket(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded:\n"), done.stdout[-200:]


def test_a_nodes_own_log_is_verified_without_network_and_without_the_node(tmp_path: Path) -> None:
    desk = Desk("HK-IMMD", tmp_path / "home")
    desk.publish(advisory("HK-IMMD", "TH-DSI"))
    key = str(desk.node.vkey)
    desk.close()
    done = run("verify", "--json", str(tmp_path / "home"), "--key", key)
    assert done.returncode == 7, done.stdout + done.stderr  # no outside checkpoint was given
    assert '"verdict": "verified, end not anchored"' in done.stdout
    assert done.stdout.endswith("loaded:\n")


def test_a_bundle_is_verified_and_compared_without_network_and_without_the_node(tmp_path: Path) -> None:
    desk = Desk("HK-IMMD", tmp_path / "home")
    desk.publish(advisory("HK-IMMD", "TH-DSI"))
    key = str(desk.node.vkey)
    desk.close()
    bundle = make(tmp_path / "home/log", tmp_path / "x.audit")
    done = run("verify", "--json", str(bundle), "--key", key)
    assert done.returncode == 7, done.stdout + done.stderr
    assert '"name": "bundle"' in done.stdout
    assert done.stdout.endswith("loaded:\n")
    done = run("compare", "--json", str(bundle), str(tmp_path / "home"))
    assert (done.returncode, done.stdout.count("a second log of HK-IMMD")) == (2, 1)
    assert done.stdout.endswith("loaded:\n")


def test_control_a_program_that_opens_a_socket_is_caught() -> None:
    program = PROGRAM.replace("from audit.cli.main import main", "import socket; socket.socket()")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "a socket was opened" in done.stderr
