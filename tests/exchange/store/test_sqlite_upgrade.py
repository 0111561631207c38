"""An older file is brought up alone, with a copy beside it, whole or not at all; a newer one is refused in a sentence."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from audit.entry.entry import Body, Entry, Kind
from exchange.store import sqlite_migrations
from exchange.store.sqlite import SqliteStore
from exchange.store.sqlite_upgrade import copies
from keys.cli.failure import failure_of
from keys.errors import IntegrityError, UnavailableError
from tests.exchange.store.rows import stored

NEWEST = sqlite_migrations.NEWEST
COUNT = 60  # bulletins


def make_older(path: Path) -> None:
    """Make a file of schema 1 with bulletins in it, as the first program left it."""
    old = apsw.Connection(str(path))
    old.pragma("journal_mode", "wal")
    old.execute(sqlite_migrations.schema(1))
    for index in range(1, COUNT + 1):
        facts, row = stored(index).facts, stored(index)
        body = Body(kind=Kind.RECEIVED, retain_until_day=20_000 + index, retention_rule=6)
        entry = Entry(previous=bytes(32), index=index, time_us=1, body=body.encode()).encode()
        old.execute("INSERT INTO entries VALUES (?,?,?)", (index, entry, bytes(32)))
        values = (index, row.sender, row.bulletin_id, row.statement_digest, facts.kind, facts.number, facts.tlp)
        more = (facts.classification, facts.urgency, facts.status, facts.reply_due_ms, facts.expires_ms)
        old.execute(
            f"INSERT INTO bulletins VALUES ({','.join('?' * 16)})",
            (*values, *more, int(facts.not_understood), row.at_ms, 0, 0),
        )
        old.execute("INSERT INTO contents VALUES (?,?,?,?,?)", (index, b"d", b"b", b"w", b"canary%03d" % index))
    old.pragma("user_version", 1)
    old.close()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    make_older(tmp_path / "node.db")
    return tmp_path / "node.db"


def rows_of(path: Path) -> dict[str, list[Any]]:
    """Read every table of a file, as it stands."""
    connection = apsw.Connection(str(path))
    tables = [name for kind, name, _ in sqlite_migrations.described(connection) if kind == "table"]
    found = {name: sorted(connection.execute(f'SELECT * FROM "{name}"')) for name in tables}
    connection.close()
    return found


def version_of(path: Path) -> int:
    connection = apsw.Connection(str(path))
    version = int(connection.pragma("user_version"))
    connection.close()
    return version


def test_a_file_that_is_brought_up_leaves_a_copy_of_what_it_was(older: Path) -> None:
    before = rows_of(older)
    SqliteStore(older).close()
    assert version_of(older) == NEWEST
    [copy] = copies(older)
    assert copy.name == f"node.db.before-{NEWEST}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert version_of(copy) == 1
    assert rows_of(copy) == before
    SqliteStore(older).close()  # opened again, it is not brought up again
    assert copies(older) == [copy]


def test_the_copy_takes_the_place_of_the_file_and_is_brought_up_again(older: Path) -> None:
    SqliteStore(older).close()
    whole = rows_of(older)
    shutil.copyfile(copies(older)[0], older)
    SqliteStore(older).close()
    assert rows_of(older) == whole
    assert len(copies(older)) == 1


def test_no_file_is_brought_up_while_somebody_else_has_it_open(older: Path) -> None:
    other = apsw.Connection(str(older))
    other.execute("SELECT count(*) FROM bulletins").fetchall()  # as an older program's node, which runs
    with pytest.raises(UnavailableError, match="another process has it open") as raised:
        SqliteStore(older)
    assert "stop the node that still runs the older program" in str(raised.value.hint)  # type: ignore[attr-defined]
    other.execute("INSERT INTO meta VALUES ('written', x'01')")  # and it goes on
    other.close()
    assert version_of(older) == 1
    assert copies(older) == []
    SqliteStore(older).close()
    assert version_of(older) == NEWEST


def test_a_disk_without_room_for_a_copy_changes_nothing(older: Path) -> None:
    whole = rows_of(older)
    os.truncate(older, shutil.disk_usage(older.parent).free)  # sparse: it takes no room, and a copy would
    with pytest.raises(UnavailableError, match="MiB beside it") as raised:
        SqliteStore(older)
    assert "nothing was changed" in str(raised.value.hint)  # type: ignore[attr-defined] # our own class
    assert version_of(older) == 1
    assert rows_of(older) == whole
    assert copies(older) == []


def test_a_file_of_a_newer_program_is_refused_with_what_to_do(older: Path) -> None:
    SqliteStore(older).close()
    connection = apsw.Connection(str(older))
    connection.pragma("user_version", NEWEST + 1)
    connection.close()
    with pytest.raises(IntegrityError) as raised:
        SqliteStore(older)
    ending = failure_of(raised.value)
    assert ending is not None
    assert (
        ending.message
        == f"{older}: a newer program has brought it up to schema {NEWEST + 1}, and this one knows {NEWEST}"
    )
    assert "start the newer program again" in ending.hint
    assert int(ending.exit_code) == 6


def test_copies_are_dropped_by_age_and_with_what_a_crash_has_left(older: Path) -> None:
    store = SqliteStore(older)
    [copy] = copies(older)
    part = copy.with_name(f"{copy.name}.part")
    part.write_bytes(b"canary" * 1000)
    os.utime(copy, (1000, 1000))
    store.drop_copies(1_000_000)
    assert copies(older) == [copy, part]  # control: neither is older than that
    store.drop_copies(1_000_001)
    assert copies(older) == [part]
    store.drop_copies()
    assert copies(older) == []
    assert store.reads().kept(0, 1)
    store.close()


def test_what_a_step_takes_out_of_a_row_lies_nowhere_in_the_file(older: Path) -> None:
    store = SqliteStore(older)
    store.drop_copies()
    with store.transaction() as rows:
        for index in range(1, COUNT + 1):
            rows.erase(index)
    assert store.scrub()
    store.close()
    assert [each.name for each in older.parent.iterdir() if b"canary" in each.read_bytes()] == []


def killed_at(path: Path, number: int) -> bool:
    """Bring a file up in a process that is killed at its so-manieth step; returns whether it came so far.

    A step is a statement of any connection, or something that is opened, renamed or removed.
    """
    child = os.fork()
    if not child:
        left = [number]

        def step(*_: object) -> bool:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return True

        hook: Callable[[apsw.Connection], None] = lambda connection: setattr(connection, "exec_trace", step)  # noqa: E731
        apsw.connection_hooks.append(hook)
        sys.addaudithook(lambda event, _: step() if event in ("open", "os.rename", "os.remove") else None)
        try:
            SqliteStore(path).close()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_each_step_leaves_the_older_file_or_the_newer_one_whole(tmp_path: Path) -> None:
    pristine = tmp_path / "pristine" / "node.db"
    pristine.parent.mkdir()
    make_older(pristine)
    before = rows_of(pristine)
    straight = tmp_path / "straight" / "node.db"
    shutil.copytree(pristine.parent, straight.parent)
    SqliteStore(straight).close()
    after = rows_of(straight)
    found: list[int] = []
    for number in range(10_000):
        path = tmp_path / str(number) / "node.db"
        shutil.copytree(pristine.parent, path.parent)
        killed = killed_at(path, number)
        version = version_of(path)
        assert version in (1, NEWEST)
        assert rows_of(path) == (before if version == 1 else after)
        assert version == 1 or rows_of(path.with_name(f"node.db.before-{NEWEST}")) == before
        SqliteStore(path).close()  # the next start
        assert rows_of(path) == after
        assert rows_of(copies(path)[0]) == before
        shutil.rmtree(path.parent)
        found.append(version)
        if not killed:
            break
    assert found[0] == 1
    assert found[-1] == NEWEST
    assert len(found) > 20  # it was killed at as many steps
