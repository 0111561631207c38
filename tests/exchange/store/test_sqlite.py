"""The SQLite engine keeps the contract of stores, and refuses a file that somebody else has changed."""

from __future__ import annotations

import threading
from pathlib import Path

import apsw
import pytest

from exchange.store.factory import create_store, open_store
from exchange.store.sqlite import SqliteStore, readable
from exchange.store.store import NodeStore
from keys.errors import IntegrityError
from tests.exchange.store.contract import StoreContract
from tests.exchange.store.faulty_store import FaultyStore
from tests.exchange.store.rows import content, entries, stored


class Sqlite:
    """One file in a folder."""

    def uri(self, folder: Path, name: str = "node") -> str:
        return f"sqlite:{folder / name}.db"

    def make(self, folder: Path, name: str = "node") -> NodeStore:
        return create_store(self.uri(folder, name))

    def reopen(self, folder: Path, name: str = "node") -> NodeStore:
        store = open_store(self.uri(folder, name))
        assert isinstance(store, SqliteStore)
        store._writer.set_busy_timeout(100)  # milliseconds; a second writer is turned away sooner
        return store


class FaultySqlite(Sqlite):
    """The same behind a wrapper that breaks nothing."""

    def make(self, folder: Path, name: str = "node") -> NodeStore:
        return FaultyStore(super().make(folder, name))


class TestSqlite(StoreContract):
    """SQLite through apsw."""

    engine = Sqlite()


class TestFaultyStoreWithoutAFault(StoreContract):
    """What the fault tests put around a store changes nothing by itself."""

    engine = FaultySqlite()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A closed database with three entries."""
    store = SqliteStore(tmp_path / "node.db", create=True)
    with store.transaction() as rows:
        rows.append_entries(entries(0, 3))
        rows.put_tiles([(0, 0, b"t")])
        rows.add_bulletin(stored(1), content(1))
    store.close()
    return tmp_path / "node.db"


def execute(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = x'00' WHERE idx = 1",
        "DELETE FROM entries WHERE idx = 2",
        "UPDATE tiles SET hashes = x'00'",
        "DELETE FROM tiles",
        "UPDATE entries SET idx = 9 WHERE idx = 2",
    ],
)
def test_entries_and_tiles_are_never_changed_or_removed(database: Path, statement: str) -> None:
    with pytest.raises(apsw.ConstraintError, match="never"):
        execute(database, statement)
    assert SqliteStore(database).reads().size() == 3


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER entries_stay",
        "CREATE TRIGGER mine AFTER INSERT ON entries BEGIN SELECT 1; END",
        "CREATE VIEW mine AS SELECT * FROM entries",
        "CREATE TABLE mine (a)",
        "CREATE INDEX mine ON entries (entry)",
        "DROP INDEX bulletins_once",
        "ALTER TABLE meta ADD COLUMN mine TEXT",
    ],
)
def test_a_schema_that_somebody_changed_is_refused_row_48(database: Path, statement: str) -> None:
    SqliteStore(database).close()  # control: it opens as it was
    execute(database, statement)
    with pytest.raises(IntegrityError, match="schema") as raised:
        SqliteStore(database)
    assert str(database) in str(raised.value)


@pytest.mark.parametrize("version", [0, 4, 1000])
def test_a_database_of_another_schema_number_is_refused(database: Path, version: int) -> None:
    execute(database, f"PRAGMA user_version = {version}")
    with pytest.raises(IntegrityError, match=f"schema {version}"):
        SqliteStore(database)


def test_a_missing_database_is_not_made_in_passing(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no database here"):
        SqliteStore(tmp_path / "node.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_was_lost_is_not_to_be_made_anew(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="exchange node init"):
        SqliteStore(tmp_path / "node.db")  # control: a home that never had one
    (tmp_path / "lock.db").touch()
    with pytest.raises(IntegrityError, match="recover --from-peers"):
        SqliteStore(tmp_path / "node.db")


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(IntegrityError, match="not a database"):
        SqliteStore(tmp_path / "node.db")


def test_a_database_is_made_once(database: Path) -> None:
    with pytest.raises(IntegrityError, match="already"):
        SqliteStore(database, create=True)


def test_readers_cannot_write(database: Path) -> None:
    store = SqliteStore(database)
    reader = store.reader()
    with pytest.raises(apsw.ReadOnlyError):
        reader._db.execute("INSERT INTO meta VALUES ('a', x'00')")  # the connection itself refuses
    store.close()


def test_each_commit_is_flushed_before_it_returns(database: Path) -> None:
    store = SqliteStore(database)
    assert store._writer.pragma("synchronous") == 2  # FULL
    assert store._writer.pragma("journal_mode") == "wal"
    assert store._writer.pragma("trusted_schema") == 0
    assert store._writer.pragma("cell_size_check") == 1
    store.close()


def test_the_library_is_newer_than_the_wal_reset_fault() -> None:
    assert tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) >= (3, 51, 3)


def test_statements_are_constants_and_take_parameters_row_48() -> None:
    """No statement is put together from values: every f-string, format or % in the engine would be a place for one."""
    import ast

    root = Path(__file__).resolve().parents[3] / "exchange/store"
    for name in ("sqlite_reads.py", "sqlite_writes.py"):
        tree = ast.parse((root / name).read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "format"]


def test_a_database_with_damaged_pages_is_said_to_be_damaged(tmp_path: Path) -> None:
    """Every page in turn: it is found out or does no harm to what is read, and no error of the library comes out."""
    path = tmp_path / "node.db"
    store = SqliteStore(path, create=True)
    with store.transaction() as rows:
        rows.append_entries(entries(0, 500))
    store.close()
    whole, found = path.read_bytes(), 0
    for page in range(len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\x5a" * 4096 + whole[(page + 1) * 4096 :])
        try:
            with readable(path):
                damaged = SqliteStore(path)
                damaged.reads().read_entries(0, 500)
                damaged.close()
        except IntegrityError as error:
            found += 1
            assert str(path) in str(error)  # noqa: PT017 - every case of the loop is looked at
    assert found > 2


def test_nobody_else_may_read_the_database_or_its_write_ahead_log(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "node.db", create=True)
    with store.transaction() as rows:
        rows.set_meta("name", b"value")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes.keys() >= {"node.db", "node.db-wal"}
    assert set(modes.values()) == {0o600}


def test_a_database_of_step_1_is_brought_up_with_all_that_it_holds(tmp_path: Path) -> None:
    """Retention comes out of the entries, content keys out of their rows; nothing of them stays behind."""
    from audit.entry.entry import Body, Kind, encode_entry
    from exchange.store import sqlite_migrations

    path = tmp_path / "node.db"
    old = apsw.Connection(str(path))
    old.execute(sqlite_migrations.schema(1))
    for index, day in ((1, 20_000), (2, 0)):
        body = Body(kind=Kind.RECEIVED, retain_until_day=day, retention_rule=6 if day else 0)
        entry = encode_entry(index, 1, bytes(32), body.encode())
        old.execute("INSERT INTO entries VALUES (?, ?, ?)", (index, entry, bytes(32)))
        values = (index, "HK-SB", bytes([index]) * 16, bytes([index]) * 32, "advisory", "N", *(1,) * 10)
        old.execute("INSERT INTO bulletins VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", values)
        old.execute("INSERT INTO contents VALUES (?,?,?,?,?)", (index, b"d", b"b", b"w", b"canary" + bytes([index])))
    old.pragma("user_version", 1)
    old.close()
    store = SqliteStore(path)
    kept = store.reads().kept(0, 9)
    assert [(each.entry_index, each.retain_until_day, each.retention_rule) for each in kept] == [
        (1, 20_000, 6),
        (2, 0, 0),
    ]
    assert [store.reads().content(index).stored_key for index in (1, 2)] == [b"canary\x01", b"canary\x02"]
    with store.transaction() as rows:
        rows.erase(1)
        rows.erase(2)
    assert store.scrub()
    assert b"canary" not in path.read_bytes()
    store.close()
    SqliteStore(path).close()  # and opens as any other


def test_a_database_of_step_1_that_somebody_changed_is_not_brought_up(tmp_path: Path) -> None:
    from exchange.store import sqlite_migrations

    path = tmp_path / "node.db"
    old = apsw.Connection(str(path))
    old.execute(sqlite_migrations.schema(1))
    old.execute("CREATE TRIGGER mine AFTER INSERT ON entries BEGIN DELETE FROM nonces; END")
    old.pragma("user_version", 1)
    old.close()
    with pytest.raises(IntegrityError, match="schema 1"):
        SqliteStore(path)


def test_a_database_is_scrubbed_beside_its_writer(tmp_path: Path) -> None:
    """The write-ahead log is emptied while somebody else writes, by a connection of its own; a busy reader is told."""
    store, errors, done = SqliteStore(tmp_path / "node.db", create=True), [], threading.Event()

    def scrub() -> None:
        try:
            while not done.is_set():
                store.scrub()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)

    thread = threading.Thread(target=scrub)
    thread.start()
    for index in range(200):
        with store.transaction() as rows:
            rows.append_entries(entries(index, 1))
    done.set()
    thread.join()
    assert errors == []
    assert store.reads().size() == 200
    assert store.scrub()
    assert (tmp_path / "node.db-wal").stat().st_size == 0
    reader = apsw.Connection(str(tmp_path / "node.db"))
    with store.transaction() as rows:
        rows.set_meta("a", b"1")
    cursor = reader.execute("BEGIN; SELECT count(*) FROM entries")
    cursor.fetchall()
    with store.transaction() as rows:
        rows.set_meta("a", b"2")
    assert not store.scrub()  # somebody still reads what was
    reader.close()
    assert store.scrub()
    store.close()


def test_a_database_that_cannot_be_written_is_not_said_to_be_lost(tmp_path: Path) -> None:
    (tmp_path / "lock.db").touch()
    (tmp_path / "node.db").mkdir()  # nothing that can be opened, whoever runs the test
    with pytest.raises(IntegrityError, match="copy the home elsewhere first"):
        SqliteStore(tmp_path / "node.db")


def older(path: Path, new: Path) -> None:
    """Write what a database holds as step 2 kept it."""
    from exchange.store import sqlite_migrations

    old = apsw.Connection(str(path))
    for step in (1, 2):
        old.execute(sqlite_migrations.schema(step))
    old.execute("ATTACH ? AS new", (str(new),))
    for (table,) in old.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall():
        columns = "*" if table != "records" else "kind, agency, version, digest, signed"
        old.execute(f'INSERT INTO main."{table}" SELECT {columns} FROM new."{table}"')
    old.execute("DETACH new")
    old.pragma("user_version", 2)
    old.close()


def test_a_database_of_step_2_learns_from_its_log_where_each_record_came_into_force(tmp_path: Path) -> None:
    from tests.support.world import Desk

    desk = Desk("HK-IMMD", tmp_path / "home")
    expected = desk.node.reads.records()
    desk.close()
    older(tmp_path / "node.db", tmp_path / "home" / "node.db")
    store = SqliteStore(tmp_path / "node.db")
    assert store.reads().records() == expected
    assert {each.position for each in expected} >= {1, 2, 3}
    assert store.reads().adopted_at() == max(each.position for each in expected)
    store.close()
