"""Commit groups: who shares one, what a refusal leaves in it, when it departs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.departure import FULL_GROUP, PATIENCE_SECONDS
from exchange.node.writer import MAX_GROUP
from exchange.records.receipt import verify_receipt
from keys.errors import RefusedError, UnavailableError
from tests.exchange.node.writer_bench import BEFORE, Bench, assert_sound, heartbeat, refuse, together


def test_an_error_that_is_no_refusal_ends_the_whole_group(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        futures = together(bench, heartbeat, lambda work: 1 // 0, heartbeat)
        assert [type(error) for error in futures] == [UnavailableError] * 3
        assert isinstance(bench.writer.failure, ZeroDivisionError)
        assert bench.size == BEFORE
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


def test_one_signature_serves_a_whole_group(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        indices = together(bench, *[heartbeat] * 200)
        assert indices == list(range(BEFORE, BEFORE + 200))
        assert len(bench.signer.signed) == 1
        assert MAX_GROUP >= 200


def test_an_act_alone_begins_at_the_loops_next_turn(tmp_path: Path) -> None:
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


class SlowLoop(asyncio.SelectorEventLoop):
    """Its clock goes at a hundredth of the speed: a machine that does much else is late by little."""

    def time(self) -> float:
        return super().time() / 100


def test_callers_who_come_back_one_after_the_other_share_the_next_group(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:

        async def run() -> None:
            await asyncio.gather(*(bench.writer.submit(heartbeat) for _ in range(8)))
            assert bench.writer.groups == 1
            futures = []
            for _ in range(8):
                futures.append(bench.writer.submit(heartbeat))
                await asyncio.sleep(PATIENCE_SECONDS / 10)
            await asyncio.gather(*futures)

        with asyncio.Runner(loop_factory=SlowLoop) as runner:
            runner.run(run())
        assert bench.writer.groups == 2


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
