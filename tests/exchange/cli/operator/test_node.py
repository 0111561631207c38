"""A node that is examined says what is wrong and what to do; a home is never made twice."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from exchange.demo.world import PASSPHRASE_FILE, found_world
from tests.support.home_files import LOCK
from tests.support.running import Typed, type_line


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two agencies whose nodes do not run."""
    world = found_world(
        tmp_path / "world", now_us=time.time_ns() // 1000, random_bytes=os.urandom, names=("HK-SB", "TH-DSI")
    )
    world.reserved_ports.close()
    shutil.move(world.folder / "HK-SB" / "root", world.folder / "HK-SB.root")  # as its makers were told
    return world.folder / "HK-SB"


def _check(home: Path, secret: bytes | None = None, *more: str) -> Typed:
    reading, work = os.pipe()
    os.write(work, secret if secret is not None else (home / PASSPHRASE_FILE).read_bytes())
    os.close(work)
    try:
        return type_line(["node", "check", "--home", str(home), "--passphrase-fd", str(reading), *more])
    finally:
        os.close(reading)


def test_a_peer_that_does_not_run_ends_with_7_and_says_so(home: Path) -> None:
    typed = _check(home)
    assert typed.code == 7
    assert "FAIL  TH-DSI" in typed.out
    assert "→" in typed.out


def test_the_examination_as_json_is_one_object(home: Path) -> None:
    typed = _check(home, None, "--json")
    told = json.loads(typed.out)
    assert (typed.code, told["ok"]) == (7, False)
    assert [each["number"] for each in told["findings"]] == list(range(1, len(told["findings"]) + 1))
    assert {each["result"] for each in told["findings"]} <= {"ok", "WARN", "FAIL"}


def test_the_roots_keys_on_the_node_end_with_6_and_say_where_they_lie(home: Path) -> None:
    shutil.move(home.parent / "HK-SB.root", home / "root")
    typed = _check(home)
    assert typed.code == 6
    assert f"FAIL  root      {home}/root: the root's keys lie on the node" in typed.out
    assert f"→ move {home}/root to a machine that is never connected" in typed.out


def test_a_missing_lock_ends_with_6(home: Path) -> None:
    (home / LOCK).unlink()
    typed = _check(home)
    assert typed.code == 6
    assert LOCK in typed.out


def test_a_wrong_passphrase_is_not_a_sick_node(home: Path) -> None:
    assert _check(home, b"wrong\n").code in (4, 6)


def test_status_needs_no_key_and_no_running_node(home: Path) -> None:
    typed = type_line(["node", "status", "--json", "--home", str(home)])
    told = json.loads(typed.out)
    assert (typed.code, told["agency"], told["process"], told["sent"]) == (0, "HK-SB", None, 0)


def test_a_node_is_not_made_twice(home: Path) -> None:
    roster, manifest, sheet = home.parent / "roster", home / "manifest", home / "key-sheet"
    from keys.roster import load_signed, roster_digest, words

    told = " ".join(words(roster_digest(load_signed(roster))))
    before = {path: path.read_bytes() for path in home.iterdir() if path.is_file()}
    typed = type_line(
        [
            *("node", "init", "--home", str(home), "--agency", "HK-SB", "--roster", str(roster)),
            *("--manifest", str(manifest), "--key-sheet", str(sheet), "--words", told),
        ]
    )
    assert typed.code in (2, 6)
    assert before == {path: path.read_bytes() for path in home.iterdir() if path.is_file()}


def test_an_officer_is_enrolled_only_with_the_roster_that_was_compared(home: Path) -> None:
    roster = str(home.parent / "roster")
    typed = type_line(
        ["node", "enrol", "--home", str(home), "--as", "duty-1", "--roster", roster, "--words", "one two three"]
    )
    assert typed.code == 8
    assert "go no further" in typed.err


def test_without_words_and_without_a_person_nobody_is_enrolled(home: Path) -> None:
    roster = str(home.parent / "roster")
    typed = type_line(["node", "enrol", "--home", str(home), "--as", "duty-1", "--roster", roster])
    assert typed.code == 2
