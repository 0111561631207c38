"""Taking statements in: verified, sealed, durable, logged and receipted, over the Desk's mutual TLS.

One node, nobody follows it. The bound repeats the node's primitive calls on one core. Batched is one stream of 32 a
message; one by one is unary calls, 64 in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

from bench import bound, counting
from bench.federation import ABSENT, READERS, SENDER, bulletins, sign
from bench.fleet import Fleet, check, running
from bench.setting import ROUNDS, SIZES, Setting
from bench.table import Row, median_ratio, per, percentile
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.v1 import signed_pb2

NUMBER = 192  # bulletins a round
IN_FLIGHT, CHANNELS = 64, 4
Load = Callable[[Fleet, Sequence[signed_pb2.SignedPayload]], Awaitable[list[float]]]


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes, batched and one by one, sealed to three as in the whole job."""
    rows = []
    with running(setting.federation("ingest"), SENDER) as fleet:
        for name, size in SIZES.items():
            rows.append(_row(setting, fleet, f"ingest, batched, {name}", size, batched, (0.6, 0.9)))
            rows.append(
                _row(setting, fleet, f"ingest, one a call, 64 in flight, {name}", size, one_by_one, (0.25, 0.4))
            )
        name, size = list(SIZES.items())[-1]
        rows.append(_row(setting, fleet, f"ingest, batched, {name} of findings", size, batched, None, many=True))
    return rows


def _row(
    setting: Setting,
    fleet: Fleet,
    what: str,
    size: int,
    load: Load,
    asked: tuple[float, float] | None,
    *,
    many: bool = False,
) -> Row:
    _round(setting, fleet, size, load, many)
    fleet.count()
    _round(setting, fleet, size, load, many)
    calls = fleet.counts()
    counting.demand(calls, counting.INGEST)
    primitives, folder = bound.Primitives(), setting.scratch("bound")
    pairs, cpu, bare, took = [], [], [], []
    for _ in range(ROUNDS):
        before = fleet.cpu()[SENDER]
        seconds, latencies = _round(setting, fleet, size, load, many)
        cpu.append((fleet.cpu()[SENDER] - before) / NUMBER * 1e6)
        took += latencies
        began = time.process_time()
        repeated, made = bound.run(calls, primitives, folder)
        if made != calls:
            raise counting.ZeroCallsError("the bound did not repeat the product's calls")
        bare.append((time.process_time() - began) / NUMBER * 1e6)
        pairs.append((seconds, repeated))
    middle = sorted(pairs, key=lambda pair: pair[1] / pair[0])[len(pairs) // 2]
    return Row(
        what=what,
        product=NUMBER / middle[0],
        bound=NUMBER / middle[1],
        share=median_ratio((two, one) for one, two in pairs),
        must=asked[0] if asked else None,
        aim=asked[1] if asked else None,
        p50_ms=percentile(took, 0.5) * 1e3,
        p99_ms=percentile(took, 0.99) * 1e3,
        cpu_us=median(cpu),
        bound_cpu_us=median(bare),
        memory_mib=fleet.sender.ask("stat")["mib"],
        product_calls=per(counting.by_name(calls), NUMBER),
        bound_calls=per(counting.by_name(made), NUMBER),
        note="a real advisory, its texts lengthened (or its findings repeated), sealed to three; latencies are of a message",
    )


def _round(setting: Setting, fleet: Fleet, size: int, load: Load, many: bool) -> tuple[float, list[float]]:
    """Sign first, which is the author's part; then time the node's."""
    fresh = bulletins(NUMBER, size, *READERS, ABSENT, first=setting.serials(NUMBER), many=many)
    signed = [sign(each, fleet.made).to_message() for each in fresh]
    began = time.perf_counter()
    latencies = asyncio.run(_loaded(load, fleet, signed))
    return time.perf_counter() - began, latencies


async def _loaded(load: Load, fleet: Fleet, signed: Sequence[signed_pb2.SignedPayload]) -> list[float]:
    return await load(fleet, signed)


async def batched(fleet: Fleet, signed: Sequence[signed_pb2.SignedPayload]) -> list[float]:
    """Publish on one stream."""
    return await fleet.publish_signed(signed)


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
