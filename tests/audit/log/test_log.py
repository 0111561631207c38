"""Appending: groups, refusals inside a group, crashes, and the lock before a signature."""

import threading
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from audit.entry.entry import Body, Kind, leaf_hash, parse_entry
from audit.log.lock import check_start
from audit.log.log import Log, Row
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint
from audit.tree.merkle import EMPTY_ROOT
from audit.tree.proof import verify_inclusion
from keys.errors import IntegrityError
from tests.audit.store import ORIGIN, START_US, TableStore, digest, exchange_bodies, first_bodies, grow


class FaultyStore(TableStore):
    """Keeps the store's contract and breaks at a named step."""

    def __init__(self, fail: str = "") -> None:
        super().__init__()
        self.fail = fail

    def append_entries(self, rows: Sequence[Row]) -> None:
        if self.fail == "before-append":
            raise apsw.IOError("disk I/O error")
        super().append_entries(rows)
        if self.fail == "after-append":
            raise apsw.IOError("disk I/O error")


def a_log(size: int = 0) -> tuple[Log, TableStore]:
    store = TableStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, size)
    return log, store


def test_entries_are_numbered_chained_and_dated() -> None:
    log, store = a_log()
    stage = log.begin(START_US)
    indices = [stage.add(body) for body in first_bodies()]
    stage.add(Body(kind=Kind.HEARTBEAT), START_US - 5)
    with store.connection:
        stage.write(store)
    stage.verify_read_back(store)
    log.commit(stage)
    entries = [parse_entry(entry) for entry in store.read_entries(0, 9)]
    assert indices == [0, 1, 2, 3]
    assert [entry.index for entry in entries] == [0, 1, 2, 3, 4]
    assert {entry.time_us for entry in entries} == {START_US}  # the clock never goes back
    assert [entry.previous for entry in entries[1:]] == [leaf_hash(e) for e in store.read_entries(0, 4)]


def test_an_act_that_is_refused_takes_its_entries_back_and_its_neighbours_stay() -> None:
    log, store = a_log(4)
    stage = log.begin(START_US)
    first = stage.add(exchange_bodies(1, 4)[0])
    mark = stage.mark()
    stage.add(Body(kind=Kind.HEARTBEAT))
    stage.add(Body(kind=Kind.HEARTBEAT))
    stage.undo(mark)
    second = stage.add(exchange_bodies(1, first)[1])
    assert (first, second, len(stage)) == (4, 5, 2)
    with store.connection:
        stage.write(store)
    log.commit(stage)
    assert Log.open(ORIGIN, store).checkpoint() == log.checkpoint()
    assert parse_entry(stage.entry(5)).previous == leaf_hash(stage.entry(4))


def refused(log: Log, store: TableStore, bodies: list[Body | bytes], error: type[Exception], message: str) -> None:
    """Stage bodies; nothing of the group may reach the store, and the log goes on where it was."""
    before, size = log.checkpoint(), store.size()
    stage = log.begin(START_US)
    for body in bodies:
        stage.add(body)
    with pytest.raises(error, match=message), store.connection:
        stage.write(store)
    log.rollback(stage)
    assert (store.size(), log.checkpoint()) == (size, before)


@pytest.mark.parametrize("neighbours", [0, 40])
def test_a_body_that_breaks_its_rule_is_never_written(neighbours: int) -> None:
    log, store = a_log(4)
    received = exchange_bodies(1, 4)[3]
    near: list[Body | bytes] = [received] * neighbours
    for bad in (
        Body(kind=Kind.GENESIS),
        Body(kind=Kind.HEARTBEAT, opening=digest(1)),
        Body(**{**received.present(), "opening": b""}),
        Body(**{**received.present(), "kind": Kind.WITHDRAWN}),
        b"\x08\x63",
        b"",
    ):
        at = 4 + neighbours
        refused(log, store, [*near, bad, *near], IntegrityError, f"entry {at} would break its rule")
    queued = exchange_bodies(1, 4 + neighbours)[1]
    refused(log, store, [*near, queued], IntegrityError, f"would refer to {4 + neighbours}, which is not before it")
    grow(log, store, 9)  # control


def test_a_group_of_bodies_that_break_one_rule_together_is_never_written() -> None:
    log, store = a_log(4)
    many = range(1, 41)
    refused(log, store, [Body(kind=Kind.HEARTBEAT, opening=digest(i)) for i in many], IntegrityError, "entry 4 would")
    queued = [exchange_bodies(i, 30)[1] for i in many]  # the first 27 refer to one that comes after them
    refused(log, store, list(queued), IntegrityError, "entry 4 would refer to 30, which is not before it")
    short = Body(kind=Kind.REFUSED, outcome=70, digest=bytes(31))
    refused(log, store, [short] * 40, ValueError, "digest has 31 bytes instead of 32")
    refused(log, store, [Body(kind=Kind.HEARTBEAT, count=1 << 64)] * 40, ValueError, "count is out of its bounds")
    refused(log, store, [Body(kind=Kind.HEARTBEAT, understood=False)] * 40, ValueError, "was not understood")
    refused(log, store, [Body(kind=Kind.CLOCK_STEPPED, outcome=4000)] * 40, IntegrityError, "entry 4 would break")


def test_an_entry_can_be_read_before_its_group_is_written() -> None:
    log, store = a_log(4)
    stage = log.begin(START_US)
    bodies = exchange_bodies(1, 4)
    for body in bodies[:3]:
        stage.add(body)
    first = stage.entry(4)
    mark = stage.mark()
    stage.add(bodies[3])
    assert parse_entry(stage.entry(7)).body == bodies[3].encode()
    stage.undo(mark)
    stage.add(bodies[7])
    with store.connection:
        stage.write(store)
    log.commit(stage)
    assert (stage.entry(4), stage.entry(7)) == (first, store.read_entries(7, 1)[0])
    assert parse_entry(stage.entry(7)).body == bodies[7].encode()
    assert Log.open(ORIGIN, store).checkpoint() == log.checkpoint()


@pytest.mark.parametrize("fail", ["before-append", "after-append"])
def test_a_failed_transaction_leaves_the_log_as_it_was(fail: str) -> None:
    store = FaultyStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, 300)
    before = log.checkpoint()
    store.fail = fail
    stage = log.begin(START_US)
    for _ in range(300):
        stage.add(Body(kind=Kind.HEARTBEAT))
    with pytest.raises(apsw.IOError), store.connection:
        stage.write(store)
    log.rollback(stage)
    assert (log.checkpoint(), log.root(300)) == (before, before.root)
    store.fail = ""
    grow(log, store, 900)
    assert Log.open(ORIGIN, store).checkpoint() == log.checkpoint()


def test_bytes_that_come_back_changed_are_seen_before_signing() -> None:
    log, store = a_log(10)
    stage = log.begin(START_US)
    stage.add(Body(kind=Kind.HEARTBEAT))
    with store.connection:
        stage.write(store)
    stage.verify_read_back(store)  # control
    store.execute("UPDATE entries SET entry = CAST(substr(entry, 1, length(entry) - 1) || x'21' AS BLOB) WHERE i = 10")
    with pytest.raises(IntegrityError, match="other bytes than were written"):
        stage.verify_read_back(store)


def test_a_group_has_its_proofs_from_memory() -> None:
    log, store = a_log(70_000)
    checkpoint = log.checkpoint()
    for index in [*range(69_000, 70_000, 9), 0, 255, 256, 65_535, 65_536]:
        [entry] = store.read_entries(index, 1)
        verify_inclusion(leaf_hash(entry), index, log.inclusion(index, log.size), checkpoint)
    assert len(log.hash_tile(0, 273, 112)) == 112 * 32
    assert log.hash_tile(1, 0, 256) == store.get_tile(1, 0)
    with pytest.raises(LookupError):
        log.hash_tile(0, 273, 113)
    with pytest.raises(LookupError):
        log.inclusion(5, 70_001)


def test_every_entry_of_a_log_is_proven_at_every_size_asked_for() -> None:
    log, store = a_log(1400)
    leaves = store.leaf_hashes(0, 1400)
    for size in (1400, 1280, 1025, 700, 256, 255, 1400):
        head = Checkpoint(origin=ORIGIN, size=size, root=log.root(size))
        for index in range(size):
            verify_inclusion(leaves[index], index, log.inclusion(index, size), head)


def test_proofs_from_before_a_rollback_are_not_given_after_it() -> None:
    log, store = a_log(300)
    stage = log.begin(START_US)
    for _ in range(900):
        stage.add(Body(kind=Kind.HEARTBEAT))
    stage.write(store)
    log._tree.inclusion(5, 1200)
    log.rollback(stage)
    store.execute("DELETE FROM entries WHERE i >= 300")
    store.execute("DELETE FROM tiles WHERE i >= 1")
    grow(log, store, 1200)
    for index in (5, 255, 256, 299, 300, 700, 1199):
        [leaf] = store.leaf_hashes(index, 1)
        verify_inclusion(leaf, index, log.inclusion(index, 1200), log.checkpoint())


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE entries SET entry = CAST(x'00' || substr(entry, 2) AS BLOB) WHERE i = 290", "entry 290"),
        ("UPDATE entries SET leaf = zeroblob(32) WHERE i = 290", "entry 290"),
        ("DELETE FROM entries WHERE i = 290", "270|289|290|299|43 of the last 44|tables"),
        ("DELETE FROM tiles", "tile 0/0 is missing"),
    ],
)
def test_row_19_damage_in_the_newest_tile_is_seen_when_the_log_is_opened(damage: str, found: str) -> None:
    _, store = a_log(300)
    Log.open(ORIGIN, store)  # control
    store.execute(damage)
    with pytest.raises(IntegrityError, match=found):
        Log.open(ORIGIN, store)


def locked(tmp_path: Path, size: int) -> tuple[Log, TableStore, SqliteLock]:
    log, store = a_log(size)
    lock = SqliteLock.create(tmp_path / "lock.db", ORIGIN)
    lock.compare_and_swap(ORIGIN, 0, log.checkpoint())
    return log, store, lock


def test_an_older_database_is_refused_and_both_sizes_are_said(tmp_path: Path) -> None:
    log, store, lock = locked(tmp_path, 50)
    check_start(log, lock, store, "node.db")  # control
    older, older_store = a_log(42)
    with pytest.raises(IntegrityError, match=r"node\.db holds 42 entries, .*lock\.db says that 50 were signed"):
        check_start(older, lock, older_store, "node.db")
    assert lock.read(ORIGIN) == (50, log.root(50))


def test_a_lock_ahead_by_one_is_refused(tmp_path: Path) -> None:
    log, store, lock = locked(tmp_path, 50)
    lock.compare_and_swap(ORIGIN, 50, Checkpoint(origin=ORIGIN, size=51, root=digest(1)))
    with pytest.raises(IntegrityError, match=r"node\.db holds 50 entries, .*lock\.db says that 51 were signed"):
        check_start(log, lock, store, "node.db")


def test_a_database_with_another_history_is_refused(tmp_path: Path) -> None:
    _, _, lock = locked(tmp_path, 50)
    store = TableStore()
    other = Log.open(ORIGIN, store)
    stage = other.begin(START_US + 1)
    for body in first_bodies() + [Body(kind=Kind.HEARTBEAT)] * 46:
        stage.add(body)
    with store.connection:
        stage.write(store)
    other.commit(stage)
    with pytest.raises(IntegrityError, match=r"node\.db has another history than was signed: its root at size 50"):
        check_start(other, lock, store, "node.db")


def test_a_missing_lock_is_refused_and_never_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "lock.db"
    with pytest.raises(IntegrityError, match=r"lock\.db is missing.*nothing is signed"):
        SqliteLock.open(path)
    assert not path.exists()
    SqliteLock.create(path, ORIGIN).close()
    assert SqliteLock.open(path).read(ORIGIN) == (0, EMPTY_ROOT)  # control
    with pytest.raises(IntegrityError, match="exists already"):
        SqliteLock.create(path, ORIGIN)


@pytest.mark.parametrize("content", [b"", b"not a database, by far long enough to be read as one" * 20])
def test_a_file_that_is_no_lock_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock.db"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"lock\.db"):
        SqliteLock.open(path)


def test_the_lock_of_another_log_is_refused(tmp_path: Path) -> None:
    log, store = a_log(5)
    lock = SqliteLock.create(tmp_path / "lock.db", "somebody.example/log/1")
    with pytest.raises(IntegrityError, match=r"knows nothing of hk-sb"):
        check_start(log, lock, store, "node.db")


def test_a_group_whose_lock_was_not_reached_is_verified_and_taken_over(tmp_path: Path) -> None:
    log, store, lock = locked(tmp_path, 50)
    grow(log, store, 350)
    again = Log.open(ORIGIN, store)
    check_start(again, lock, store, "node.db")
    assert lock.read(ORIGIN) == (350, again.root(350))


def test_a_damaged_group_after_the_lock_is_not_taken_over(tmp_path: Path) -> None:
    log, store, lock = locked(tmp_path, 50)
    grow(log, store, 350)
    store.execute("UPDATE entries SET entry = CAST(substr(entry, 1, 60) || x'00' AS BLOB) WHERE i = 60")
    with pytest.raises(IntegrityError, match="entry 60 is not the one that was logged"):
        check_start(Log.open(ORIGIN, store), lock, store, "node.db")
    assert lock.read(ORIGIN) is not None
    assert lock.read(ORIGIN)[0] == 50  # type: ignore[index] # read from JSON


def test_two_copies_of_a_node_cannot_both_move_the_lock(tmp_path: Path) -> None:
    log, store, lock = locked(tmp_path, 50)
    second = SqliteLock.open(tmp_path / "lock.db")
    grow(log, store, 60)
    lock.compare_and_swap(ORIGIN, 50, log.checkpoint())
    with pytest.raises(IntegrityError, match=r"is at size 60, not 50: another copy of this node signs"):
        second.compare_and_swap(ORIGIN, 50, log.checkpoint())


def test_row_14_replayed_checkpoints_never_move_the_lock(tmp_path: Path) -> None:
    log, store, lock = locked(tmp_path, 50)
    old = log.checkpoint()
    grow(log, store, 60)
    lock.compare_and_swap(ORIGIN, 50, log.checkpoint())  # control: a newer one does
    for _ in range(1000):
        with pytest.raises(IntegrityError):
            lock.compare_and_swap(ORIGIN, 60, old)
        with pytest.raises(IntegrityError):
            lock.compare_and_swap(ORIGIN, 50, old)
    assert lock.read(ORIGIN) == (60, log.root(60))


def test_groups_are_one_at_a_time_and_in_order() -> None:
    log, store = a_log(4)
    stage = log.begin(START_US)
    with pytest.raises(IntegrityError, match="two groups"):
        log.begin(START_US)
    stage.add(Body(kind=Kind.HEARTBEAT))
    with pytest.raises(IntegrityError, match="before it was written"):
        log.commit(stage)
    log.rollback(stage)
    stage = log.begin(START_US)
    stage.write(store)
    with pytest.raises(IntegrityError, match="after its group was written"):
        stage.add(Body(kind=Kind.HEARTBEAT))
    log.commit(stage)
    assert log.size == 4


def test_a_lock_of_format_1_is_brought_up_and_keeps_what_was_signed(tmp_path: Path) -> None:
    import apsw

    from audit.log import lock_schema

    path = tmp_path / "lock.db"
    old = apsw.Connection(str(path))
    old.execute(lock_schema.HEAD)
    old.execute("INSERT INTO head VALUES (?, 7, ?)", (ORIGIN, digest(1)))
    old.pragma("user_version", 1)
    old.close()
    for _ in range(2):
        lock = SqliteLock.open(path)
        assert lock.read(ORIGIN) == (7, digest(1))
        lock.close()
    assert apsw.Connection(str(path)).pragma("user_version") == lock_schema.FORMAT


def test_a_lock_remembers_what_was_erased_and_nothing_else(tmp_path: Path) -> None:
    lock = SqliteLock.create(tmp_path / "lock.db", ORIGIN)
    lock.remember_erased([digest(1), digest(2)])
    lock.remember_erased([digest(2)])  # once more does no harm
    lock.close()
    again = SqliteLock.open(tmp_path / "lock.db")
    assert [again.is_erased(digest(each)) for each in (1, 2, 3)] == [True, True, False]
    assert again.erased_count() == 2
    again.close()
    for act in (lambda: again.remember_erased([digest(3)]), lambda: again.is_erased(digest(1)), again.erased_count):
        with pytest.raises(IntegrityError, match=r"lock\.db cannot be"):
            act()


def test_a_lock_is_asked_by_several_threads_while_it_moves(tmp_path: Path) -> None:
    """The daily work asks what was erased while a group is on its way to its signature; neither may fail the other."""
    lock, errors = SqliteLock.create(tmp_path / "lock.db", ORIGIN), []

    def ask() -> None:
        try:
            for each in range(3000):
                assert not lock.is_erased(digest(each % 200))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for size in range(200):
        lock.compare_and_swap(ORIGIN, size, Checkpoint(origin=ORIGIN, size=size + 1, root=digest(1)))
    for thread in threads:
        thread.join()
    assert errors == []
    assert lock.read(ORIGIN) == (200, digest(1))
    lock.close()
