"""The daily work beside the services: it runs, is tried again, ends with the node, and never in anybody's way."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange.node.maintenance import Done, Upkeep
from exchange.rpc.serve.daily import keep_up
from exchange.rpc.transport.program_log import ProgramLog
from keys.errors import IntegrityError, UnavailableError
from tests.exchange.node.keeping import Keeper, kept_for


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper("HK-IMMD", tmp_path / "home")
    yield made
    made.close()


async def nothing() -> None:
    """Renew nothing."""


class Told(Upkeep):
    """An upkeep that says when it ran, and fails as it is told."""

    def __init__(self, desk: Keeper, *failures: Exception) -> None:
        super().__init__(desk.node, None, lambda: desk.at_ms, bytes)
        self.ran, self.failures = 0, list(failures)

    def run(self) -> Done:
        self.ran += 1
        if self.failures:
            raise self.failures.pop(0)
        return super().run()


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.01)


def test_it_erases_while_others_write_and_says_so(desk: Keeper) -> None:
    for serial in range(1, 6):
        desk.publish(kept_for(1, serial))
    desk.pass_days(2)
    told, failures, threads = io.StringIO(), [], set()
    desk.node.on_group.append(lambda group, queued: threads.add(threading.get_ident()))

    async def day() -> None:
        task = asyncio.create_task(
            keep_up(Told(desk), ProgramLog(told, "HK-IMMD"), failures.append, renew=nothing, day_seconds=0.05)
        )
        others = [desk.node.writer.submit(lambda w: w.rows.next_number("ADV", 2026)) for _ in range(50)]
        assert sorted(await asyncio.gather(*others)) == list(range(1, 51))
        await until(lambda: '"erased"' in told.getvalue())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(day())
    assert failures == []
    assert threads == {threading.get_ident()}  # whoever hears of a group lives in the loop's thread
    assert '"count": 5' in told.getvalue()
    assert desk.node.reads.erased_count() == 5


def test_what_cannot_be_done_now_is_tried_again_and_what_contradicts_itself_stops_the_node(desk: Keeper) -> None:
    told, failures = io.StringIO(), []

    async def run(upkeep: Told, enough: Callable[[], bool]) -> None:
        task = asyncio.create_task(
            keep_up(
                upkeep,
                ProgramLog(told, "HK-IMMD"),
                failures.append,
                renew=nothing,
                day_seconds=0.01,
                again_seconds=0.01,
            )
        )
        await until(enough)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    busy = Told(desk, UnavailableError("busy", 1), ZeroDivisionError())
    asyncio.run(run(busy, lambda: busy.ran > 3))
    assert failures == []
    assert "ZeroDivisionError" in told.getvalue()
    broken = Told(desk, IntegrityError("the lock is gone"))
    asyncio.run(run(broken, lambda: bool(failures)))
    assert broken.ran == 1


def test_a_drain_waits_for_the_act_on_its_way_and_no_longer(desk: Keeper) -> None:
    for serial in range(1, 4):
        desk.publish(kept_for(1, serial))
    desk.pass_days(2)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Told):
        def _go_on(self) -> None:
            begun.set()
            assert go_on.wait(120)
            super()._go_on()

    async def drain() -> None:
        task = asyncio.create_task(keep_up(Slow(desk), ProgramLog(None, "HK-IMMD"), lambda error: None, renew=nothing))
        assert await asyncio.to_thread(begun.wait, 120)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()  # the thread is still there
        go_on.set()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(drain())
    assert desk.node.reads.erased_count() == 0  # the next run does it
