"""A peer that does not come for what waits for it is told of: in the log, on the operator's socket, in the outbox."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

from exchange.rpc.transport.runtime import Runtime
from exchange.rpc.transport.silence import SilenceWatch
from exchange.v1 import node_pb2
from tests.flow.test_admin import status
from tests.flow.world import QUICK, World, bulletin, runtime, until

A, B = "HK-IMMD", "TH-DSI"
START_MS = 1_800_000_000_000


class Clock:
    def __init__(self) -> None:
        self.at_ms = START_MS

    def __call__(self) -> int:
        return self.at_ms


def alarms(log: io.StringIO) -> list[tuple[str, int]]:
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    return [(each["what"], each.get("count", 0)) for each in told if each["event"] == "alarm"]


def look_at(made: Runtime, clock: Clock, watch: SilenceWatch, *seconds: int) -> None:
    for each in seconds:
        clock.at_ms = START_MS + each * 1000
        watch.look()


async def waiting_for_b(world: World, *urgencies: int) -> None:
    await world[A].serve(alone=True)
    assert world[A].running is not None
    await world[A].running.ready()
    await world[A].publish(*(bulletin(A, B, urgency=each) for each in urgencies))


async def test_an_alarm_comes_after_two_minutes_again_after_ten_and_when_it_is_over(tmp_path: Path) -> None:
    world, clock, log = World(tmp_path, (A, B)), Clock(), io.StringIO()
    await waiting_for_b(world, 4, 4)
    made = runtime(world[A].node, clock, log=log)
    watch = SilenceWatch(made)
    look_at(made, clock, watch, 1, 119)
    assert alarms(log) == []
    look_at(made, clock, watch, 120, 300, 719)
    assert alarms(log) == [("peer-does-not-follow", 2)]
    look_at(made, clock, watch, 720, 800)
    assert alarms(log) == [("peer-does-not-follow", 2)] * 2
    made.connections.follows(world[B].agency)
    look_at(made, clock, watch, 801, 900)
    assert alarms(log)[2:] == [("peer-follows-again", 0)]
    made.connections.left(world[B].agency)  # at 900: the wait begins again
    look_at(made, clock, watch, 1019)
    assert len(alarms(log)) == 3
    look_at(made, clock, watch, 1020)
    assert len(alarms(log)) == 4


async def test_urgent_is_waited_for_thirty_seconds_and_nothing_for_ever(tmp_path: Path) -> None:
    world, clock, log = World(tmp_path, (A, B)), Clock(), io.StringIO()
    await waiting_for_b(world)
    made = runtime(world[A].node, clock, log=log)
    watch = SilenceWatch(made)
    look_at(made, clock, watch, 29, 100_000)
    assert alarms(log) == []
    clock.at_ms = START_MS
    await world[A].publish(bulletin(A, B, urgency=2))
    look_at(made, clock, watch, 29)
    assert alarms(log) == []
    look_at(made, clock, watch, 30)
    assert alarms(log) == [("peer-does-not-follow", 1)]


async def test_operator_and_officer_are_told_since_when(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=replace(QUICK, silent_seconds=0.2))
    await waiting_for_b(world, 4)
    running = world[A].running
    assert running is not None
    async with world[A].desk() as desk:

        async def state() -> node_pb2.OutboxState:
            (item,) = (await desk.Outbox(node_pb2.OutboxRequest())).items
            return item.recipients[0]

        await until(lambda: "peer-does-not-follow" in world[A].log.getvalue())
        told = (await status(world[A])).peers[0]
        assert (told.agency, told.waiting) == (B, 1)
        assert told.silent_since_ms == (await state()).silent_since_ms > 0
        await world[B].start()
        await until(lambda: "peer-follows-again" in world[A].log.getvalue())
        assert (await status(world[A])).peers[0].silent_since_ms == 0
        assert (await state()).silent_since_ms == 0
