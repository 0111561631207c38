"""Founding by typed commands: an interrupted one leaves nothing, and the twelve words can be read and refused."""

from __future__ import annotations

import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MADE = ("root/root.keys", "node.keys", "sealing.keys", "application", "officers/duty/officer.keys")
RUN = "from exchange.cli.main import main; main()"


def agency(output: Path, *more: str) -> list[str]:
    words = ["--agency", "HK-SB", "--federation", "exercise.example", "--officer", "duty", "--windows", "2", "--floor"]
    return [sys.executable, "-c", RUN, "keys", "make", "agency", *words, "-o", str(output), *more]


def left(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_an_agency_is_made_whole_also_into_a_folder_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "hk").mkdir()
    done = subprocess.run(
        agency(tmp_path / "hk", "--passphrase-fd", "0"), input=b"correct horse\n", capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "hk" / name).exists() for name in MADE)
    assert left(tmp_path) == ["hk"]
    assert (tmp_path / "hk").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_agency_whose_making_was_cut_off_is_not_there_and_can_be_made_again(
    tmp_path: Path, number: signal.Signals
) -> None:
    """It is cut off as soon as the root's file is written, between two files."""
    child = subprocess.Popen(
        agency(tmp_path / "hk", "--passphrase-fd", "0"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdin is not None
    child.stdin.write(b"correct horse\n")
    child.stdin.close()
    end = time.monotonic() + 60
    while not (tmp_path / ".hk.new" / "root" / "root.keys").exists():
        assert time.monotonic() < end
        assert child.poll() is None
    child.send_signal(number)
    child.wait(30)
    assert not (tmp_path / "hk").exists()
    if number == signal.SIGINT:
        assert left(tmp_path) == []
    done = subprocess.run(
        agency(tmp_path / "hk", "--passphrase-fd", "0"), input=b"correct horse\n", capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert left(tmp_path) == ["hk"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    def full() -> None:  # no file may become longer than that, as on a disk without room
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        agency(tmp_path / "hk", "--passphrase-fd", "0"), input=b"correct horse\n", capture_output=True, preexec_fn=full
    )
    assert done.returncode == 2, done.stderr
    assert b"File too large" in done.stderr
    assert left(tmp_path) == []


def roster(folder: Path) -> Path:
    subprocess.run(
        agency(folder / "hk", "--passphrase-fd", "0"), input=b"correct horse\n", check=True, capture_output=True
    )
    (folder / "catalogue").mkdir()
    (folder / "catalogue/policy.yaml").write_text("schema_minor: 0\n")
    words = ["keys", "make", "roster", "hk/application", "--catalogue", "catalogue", "-o", "roster"]
    subprocess.run([sys.executable, "-c", RUN, *words], cwd=folder, check=True, capture_output=True)
    return folder / "roster"


def test_no_to_the_words_ends_in_8_and_signs_nothing(tmp_path: Path) -> None:
    path = roster(tmp_path)
    before = path.read_bytes()
    words = ["keys", "sign", "roster", str(path), "--home", str(tmp_path / "hk")]
    done = subprocess.run([sys.executable, "-c", RUN, *words], input=b"n\n", capture_output=True)
    assert done.returncode == 8
    assert b"these are not the words that you were told" in done.stderr
    assert path.read_bytes() == before


def test_on_a_terminal_no_line_of_the_words_is_wider_than_80_columns(tmp_path: Path) -> None:
    path = roster(tmp_path)
    words = ["keys", "sign", "roster", str(path), "--home", str(tmp_path / "hk")]
    reading, writing = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", RUN, *words], stdin=writing, stdout=writing, stderr=writing)
    told, end = b"", time.monotonic() + 60
    while b"[y/N]" not in told:
        assert select.select([reading], [], [], max(0.0, end - time.monotonic()))[0], told
        told += os.read(reading, 4096)
    os.write(reading, b"n\n")
    child.wait(30)
    os.close(writing)
    os.close(reading)
    lines = told.decode().splitlines()
    assert max(map(len, lines)) <= 80
    at = next(number for number, line in enumerate(lines) if line.endswith("its words are:"))
    assert [len(line.split()) for line in lines[at + 1 : at + 3]] == [6, 6]
    piped = subprocess.run([sys.executable, "-c", RUN, *words], input=b"n\n", capture_output=True)
    assert " ".join(lines[at + 1].split() + lines[at + 2].split()).encode() in piped.stderr  # one line for programs
