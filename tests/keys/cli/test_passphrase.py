"""One rule for passphrases in files, whichever group of commands reads them: a file that made keys opens them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.cli.options import CREDENTIAL, read_passphrase
from keys.cli.options import Passphrases
from keys.cli.passphrase import MAX_PASSPHRASE_BYTES, all_passphrases, first_passphrase, passphrases_in
from keys.errors import RefusedError
from keys.key_files import load_node, load_officer, load_root
from tests.keys.cli.test_main import good, typed

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def descriptor(data: bytes) -> Iterator[int]:
    reading, work = os.pipe()
    os.write(work, data)
    os.close(work)
    yield reading
    os.close(reading)


def by_keys(data: bytes) -> bytes:
    """Return what ``exchange keys`` takes, for the first holder."""
    with descriptor(data) as reading, click.Context(click.Command("x")):
        return Passphrases.taken(reading)("root")


def by_exchange(data: bytes) -> bytes:
    """Return what all other commands take."""
    with descriptor(data) as reading:
        return read_passphrase(reading, "x")


def by_credential(data: bytes, folder: Path) -> bytes:
    """Return what a service takes that systemd starts."""
    (folder / CREDENTIAL).write_bytes(data)
    code = "import sys; from exchange.cli.options import read_passphrase as r; sys.stdout.buffer.write(r(None, 'x'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CREDENTIALS_DIRECTORY": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (b"correct horse", b"correct horse"),
        (b"correct horse\n", b"correct horse"),
        (b"correct horse\r\n", b"correct horse"),
        (b"correct horse\n\n", b"correct horse"),
        (b"correct horse\r\n\r\n", b"correct horse"),
        (b" correct horse \n", b" correct horse "),
        (b"correct\rhorse\r\r\n", b"correct\rhorse\r"),
        (b"correct horse\r", b"correct horse\r"),
        (b"correct horse\nbattery\n", b"correct horse"),
        ("ประโยครหัส".encode() + b"\r\n", "ประโยครหัส".encode()),
    ],
)
def test_every_command_takes_the_same_from_a_file(data: bytes, taken: bytes, tmp_path: Path) -> None:
    assert by_keys(data) == by_exchange(data) == by_credential(data, tmp_path) == taken


LINE = st.binary(max_size=40).map(lambda line: line.replace(b"\0", b""))


@given(st.lists(LINE, min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"]))
def test_any_file_gives_every_command_the_same_or_none(lines: list[bytes], end: bytes) -> None:
    came = []
    for read in (by_keys, by_exchange):
        try:
            came.append(read(end.join(lines)))
        except RefusedError as error:
            came.append(str(error).split(" ", 3)[3].encode())  # after the descriptor's number
    assert came[0] == came[1]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0\ufeff", codec="utf-8"), min_size=1, max_size=20)))
def test_lines_come_back_as_they_were_written_under_either_end(lines: list[str]) -> None:
    wanted = [line.encode() for line in lines]
    for end in (b"\n", b"\r\n"):
        if wanted:
            assert passphrases_in(end.join([*wanted, b""]), "x") == wanted
            assert passphrases_in(end.join(wanted), "x") == wanted


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no passphrase"),
        (b"\n", "holds no passphrase"),
        (b"\r\n", "holds no passphrase"),
        (b"\ncorrect horse\n", "holds no passphrase"),
        ("correct horse\r\n".encode("utf-16"), "is no plain text: save it as UTF-8, without a byte order mark"),
        ("correct horse\r\n".encode("utf-16-be"), "is no plain text: save it as UTF-8, without a byte order mark"),
        ("correct horse\n".encode("utf-8-sig"), "is no plain text: save it as UTF-8, without a byte order mark"),
        (b"x" * (MAX_PASSPHRASE_BYTES + 1) + b"\n", "holds more than 1,024 lines, or one of over 1,024 bytes"),
        (b"x" * 5000, "holds more than 1,024 lines, or one of over 1,024 bytes"),
    ],
)
def test_what_is_no_passphrase_is_refused_by_every_command(data: bytes, said: str) -> None:
    for read in (by_keys, by_exchange):
        with pytest.raises(RefusedError, match=r"^file descriptor \d+ " + said) as caught:
            read(data)
        assert caught.value.code == "UNOPENABLE"


def test_the_longest_passphrase_is_taken_whole_under_either_end() -> None:
    longest = b"x" * MAX_PASSPHRASE_BYTES
    for end in (b"", b"\n", b"\r\n"):
        assert by_keys(longest + end) == by_exchange(longest + end) == longest


def test_a_first_line_is_taken_without_waiting_for_the_end() -> None:
    """Somebody types it: nothing ends the descriptor."""
    reading, work = os.pipe()
    os.write(work, b"correct horse\r\n")
    assert first_passphrase(reading) == b"correct horse"
    os.close(work)
    os.close(reading)


def test_a_file_of_too_many_lines_is_refused() -> None:
    with descriptor(b"x\n" * 1024) as reading:
        assert len(all_passphrases(reading)) == 1024  # control
    with descriptor(b"x\n" * 1025) as reading, pytest.raises(RefusedError, match="holds more than 1,024 lines"):
        all_passphrases(reading)


def test_a_descriptor_that_is_not_open_is_wrong_use() -> None:
    for read in (first_passphrase, all_passphrases):
        with pytest.raises(click.UsageError, match="descriptor 1000 cannot be read: Bad file descriptor"):
            read(1000)


def test_keys_that_a_file_made_are_opened_by_the_same_file(tmp_path: Path) -> None:
    """Its lines end as another system writes them; each holder has one of its own."""
    home, lines = tmp_path / "HK-SB", b"one\r\ntwo\r\nthree\r\n"
    people = ("--federation", "exercise.example", "--officer", "duty", "-o", home, "--floor", "--windows", 1)
    good("make", "agency", "--agency", "HK-SB", *people, lines=lines)
    load_root(home, by_exchange(b"one\r\n"))
    load_node(home, by_exchange(b"two\r\n"))
    load_officer(home, "duty", by_exchange(b"three\r\n"))
    with pytest.raises(RefusedError, match="does not open"):
        load_root(home, b"one\r")  # control


def test_a_blank_line_is_no_holders_passphrase(tmp_path: Path) -> None:
    home = tmp_path / "HK-SB"
    where = ("--federation", "exercise.example", "-o", home, "--floor", "--windows", 1, "--passphrase-fd", "{fd}")
    done = typed("make", "agency", "--agency", "HK-SB", *where, lines=b"one\n\n")
    assert (done.exit_code, "the line for node holds no passphrase" in done.stderr) == (4, True), done.stderr
