"""The writing order: after any error nothing is signed, and the next start finds exactly what was durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.entry.entry import Body, Kind
from audit.log.lock import check_start
from audit.log.log import Log, verify_entries
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint, parse_note
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node import node
from exchange.node.clock import Reading
from exchange.node.writer import FULL_GROUP, MAX_GROUP, Group, Writer
from exchange.records.receipt import verify_receipt
from exchange.store.sqlite import SqliteStore
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.signer import PublicKey, Signer
from tests.exchange.store.faulty_store import STEPS, FaultyStore
from tests.support.home_files import DATABASE, LOCK
from tests.support.world import NOW_MS, records, view_of

BEFORE = 4  # entries of a node just made
DURABLE = {"after-commit", "read-back", "other-bytes"}  # steps after the commit


class CountingSigner:
    """The true signer; it remembers what it was asked to sign."""

    def __init__(self, inner: Signer) -> None:
        self.inner = inner
        self.signed: list[bytes] = []

    @property
    def key(self) -> PublicKey:
        return self.inner.key

    def sign(self, frame: bytes) -> bytes:
        self.signed.append(frame)
        return self.inner.sign(frame)


class FaultyLock:
    """A lock that cannot be moved, or says so although it was."""

    def __init__(self, inner: SqliteLock) -> None:
        self.inner, self.fail = inner, ""

    @property
    def name(self) -> str:
        return self.inner.name

    def read(self, origin: str) -> tuple[int, bytes] | None:
        return self.inner.read(origin)

    def compare_and_swap(self, origin: str, old_size: int, new: Checkpoint) -> None:
        if self.fail == "before":
            raise IntegrityError("lock: disk I/O error")
        self.inner.compare_and_swap(origin, old_size, new)
        if self.fail == "after":
            raise IntegrityError("lock: disk I/O error")


class Bench:
    """A home whose store, lock and signer the test has put together."""

    def __init__(self, home: Path, *, fail: str = "", times: int = 1, lock_fails: str = "") -> None:
        self.home = home
        if not (home / DATABASE).exists():
            made = records()
            node.create(
                home,
                made.first_records("HK-IMMD", introduced=False),
                pseudonym_key=bytes(32),
                now_us=NOW_MS * 1000,
            )
        view = view_of("HK-IMMD")
        self.store = FaultyStore(SqliteStore(home / DATABASE), fail, times)
        self.lock = FaultyLock(SqliteLock.open(home / LOCK))
        self.log = Log.open(view.origin, self.store.reader())
        check_start(self.log, self.lock, self.store.reader(), str(home / DATABASE))
        self.lock.fail = lock_fails  # from here on
        self.signer = CountingSigner(view.log_signer)
        self.told: list[Group] = []
        self.writer = Writer(
            self.store, self.log, self.lock, self.signer, lambda: Reading(NOW_MS * 1000), self.told.append
        )
        self.vkey = view.log_key(AgencyId("HK-IMMD"))

    def __enter__(self) -> Bench:
        self.writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.stop()
        self.store.close()
        self.lock.inner.close()

    def beat(self) -> int:
        """Write one entry and return its index."""
        return self.writer.run(heartbeat)

    @property
    def size(self) -> int:
        return self.store.inner.reads().size()


def heartbeat(work: UnitOfWork) -> int:
    return work.log.add(Body(kind=Kind.HEARTBEAT))


def refuse(work: UnitOfWork) -> int:
    heartbeat(work)
    work.rows.set_meta("refused", b"1")
    raise RefusedError("RULES", "no")


def test_without_a_fault_each_act_is_answered_signed_and_locked(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        assert [bench.beat() for _ in range(3)] == [BEFORE, BEFORE + 1, BEFORE + 2]
        assert len(bench.signer.signed) == 3
        assert parse_note(bench.writer.note).checkpoint.size == bench.size == BEFORE + 3
        assert bench.lock.read(bench.log.origin) == (BEFORE + 3, bench.log.root(BEFORE + 3))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_after_an_error_of_the_store_nothing_is_signed_and_a_new_start_verifies(
    tmp_path: Path, step: str, times: int
) -> None:
    with Bench(tmp_path) as bench:
        bench.beat()
    with Bench(tmp_path, fail=step, times=times) as bench:
        with pytest.raises(UnavailableError):
            bench.beat()
        with pytest.raises(UnavailableError):
            bench.beat()  # not even when the disk is well again
        assert bench.signer.signed == []
        assert bench.writer.note == ""
        assert bench.told == []
        assert bench.size == BEFORE + 1 + (step in DURABLE)
    assert_sound(tmp_path, BEFORE + 1 + (step in DURABLE))


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_an_error_of_the_lock_nothing_is_signed(tmp_path: Path, when: str) -> None:
    with Bench(tmp_path, lock_fails=when) as bench:
        for _ in range(2):
            with pytest.raises(UnavailableError):
                bench.beat()
        assert (bench.signer.signed, bench.writer.note) == ([], "")
    assert_sound(tmp_path, BEFORE + 1)


def assert_sound(home: Path, size: int) -> None:
    """The next start finds *size* entries, verifies them, and goes on."""
    with Bench(home) as bench:
        assert bench.size == size
        verify_entries(bench.store.reader(), 0, size, bench.log.genesis)
        assert bench.lock.read(bench.log.origin) == (size, bench.log.root(size))
        assert bench.beat() == size


def test_an_error_that_is_no_refusal_ends_the_whole_group(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        futures = together(bench, heartbeat, lambda work: 1 // 0, heartbeat)
        assert [type(error) for error in futures] == [UnavailableError] * 3
        assert isinstance(bench.writer.failure, ZeroDivisionError)
        assert bench.size == BEFORE
    assert_sound(tmp_path, BEFORE)


def test_an_entry_that_breaks_its_kinds_rule_is_never_written(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        with pytest.raises(UnavailableError):
            bench.writer.run(lambda w: w.log.add(Body(kind=Kind.RECEIVED)))
        assert isinstance(bench.writer.failure, IntegrityError)
    assert_sound(tmp_path, BEFORE)


def test_a_refused_act_leaves_nothing_and_its_neighbours_are_committed(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        one, refused, two = together(bench, heartbeat, refuse, heartbeat)
        assert (one, two) == (BEFORE, BEFORE + 1)
        assert isinstance(refused, RefusedError)
        assert bench.store.inner.reads().meta("refused") is None
        assert bench.writer.groups == 1
    assert_sound(tmp_path, BEFORE + 2)


def test_a_group_in_which_all_is_refused_signs_nothing_and_the_next_goes_on(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        assert [type(each) for each in together(bench, refuse, refuse)] == [RefusedError] * 2
        assert bench.signer.signed == []
        assert bench.beat() == BEFORE


def test_a_group_is_run_once_more_however_many_of_its_acts_are_refused_after_they_wrote(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        runs: list[str] = []

        def told(name: str, act: Callable[[UnitOfWork], int]) -> Callable[[UnitOfWork], int]:
            def run(work: UnitOfWork) -> int:
                runs.append(name)
                return act(work)

            return run

        acts = [told("one", heartbeat), told("bad", refuse), told("two", heartbeat), told("worse", refuse)]
        one, bad, two, worse = together(bench, *acts)
        assert (one, two, type(bad), type(worse)) == (BEFORE, BEFORE + 1, RefusedError, RefusedError)
        assert runs == ["one", "bad", "one", "bad", "two", "worse"]  # the first refusal ends the first run
        runs.clear()
        assert together(bench, *acts)[::2] == [BEFORE + 2, BEFORE + 3]
        assert runs == ["one", "bad", "two", "worse"]  # whoever is refused so again doubles nobody's cost
        assert bench.writer.groups == 2
    assert_sound(tmp_path, BEFORE + 4)


def test_an_act_that_is_refused_before_it_wrote_makes_nobody_run_again(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        runs: list[int] = []

        def look(work: UnitOfWork) -> int:
            runs.append(work.rows.size())
            raise RefusedError("EQUIVOCATION", "it stands there already")

        def count(work: UnitOfWork) -> int:
            runs.append(0)
            return heartbeat(work)

        for first in (BEFORE, BEFORE + 2):
            one, refused, two = together(bench, count, look, count)
            assert (one, type(refused), two) == (first, RefusedError, first + 1)
        assert runs == [0, BEFORE, 0, 0, BEFORE + 2, 0]
    assert_sound(tmp_path, BEFORE + 4)


@pytest.mark.parametrize("careful", [False, True])
def test_what_a_refused_act_wrote_is_gone_whichever_way_its_group_is_run(tmp_path: Path, careful: bool) -> None:
    def lane(work: UnitOfWork, sequence: int) -> int:
        state = work.rows.open_lane(outgoing=True, peer="HK-SB", lane_class=2, epoch=1)
        assert state.sequence == sequence - 1
        work.rows.move_lane(replace(state, sequence=sequence))
        return heartbeat(work)

    def refused(work: UnitOfWork) -> int:
        lane(work, 2)
        assert work.rows.take_nonce(b"n" * 16)
        raise RefusedError("RULES", "no")

    with Bench(tmp_path) as bench:
        if careful:
            together(bench, refuse)
        one, bad, two = together(bench, lambda work: lane(work, 1), refused, lambda work: lane(work, 2))
        assert (one, type(bad), two) == (BEFORE, RefusedError, BEFORE + 1)
        assert bench.writer.run(lambda work: work.rows.take_nonce(b"n" * 16))
        assert [each.sequence for each in bench.store.inner.reads().lanes()] == [2]
    assert_sound(tmp_path, BEFORE + 2)


def test_a_suspended_node_answers_the_acts_that_write_nothing_in_the_same_group(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.writer.suspend("nobody vouches")
        one, two, three = together(bench, heartbeat, lambda work: work.rows.size(), heartbeat)
        assert (type(one), two, type(three)) == (UnavailableError, BEFORE, UnavailableError)
        bench.writer.resume()
        assert bench.beat() == BEFORE


def together(bench: Bench, *acts: Callable[[UnitOfWork], int]) -> list[Any]:
    """Run acts in one group: what is queued before the loop turns goes together."""

    async def run() -> list[Any]:
        futures = [bench.writer.submit(act) for act in acts]
        return await asyncio.gather(*futures, return_exceptions=True)

    return asyncio.run(run())


def test_one_signature_serves_a_whole_group(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        indices = together(bench, *[heartbeat] * 200)
        assert indices == list(range(BEFORE, BEFORE + 200))
        assert len(bench.signer.signed) == 1
        assert MAX_GROUP >= 200


def test_an_act_alone_departs_at_the_loops_next_turn(tmp_path: Path) -> None:
    ran: list[int] = []
    with Bench(tmp_path) as bench:

        async def run() -> None:
            future = bench.writer.submit(lambda work: ran.append(heartbeat(work)))
            await asyncio.sleep(0)
            assert ran == [BEFORE]
            await future

        asyncio.run(run())


def test_a_group_waits_for_those_whose_calls_the_loop_is_taking_and_no_longer(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:

        async def run() -> list[int]:
            futures = [bench.writer.submit(heartbeat)]
            for _ in range(10):
                futures.append(bench.writer.submit(heartbeat))
                await asyncio.sleep(0)
            assert bench.writer.groups == 0
            return list(await asyncio.gather(*futures))

        assert asyncio.run(run()) == list(range(BEFORE, BEFORE + 11))
        assert bench.writer.groups == 1


def test_a_full_group_waits_for_nobody(tmp_path: Path) -> None:
    ran: list[int] = []
    with Bench(tmp_path) as bench:

        async def run() -> None:
            futures = [bench.writer.submit(lambda work: ran.append(heartbeat(work))) for _ in range(FULL_GROUP)]
            await asyncio.sleep(0)
            assert len(ran) == FULL_GROUP
            await asyncio.gather(*futures)

        asyncio.run(run())


def test_receipts_of_a_group_and_of_entries_before_it_verify(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        early = bench.beat()

        def read(index: int) -> bytes:
            return bench.store.inner.reads().read_entries(index, 1)[0]

        receipts = bench.writer.run(
            heartbeat, lambda index, group: [group.receipt(each, read) for each in (index, early, 0)]
        )
        assert [verify_receipt(each, bench.vkey).entry.index for each in receipts] == [BEFORE + 1, BEFORE, 0]


def test_an_answer_is_given_only_after_its_signature(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        seen = bench.writer.run(heartbeat, lambda index, group: (parse_note(group.note).checkpoint.size, index))
        assert seen == (BEFORE + 1, BEFORE)


def test_a_second_node_on_the_same_files_cannot_sign_row_18(tmp_path: Path) -> None:
    with Bench(tmp_path) as first:
        first.beat()
        with Bench(tmp_path) as second:
            second.beat()
            with pytest.raises(UnavailableError):
                first.beat()  # its log is behind: its entry is there already
            assert first.signer.signed[1:] == []
            assert second.beat() == BEFORE + 2
    assert_sound(tmp_path, BEFORE + 3)


def test_an_act_after_the_end_is_turned_away(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.beat()
    with pytest.raises(UnavailableError):
        bench.beat()


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_what_waits_at_the_end_is_still_committed(tmp_path: Path, turns: int) -> None:
    with Bench(tmp_path) as bench:

        async def run(turns: int) -> list[int]:
            futures = [bench.writer.submit(heartbeat) for _ in range(5)]
            for _ in range(turns):  # the group is queued, on its way to the disk, or beyond it
                await asyncio.sleep(0)
            bench.writer.stop()
            return list(await asyncio.gather(*futures))

        assert asyncio.run(run(turns)) == list(range(BEFORE, BEFORE + 5))


# the start: database against lock


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a few signed entries and a copy of its files from before them."""
    folder = tmp_path / "home"
    folder.mkdir()
    with Bench(folder) as bench:
        bench.beat()
    for name in (DATABASE, LOCK):
        (tmp_path / f"old-{name}").write_bytes((folder / name).read_bytes())
    with Bench(folder) as bench:
        bench.beat()
    return folder


def test_an_older_database_is_refused_with_both_files_and_sizes_row_18(home: Path) -> None:
    (home / DATABASE).write_bytes((home.parent / f"old-{DATABASE}").read_bytes())
    with pytest.raises(IntegrityError) as raised:
        Bench(home)
    for part in (str(home / DATABASE), str(home / LOCK), str(BEFORE + 1), str(BEFORE + 2), "older copy"):
        assert part in str(raised.value)


def test_a_missing_lock_is_refused_and_not_made_anew_row_61(home: Path) -> None:
    (home / LOCK).unlink()
    with pytest.raises(IntegrityError, match="is missing") as raised:
        Bench(home)
    assert str(home / LOCK) in str(raised.value)
    assert not (home / LOCK).exists()


def test_a_lock_ahead_by_one_is_refused(home: Path) -> None:
    lock = SqliteLock.open(home / LOCK)
    origin = view_of("HK-IMMD").origin
    size, _ = lock.read(origin) or (0, b"")
    lock.compare_and_swap(origin, size, Checkpoint(origin=origin, size=size + 1, root=bytes(32)))
    lock.close()
    with pytest.raises(IntegrityError) as raised:
        Bench(home)
    assert f"holds {size} entries" in str(raised.value)
    assert f"that {size + 1} were signed" in str(raised.value)


def test_another_history_than_was_signed_is_refused(home: Path) -> None:
    lock = SqliteLock.open(home / LOCK)
    origin = view_of("HK-IMMD").origin
    size, _ = lock.read(origin) or (0, b"")
    lock.compare_and_swap(origin, size, Checkpoint(origin=origin, size=size, root=bytes(32)))
    lock.close()
    with pytest.raises(IntegrityError, match="another history"):
        Bench(home)


def test_a_lock_behind_the_database_is_brought_up_to_it_because_nothing_later_was_signed(home: Path) -> None:
    (home / LOCK).write_bytes((home.parent / f"old-{LOCK}").read_bytes())
    assert_sound(home, BEFORE + 2)


def test_a_home_is_made_only_where_there_is_none(home: Path) -> None:
    made = records()
    with pytest.raises(IntegrityError, match="there already"):
        node.create(
            home,
            made.first_records("HK-IMMD", introduced=False),
            pseudonym_key=bytes(32),
            now_us=NOW_MS * 1000,
        )
