"""An auditor's commands on a home that cannot be written, as on a seized disk that is mounted read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from exchange.demo.world import PASSPHRASE_FILE
from exchange.store.factory import open_reading
from exchange.store.sqlite import SqliteStore
from exchange.store.sqlite_readonly import SqliteReadOnly
from keys.errors import IntegrityError
from tests.audit.compare.bundled import exchange
from tests.support.running import note, running

A, B = "HK-SB", "TH-DSI"
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def unwritable(folder: Path) -> tuple[str, ...]:
    """Return the words before a command to which *folder* is unwritable; root is stopped by a mount alone."""
    if os.geteuid() == 0:
        return ("unshare", "-m", "sh", "-c", READ_ONLY, str(folder))
    for each in (folder, *folder.rglob("*")):
        each.chmod(each.stat().st_mode & ~0o222)
    return ()


def needs_mount(folder: Path) -> None:
    """Skip where this machine lets nobody mount; elsewhere make sure that nothing can be written."""
    before = unwritable(folder)
    if before and subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount a folder read-only")
    touched = subprocess.run([*before, "touch", str(folder / A / "x")], capture_output=True, check=False)
    assert touched.returncode != 0, "the control: the folder can be written"


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Return each file's time and digest."""
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {str(each): (each.stat().st_mtime_ns, sha256(each.read_bytes()).hexdigest()) for each in files}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of homes that have stopped in order, and the id of a bulletin that A sent to B."""
    folder = tmp_path_factory.mktemp("seized")
    with running(folder / "w", (A, B)) as federation, federation.client(A) as client:
        made = client.publish(note("the handover at the bridge", B))
        federation.await_received(client, made)
        homes = {name: federation.home(name) for name in (A, B)}
    disk = folder / "disk"
    for name, home in homes.items():
        shutil.copytree(home, disk / name, ignore=shutil.ignore_patterns("*.sock"))
    return disk, made.bulletin_id


@pytest.fixture
def disk(world: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(world[0], tmp_path / "disk"))


def commands(disk: Path, bulletin: str, out: Path) -> Sequence[tuple[object, ...]]:
    proofs = ("--purpose", "court", "--without-content", "-o", out / "e.zip")
    return (
        ("bundle", disk / A, "-o", out / "b.audit"),
        ("evidence", bulletin, "--home", disk / A, *proofs),
        ("lanes", disk / B),
        ("retention", disk / A),
        ("compare", disk / A, disk / B),
    )


def test_all_that_reads_a_home_reads_one_that_cannot_be_written(
    world: tuple[Path, str], disk: Path, tmp_path: Path
) -> None:
    folder, bulletin = world
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    needs_mount(disk)
    before = state(disk)
    for control, each in zip(commands(folder, bulletin, one), commands(disk, bulletin, two), strict=True):
        wanted, done = exchange(*control), exchange(*each, before=unwritable(disk))
        assert (done.returncode, done.stderr) == (wanted.returncode, wanted.stderr), each
        assert done.returncode in (0, 7), done.stderr
    for name in ("b.audit", "e.zip"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    assert state(disk) == before


def test_where_nothing_can_be_entered_no_content_is_given(world: tuple[Path, str], disk: Path, tmp_path: Path) -> None:
    needs_mount(disk)
    before = state(disk)
    words = ("evidence", world[1], "--home", disk / A, "--purpose", "court", "-o", tmp_path / "e.zip")
    with (disk / A / PASSPHRASE_FILE).open() as passphrase:
        done = exchange(*words, "--passphrase-fd", "0", before=unwritable(disk), stdin=passphrase)
    assert done.returncode == 2
    assert "entered in the log first (EXPORTED), and that cannot be; so no content is given" in done.stderr
    assert "--without-content" in done.stderr
    assert not (tmp_path / "e.zip").exists()
    assert state(disk) == before


def test_a_log_of_writes_that_cannot_be_read_there_is_named(disk: Path, tmp_path: Path) -> None:
    database = disk / A / "node.db"
    with_tail(database)
    needs_mount(disk)
    done = exchange("bundle", disk / A, "-o", tmp_path / "b.audit", "--json", before=unwritable(disk))
    told = json.loads(done.stdout)
    assert (done.returncode, told["code"], told["retryable"]) == (7, "UNREADABLE", False)
    assert told["message"].startswith(f"{database}-wal: ")
    assert "copy the whole folder" in told["hint"]
    copy = Path(shutil.copytree(disk, tmp_path / "copy"))
    for each in (copy, *copy.rglob("*")):
        each.chmod(each.stat().st_mode | 0o200)
    assert exchange("bundle", copy / A, "-o", tmp_path / "b.audit").returncode == 0


def with_tail(database: Path) -> None:
    """Leave a database as a crash does: a write-ahead log with content beside it, and no index of it."""
    store = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
    store.execute("INSERT INTO meta VALUES ('seized', x'00')")
    tail = database.with_name("node.db-wal").read_bytes()
    store.close()
    database.with_name("node.db-wal").write_bytes(tail)


def test_reading_makes_no_file_and_changes_none(disk: Path) -> None:
    before = state(disk)
    store = SqliteReadOnly(disk / A / "node.db")
    assert store.reads().meta("agency") == A.encode()
    assert store.reader().size() > 0
    assert state(disk) == before  # while it is open, too
    store.close()
    assert state(disk) == before
    work = open_reading(f"sqlite:{disk / A / 'node.db'}")  # the control: whoever may write opens it as the node does
    assert isinstance(work, SqliteStore) is os.access(disk / A / "node.db", os.W_OK)
    assert work.reads().size() > 0
    work.close()


def test_a_schema_that_is_not_ours_is_refused_there_too(disk: Path) -> None:
    database = disk / A / "node.db"
    changed = apsw.Connection(str(database))
    changed.execute("CREATE VIEW more AS SELECT 1")
    changed.close()
    with pytest.raises(IntegrityError, match="the schema was changed by somebody else"):
        SqliteReadOnly(database)
    changed = apsw.Connection(str(database))
    changed.pragma("user_version", 1)
    changed.close()
    with pytest.raises(IntegrityError, match="schema 1, this program reads"):
        SqliteReadOnly(database)
