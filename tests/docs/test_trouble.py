"""What an operator's guide promises of trouble: the right file, the right words, the right exit code."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from exchange.demo.world import PASSPHRASE_FILE, found_world
from exchange.node.config import CONFIG_FILE
from keys.keystore import NODE_FILE
from keys.roster import load_signed, roster_digest
from keys.words import words
from tests.support.home_files import DATABASE, LOCK
from tests.support.running import Typed, type_line

DAY_US = 86_400_000_000


def make_home(folder: Path, at_us: int) -> Path:
    world = found_world(folder, now_us=at_us, random_bytes=os.urandom, names=("HK-SB", "TH-DSI"))
    world.reserved_ports.close()
    return folder / "HK-SB"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("world"), time.time_ns() // 1000)


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path / "world")
    return tmp_path / "world" / made.name


def typed(home: Path, *line: str) -> Typed:
    with (home / PASSPHRASE_FILE).open("rb") as secret:
        return type_line(["node", *line, "--home", str(home), "--passphrase-fd", str(secret.fileno())])


def init(home: Path, agency: str, manifest: Path, sheet: Path) -> Typed:
    roster = home.parent / "roster"
    told = " ".join(words(roster_digest(load_signed(roster))))
    files = ["--roster", str(roster), "--manifest", str(manifest), "--key-sheet", str(sheet)]
    return type_line(["node", "init", "--home", str(home), "--agency", agency, "--words", told, *files])


def unmake(home: Path) -> None:
    for name in (DATABASE, LOCK, CONFIG_FILE):
        (home / name).unlink()


def test_a_node_is_not_made_with_another_agencys_code_or_records(home: Path) -> None:
    unmake(home)
    own, other = (home / "manifest", home / "key-sheet"), home.parent / "TH-DSI"
    code = init(home, "TH-DSI", other / "manifest", other / "key-sheet")
    assert code.code == 2
    assert "tls.der is the certificate of node.hk-sb." in code.err
    assert "the manifest is TH-DSI's, not HK-SB's" in init(home, "HK-SB", other / "manifest", own[1]).err
    assert "the key sheet is TH-DSI's, not HK-SB's" in init(home, "HK-SB", own[0], other / "key-sheet").err
    swapped = init(home, "HK-SB", own[1], own[0])
    assert (swapped.code, "key-sheet is a key sheet, not a manifest" in swapped.err) == (2, True)
    assert not (home / DATABASE).exists()
    assert init(home, "HK-SB", *own).code == 0


def test_a_home_without_keys_is_no_home(home: Path, tmp_path: Path) -> None:
    empty = home.parent / "empty"
    empty.mkdir()
    told = init(empty, "HK-SB", home / "manifest", home / "key-sheet")
    assert (told.code, f"empty/{NODE_FILE}" in told.err) == (5, True)


def test_a_key_file_that_others_may_read_is_named_with_its_mode(home: Path) -> None:
    (home / NODE_FILE).chmod(0o644)
    told = typed(home, "serve")
    assert told.code == 4
    assert f"{home / NODE_FILE} has mode 0644" in told.err
    assert f"chmod 600 {home / NODE_FILE}" in told.err


def test_a_record_that_is_known_is_adopted_again_without_complaint(home: Path) -> None:
    told = typed(home, "adopt", str(home.parent / "TH-DSI/key-sheet"), str(home.parent / "TH-DSI/manifest"))
    assert (told.code, told.err) == (0, "")
    assert told.out == "known before: manifest 1 of TH-DSI\nknown before: key sheet 1 of TH-DSI\n"


def test_a_clock_behind_the_log_is_said_to_be_that(tmp_path: Path) -> None:
    home = make_home(tmp_path / "world", time.time_ns() // 1000 + DAY_US)
    for line in ("serve", "adopt"):
        files = [str(home.parent / "TH-DSI/manifest")] if line == "adopt" else []
        told = typed(home, line, *files)
        assert told.code == 6
        assert "this machine's clock is 86" in told.err
        assert "set the clock" in told.err
    found = typed(home, "check")
    assert found.code == 6
    assert "FAIL  clock" in found.out
    assert found.out.index("clock") < found.out.index("database")


def test_another_agencys_settings_are_found_by_the_examination(home: Path) -> None:
    config = home / CONFIG_FILE
    config.write_text(config.read_text().replace('agency = "HK-SB"', 'agency = "TH-DSI"'))
    found = typed(home, "check")
    assert found.code == 6
    assert "they are HK-SB's, and node.toml says TH-DSI" in found.out
