"""The integrator's example does what it says, as a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exchange.demo.world import OFFICER, PASSPHRASE_FILE
from tests.support.running import note, running

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/integrator.py"


def test_twenty_lines_publish_and_subscribe(tmp_path: Path) -> None:
    with running(tmp_path / "world", ("HK-SB", "TH-DSI")) as federation:
        with federation.client("TH-DSI") as other:
            sent = other.publish(note("For the system", "HK-SB", originator="TH-DSI"))
            federation.await_received(other, sent)
        (tmp_path / "note.yaml").write_bytes(note("From the system", "TH-DSI"))
        home = federation.home("HK-SB")
        command = [sys.executable, str(EXAMPLE), str(home), OFFICER, "note.yaml", str(home / PASSPHRASE_FILE)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            lines = [program.stdout.readline() for _ in range(2)]
            program.terminate()
        assert lines[0].startswith("published HK-SB/LIA/")
        assert lines[1] == f"received {sent.number} from TH-DSI/{OFFICER}\n"
        with federation.client("TH-DSI") as other:
            assert any(item.sender == "HK-SB" for item in other.inbox())


def test_it_is_twenty_lines() -> None:
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    if len(code) > 20:
        pytest.fail(f"{len(code)} lines")
