"""Every fast way stands beside its law, is taken, and is turned off by one switch."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    str(path.relative_to(ROOT)) for top in ("keys", "audit", "exchange") for path in (ROOT / top).rglob("*_fast.py")
)
# Something for each of them to do, by its law; what was entered is printed.
WORK = """
import json, sys, tempfile
from pathlib import Path
from audit.entry.bodies import encode_bodies
from audit.entry.entry import Body, Kind
from audit.verify.entry_run import verify_run
from exchange.records.bulletin import parse_bulletin
from keys.signer import Ed25519Signer
from keys.identity import Usage
from tests.audit.forge import chain, sign, write_log
from tests.audit.store import first_bodies
from tests.support.samples import bulletin

def work(folder):
    parse_bulletin(bulletin("05").SerializeToString(deterministic=True))
    bodies = encode_bodies([Body(kind=Kind.HEARTBEAT, count=1)] * 300, 0)
    entries = chain([*(body.encode() for body in first_bodies()), *bodies])
    write_log(folder, entries, sign(entries, Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(32))))
    assert not verify_run(folder, len(entries), 0, 2).findings

entered = set()
sys.setprofile(lambda frame, event, _: entered.add(frame.f_code.co_filename) if event == "call" else None)
with tempfile.TemporaryDirectory() as name:
    work(Path(name) / "log")
sys.setprofile(None)
print(json.dumps(sorted(entered)))
"""


def entered(plain: str) -> list[str]:
    """Return the fast ways that are taken where the switch is so."""
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=ROOT,
        env={**os.environ, "EXCHANGE_PLAIN": plain},
        capture_output=True,
        text=True,
        check=True,
    )
    files = [Path(name) for name in json.loads(done.stdout)]
    return sorted(str(path.relative_to(ROOT)) for path in files if path.name.endswith("_fast.py"))


def test_without_the_switch_every_fast_way_is_taken() -> None:
    assert entered("") == FILES


def test_the_switch_turns_every_fast_way_off() -> None:
    assert entered("1") == []


@pytest.mark.parametrize("name", FILES)
def test_a_fast_way_stands_beside_its_law_and_says_so(name: str) -> None:
    law = ROOT / name.replace("_fast.py", ".py")
    assert law.is_file()
    told = ast.get_docstring(ast.parse((ROOT / name).read_text())) or ""
    assert told.startswith("The fast way to ")
    assert f"The law is ``{law.stem}``. This may only" in told
    (test,) = (ROOT / "tests").rglob(f"test_{Path(name).name}")  # where the two are compared
    assert "SCALE" in test.read_text()
