"""What a witness keeps: no cosignature without a durable write, and no way back to anything shorter."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from audit.log.lock import Cosigned
from audit.log.sqlite_witness import SqliteWitnessState
from audit.note.checkpoint import Checkpoint
from keys.errors import IntegrityError, UnavailableError
from tests.audit.witness.witness_world import ORIGIN, SECOND, TIME, GrowingLog, branch, make_witness, refused


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(40)


def test_a_missing_file_is_never_made_anew(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key)
    witness.add_checkpoint(log.request(0))
    witness.state.close()
    for path in tmp_path.glob("witness.db*"):
        path.rename(path.with_suffix(".away"))
    with pytest.raises(IntegrityError, match="is missing"):
        witness.add_checkpoint(log.request(40))
    with pytest.raises(IntegrityError, match="is missing"):
        SqliteWitnessState(tmp_path / "witness.db")
    with pytest.raises(IntegrityError, match="exists already"):
        SqliteWitnessState.create(tmp_path / "witness.away")


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "witness.db").write_bytes(b"no database, " * 100)
    with pytest.raises(IntegrityError):
        SqliteWitnessState(tmp_path / "witness.db")


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file be written beyond its first byte, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_cosignature_follows_a_failed_write_nor_a_second_one(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key)
    witness.add_checkpoint(log.request(0, 9))
    with full_disk():
        for _ in range(2):
            with pytest.raises(IntegrityError, match=r"witness\.db"):
                witness.add_checkpoint(log.request(9, 40))
    known = witness.state.cosigned(ORIGIN)
    assert known is not None
    assert known.size == 9
    assert witness.add_checkpoint(log.request(9, 40))  # control: with room again


class LateError(SqliteWitnessState):
    """A state whose write takes effect, and fails all the same."""

    def swap(self, known: Cosigned | None, new: Checkpoint, note: str, clock_s: Callable[[], int]) -> int | None:
        super().swap(known, new, note, clock_s)
        raise IntegrityError("the disk says that it failed")


def test_an_error_that_comes_back_although_the_write_took_effect_gives_no_cosignature_and_no_way_back(
    tmp_path: Path, log: GrowingLog
) -> None:
    good = make_witness(tmp_path / "witness.db", log.key)
    good.add_checkpoint(log.request(0, 9))
    with pytest.raises(IntegrityError):
        replace(good, state=LateError(tmp_path / "witness.db")).add_checkpoint(log.request(9, 30))
    answer = refused(good, log.request(9, 40))
    assert (answer.status, answer.size) == (409, 30)  # it was seen, so nothing shorter is cosigned any more
    assert refused(good, branch(40, 20).request(30)).status == 422
    assert good.add_checkpoint(log.request(30, 30))
    assert good.add_checkpoint(log.request(30, 40))


def test_a_file_that_another_process_holds_is_busy_not_broken(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key)
    witness.add_checkpoint(log.request(0, 9))
    witness.state._connection.set_busy_timeout(10)
    other = apsw.Connection(str(tmp_path / "witness.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        witness.add_checkpoint(log.request(9, 40))
    other.execute("ROLLBACK")
    assert witness.add_checkpoint(log.request(9, 40))


def test_row_62_a_restored_witness_cosigns_no_branch(tmp_path: Path, log: GrowingLog) -> None:
    """A node's home comes back from a backup; its lock, with what it cosigned, is the one from the disk."""
    lock, backup = tmp_path / "lock.db", tmp_path / "backup.db"
    witness = make_witness(lock, log.key)
    witness.add_checkpoint(log.request(0, 20))
    witness.state.close()
    backup.write_bytes(lock.read_bytes())
    witness.add_checkpoint(log.request(20, 40))
    witness.state.close()
    other = branch(40, 25)
    restored = make_witness(lock, log.key)  # everything else is as old as the backup; this file is not
    assert refused(restored, other.request(20)).conflict is not None
    assert refused(restored, branch(50, 25).request(40)).status == 422
    control = make_witness(backup, log.key)  # the control: had the file been in the backup, the branch were cosigned
    assert control.add_checkpoint(other.request(20))


def test_the_state_refuses_to_go_back_or_to_another_log(tmp_path: Path, log: GrowingLog) -> None:
    state = SqliteWitnessState.create(tmp_path / "witness.db")
    assert state.swap(None, log.checkpoint(20), "note", lambda: TIME) == TIME
    known = state.cosigned(ORIGIN)
    assert known == Cosigned(origin=ORIGIN, size=20, root=log.tree.root(20), note="note")
    with pytest.raises(IntegrityError):
        state.swap(known, log.checkpoint(19), "note", lambda: TIME)
    other = GrowingLog(origin=SECOND).grow(30)
    with pytest.raises(IntegrityError):
        state.swap(known, other.checkpoint(), "note", lambda: TIME)
    assert state.swap(None, log.checkpoint(30), "note", lambda: TIME) is None  # not at *known* any more
    assert state.cosigned(ORIGIN) == known
