"""A passphrase is asked for after every fact that could make it useless.

Each command is given a descriptor that nobody can read: a command that asked first would end with that.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from exchange.demo.world import found_world
from exchange.node.home import occupy
from keys.refusals import row_of
from tests.support.running import Typed, type_line

CLOSED = "987"  # no descriptor of ours
A, B = "HK-SB", "TH-DSI"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two agencies whose nodes do not run, and another one that is in no roster."""
    folder = tmp_path_factory.mktemp("late") / "world"
    world = found_world(folder, now_us=time.time_ns() // 1000, random_bytes=os.urandom, names=(A, B))
    world.reserved_ports.close()
    return folder


def typed(*words: object) -> Typed:
    return type_line([*map(str, words), "--passphrase-fd", CLOSED])


def refused(answer: Typed, code: int, text: str) -> None:
    assert text in answer.err, answer.both
    assert "descriptor" not in answer.both
    assert answer.code == code


def test_control_a_command_that_asks_says_that_nobody_answers(folder: Path) -> None:
    for words in (
        ("node", "serve", "--home", folder / A),
        ("node", "check", "--home", folder / A),
        ("keys", "make", "manifest", "--home", folder / A, "--roster", folder / "roster", "-o", folder / "m"),
        ("unlock", "--home", folder / A),
    ):
        answer = typed(*words)
        assert f"descriptor {CLOSED} cannot be read" in answer.err, answer.both


NEEDS_HOME = {
    "serve": ("node", "serve"),
    "check": ("node", "check"),
    "adopt": ("node", "adopt", "RECORD"),
    "recover": ("node", "recover", "--from-peers"),
    "backup": ("node", "backup", "-o", "new"),
    "renewal-request": ("node", "renewal-request", "-o", "new"),
    "inbox": ("inbox",),
    "outbox": ("outbox",),
    "unlock": ("unlock",),
    "sheet": ("keys", "make", "sheet", "--roster", "ROSTER", "-o", "new"),
    "manifest": ("keys", "make", "manifest", "--roster", "ROSTER", "-o", "new"),
    "request": ("keys", "make", "request", "-o", "new"),
    "officer": ("keys", "make", "officer", "ann"),
    "sign": ("keys", "sign", "roster", "ROSTER", "--yes"),
}


def named(folder: Path, words: tuple[str, ...]) -> list[object]:
    files: dict[str, object] = {"RECORD": folder / B / "manifest", "ROSTER": folder / "roster", "new": folder / "new"}
    return [files.get(word, word) for word in words]


@pytest.mark.parametrize("name", NEEDS_HOME)
def test_a_home_that_is_missing_is_told_first(folder: Path, tmp_path: Path, name: str) -> None:
    answer = typed(*named(folder, NEEDS_HOME[name]), "--home", tmp_path / "nowhere")
    refused(answer, 5, "nowhere")


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "make", "sheet", "--roster", "ROSTER"),
        ("keys", "make", "manifest", "--roster", "ROSTER"),
        ("keys", "make", "request"),
        ("node", "backup"),
    ],
    ids=lambda words: "-".join(words[:3]),
)
def test_an_output_that_is_there_is_told_first(folder: Path, words: tuple[str, ...]) -> None:
    refused(typed(*named(folder, words), "--home", folder / A, "-o", folder / "roster"), 2, "it is there already")


def test_an_agency_whose_folder_is_there_is_told_first(folder: Path) -> None:
    words = ("keys", "make", "agency", "--agency", A, "--federation", "exercise.example", "-o", folder / A)
    refused(typed(*words), 2, "it is there already")


@pytest.mark.parametrize("name", ["serve", "recover"])
def test_a_node_that_runs_is_told_first(folder: Path, name: str) -> None:
    occupied = occupy(folder / A)
    try:
        refused(typed(*NEEDS_HOME[name], "--home", folder / A), 69, "a node is running here already")
    finally:
        os.close(occupied)


def test_a_port_that_another_program_has_is_told_first(folder: Path) -> None:
    text = (folder / A / "node.toml").read_text()
    address = next(line.split('"')[1] for line in text.splitlines() if line.startswith("desk"))
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))):
        refused(typed("node", "serve", "--home", folder / A), 69, f"cannot listen on {address}: another program has it")


@pytest.mark.parametrize(("file", "name"), [("node.keys", "serve"), ("sealing.keys", "serve"), ("node.keys", "check")])
def test_a_key_file_that_is_missing_or_open_to_others_is_told_first(
    folder: Path, tmp_path: Path, file: str, name: str
) -> None:
    shutil.copytree(folder / A, tmp_path / A)
    path = tmp_path / A / file
    path.chmod(0o644)
    answer = typed(*NEEDS_HOME[name], "--home", tmp_path / A)
    refused(answer, 4, f"{path} has mode 0644")
    path.unlink()
    answer = typed(*NEEDS_HOME[name], "--home", tmp_path / A)
    assert file in answer.both
    assert "descriptor" not in answer.both
    assert answer.code in (5, 6)


def test_a_key_file_that_is_cut_short_is_told_first(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / A, tmp_path / A)
    path = tmp_path / A / "node.keys"
    os.truncate(path, 20)
    answer = typed("node", "serve", "--home", tmp_path / A)
    assert str(path) in answer.err
    assert "descriptor" not in answer.both


def test_a_roster_without_this_agency_is_told_first(folder: Path, tmp_path: Path) -> None:
    world = found_world(
        tmp_path / "other", now_us=time.time_ns() // 1000, random_bytes=os.urandom, names=("HK-IMMD", B)
    )
    world.reserved_ports.close()
    common = ("--home", tmp_path / "other" / "HK-IMMD", "--roster", folder / "roster", "-o", tmp_path / "new")
    for what in ("manifest", "sheet"):
        refused(typed("keys", "make", what, *common), 8, "HK-IMMD does not take part in roster 1")
    common = ("--home", tmp_path / "other" / B, "--roster", folder / "roster", "-o", tmp_path / "new")
    refused(typed("keys", "make", "manifest", *common), 8, f"the roster names another root of {B}")
    sign = ("keys", "sign", "roster", folder / "roster", "--yes", "--home", tmp_path / "other" / B)
    refused(
        typed(*sign),
        row_of("SIGNER_UNKNOWN").exit_code,
        f"the root of {B} in {tmp_path / 'other' / B} does not stand in this roster",
    )
