"""A disk error at every write of the writing order, once and twice in a row, before or after the write took effect.

After the first error nothing is signed; what was acknowledged is there at the next start, after a clean end and after
a crash; and every checkpoint that was ever signed is one of the log that goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.log.log import verify_entries
from audit.note.checkpoint import Checkpoint, parse_note
from keys.errors import UnavailableError
from tests.exchange.node.failing_disk import AFTER, BEFORE, Disk, failing_disk
from tests.exchange.node.writer_bench import BEFORE as MADE
from tests.exchange.node.writer_bench import Bench
from tests.support.home_files import DATABASE, LOCK
from tests.support.scale import SCALE

BEATS = 4  # entries that are tried
FILES = (DATABASE, LOCK)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with failing_disk() as made:
        yield made


def signed_by(bench: Bench) -> list[Checkpoint]:
    return [
        parse_note(f"{frame.decode()}\n— {bench.log.origin} AAAAAAAAAAAAAAAA\n").checkpoint
        for frame in bench.signer.signed
    ]


def beat(bench: Bench) -> int:
    """Write entries until an error; return how many were acknowledged."""
    acknowledged = 0
    for _ in range(BEATS):
        try:
            bench.beat()
        except UnavailableError:
            continue
        acknowledged += 1
    return acknowledged


def copy_of(home: Path, crash: Path) -> Path:
    """Copy the files as a crash at this moment leaves them, without what SQLite keeps in shared memory."""
    crash.mkdir()
    for name in FILES:
        for suffix in ("", "-wal"):
            if (home / f"{name}{suffix}").exists():
                shutil.copy(home / f"{name}{suffix}", crash)
    return crash


def start_again(home: Path, signed: list[Checkpoint], acknowledged: int) -> int:
    """Check what a new start finds; return its size."""
    with Bench(home) as bench:
        size = bench.size
        assert size >= MADE + acknowledged, "an acknowledged entry was lost"
        verify_entries(bench.store.reader(), 0, size, bench.log.genesis)
        for checkpoint in signed:
            assert checkpoint.size <= size, "something was signed that is not there"
            assert bench.log.root(checkpoint.size) == checkpoint.root, "a fork was signed"
        assert bench.beat() == size
    return size


def writes_of(tmp_path: Path, disk: Disk) -> int:
    """Count the writes of a sound run: the control."""
    (tmp_path / "template").mkdir()
    with Bench(tmp_path / "template"):
        pass
    shutil.copytree(tmp_path / "template", tmp_path / "sound")
    with Bench(tmp_path / "sound") as bench:
        disk.fail(0, 0, BEFORE, lambda: None)
        assert beat(bench) == BEATS
        assert len(bench.signer.signed) == BEATS
        writes = disk.writes
        assert (
            start_again(copy_of(tmp_path / "sound", tmp_path / "sound-copy"), signed_by(bench), BEATS) == MADE + BEATS
        )
    return writes


@pytest.mark.parametrize(("turn", "times", "when"), [(0, 1, BEFORE), (1, 1, AFTER), (2, 2, BEFORE), (3, 2, AFTER)])
def test_nothing_is_signed_after_a_disk_error_at_any_write(
    turn: int, times: int, when: str, tmp_path: Path, disk: Disk
) -> None:
    """A soak takes every write; else the four kinds of error take turns."""
    writes = writes_of(tmp_path, disk)
    assert writes > 3 * BEATS
    turn = 0 if SCALE > 1 else turn
    took_effect = 0
    for first in sorted({*range(1 + turn, writes + 1, 1 if SCALE > 1 else 4), writes}):  # the last is the lock's
        home = shutil.copytree(tmp_path / "template", tmp_path / f"home-{first}")
        with Bench(home) as bench:
            at_error: list[int] = []
            disk.fail(first, times, when, lambda bench=bench, told=at_error: told.append(len(bench.signer.signed)))
            acknowledged = beat(bench)
            disk.heal()
            assert disk.broken
            assert bench.writer.failure is not None, f"the error at write {first} was not noticed"
            assert len(bench.signer.signed) == at_error[0] == acknowledged, f"signed after the error at write {first}"
            with pytest.raises(UnavailableError):
                bench.beat()  # not even when the disk is well again
            signed = signed_by(bench)
            crash = copy_of(home, tmp_path / f"crash-{first}")
        took_effect += start_again(crash, signed, acknowledged) > MADE + acknowledged
        start_again(home, signed, acknowledged)
        shutil.rmtree(home)
        shutil.rmtree(crash)
    assert took_effect, "no error came after the state was durable: the harness did not reach the lock"
