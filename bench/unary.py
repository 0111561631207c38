"""Publishing one statement a call, at saturation: 64 calls in flight, the node on one core.

The node gathers what waits into commit groups; how many a group is the note's figure. The same calls at a set rate,
where nothing waits, are ``latency``'s.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from bench.federation import SENDER
from bench.fleet import Fleet, check, running
from bench.ingest import NUMBER, measure_load
from bench.setting import Setting
from bench.table import Row
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.v1 import signed_pb2

IN_FLIGHT, CHANNELS = 64, 4


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes, sealed to three as in the whole job."""
    rows = []
    with running(setting.federation("ingest"), SENDER) as fleet:
        fleet.sender.pin(sorted(os.sched_getaffinity(0))[-1:])
        for name, size in setting.sizes.items():
            rows += _rows(setting, fleet, name, size)
    return rows


def _rows(setting: Setting, fleet: Fleet, name: str, size: int) -> list[Row]:
    before = fleet.sender.ask("stat")["groups"]
    measured = measure_load(setting, fleet, size, one_by_one)
    groups = fleet.sender.ask("stat")["groups"] - before
    a_group = NUMBER * (setting.rounds + 2) / groups
    figures = measured.figures()
    rate = Row(
        what=f"one a call, calls a second at saturation, one core, {name}",
        share=figures["product"],
        share_unit="/s",
        must=500,
        aim=700,
        note=f"{IN_FLIGHT} in flight, {a_group:.1f} a group; by the node's CPU alone {1e6 / figures['cpu_us']:,.0f}/s",
        **figures,
    )
    return [rate, measured.named(f"server CPU a bulletin: one a call at saturation, {name}", 1700, 1400)]


async def one_by_one(fleet: Fleet, signed: Sequence[signed_pb2.SignedPayload]) -> list[float]:
    """Publish by unary calls, so many at once; a node takes fewer than that on one connection."""
    waiting, took = iter(signed), list[float]()
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(fleet.channel()) for _ in range(CHANNELS)]
        await asyncio.gather(
            *(_caller(channels[place % CHANNELS], waiting, took) for place in range(IN_FLIGHT)),
        )
    return took


async def _caller(channel: Any, waiting: Iterator[signed_pb2.SignedPayload], took: list[float]) -> None:
    stub = node_pb2_grpc.DeskStub(channel)
    for each in waiting:
        began = time.perf_counter()
        answer = await stub.PublishOne(node_pb2.PublishOneRequest(statement=each))
        took.append(time.perf_counter() - began)
        check([answer.result])
