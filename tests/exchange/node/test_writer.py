"""The writing order: after any error nothing is signed, and the next start finds exactly what was durable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint, parse_note
from exchange.node import node
from keys.errors import IntegrityError, UnavailableError
from tests.exchange.node.writer_bench import BEFORE, DURABLE, Bench, assert_sound, heartbeat
from tests.exchange.store.faulty_store import STEPS
from tests.support.home_files import DATABASE, LOCK
from tests.support.world import NOW_MS, records, view_of


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


def test_an_entry_that_breaks_its_kinds_rule_is_never_written(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        with pytest.raises(UnavailableError):
            bench.writer.run(lambda w: w.log.add(Body(kind=Kind.RECEIVED)))
        assert isinstance(bench.writer.failure, IntegrityError)
    assert_sound(tmp_path, BEFORE)


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
