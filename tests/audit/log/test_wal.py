"""Room in a write-ahead log changes neither what is in it nor what a crash leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw

from audit.log.wal import STEP, make_room


def _open(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    return connection


def _rows(path: Path) -> list[int]:
    connection = _open(path)
    try:
        return [row[0] for row in connection.execute("SELECT value FROM numbers ORDER BY value")]
    finally:
        connection.close()


def test_what_was_committed_before_and_after_room_was_made_survives_a_crash(tmp_path: Path) -> None:
    """A copy of the files while they are open is what a crash leaves."""
    path, crashed = tmp_path / "a.db", tmp_path / "crashed.db"
    connection = _open(path)
    connection.execute("CREATE TABLE numbers (value INTEGER)")
    for value in range(600):
        if value % 200 == 100:
            make_room(path, 4 * STEP)
        connection.execute("INSERT INTO numbers VALUES (?)", (value,))
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    connection.close()
    assert Path(f"{crashed}-wal").stat().st_size > 2 * STEP
    assert _rows(crashed) == list(range(600))


def test_room_alone_in_a_log_is_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = _open(path)
    connection.execute("CREATE TABLE numbers (value INTEGER)")
    connection.execute("INSERT INTO numbers VALUES (7)")
    connection.close()
    Path(f"{path}-wal").touch()
    make_room(path)
    assert _rows(path) == [7]


def test_room_is_only_appended_and_only_up_to_the_limit(tmp_path: Path) -> None:
    wal = tmp_path / "a.db-wal"
    wal.write_bytes(b"frames")
    for _ in range(3):
        make_room(tmp_path / "a.db", 2 * STEP)
    assert wal.read_bytes() == b"frames" + bytes(2 * STEP)


def test_a_database_without_a_write_ahead_log_is_left_alone(tmp_path: Path) -> None:
    make_room(tmp_path / "a.db")
    assert not list(tmp_path.iterdir())
