"""How long an officer waits for the receipt: 100 a second, one by one, over the Desk, until it is durable and proven.

Beside it, at the same rate and in the same run: a unary gRPC echo over the same mutual TLS whose server commits one row
to SQLite with ``synchronous=FULL`` before it answers.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from bench.federation import READERS, SENDER, Federation, bulletins, sign
from bench.fleet import ROOT, check, running
from bench.ingest import named_row
from bench.setting import Setting
from bench.table import LESS, Row, percentile
from exchange.rpc.transport.channel import desk_channel
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.certificate import node_name, private_pem

RATE, SECONDS, WARM = 100, 4.0, 60
WINDOW, CHANNELS = 64, 4  # calls that may be owed an answer; a node takes fewer on one connection
SIZE, READER = 2048, READERS[0]


def measure(setting: Setting) -> list[Row]:
    """Measure the product and the echo, twice each in turn; the better half of each counts."""
    made = setting.federation("ingest")
    ours: list[list[float]] = []
    echo: list[list[float]] = []
    named_us, slowness, number = [], [], int(RATE * SECONDS) + WARM
    with running(made, SENDER) as fleet:
        for _ in range(2):
            before = fleet.cpu()[SENDER]
            ours.append(asyncio.run(_publishing(setting, fleet)))
            slowness.append(setting.machine.slowness())
            named_us.append((fleet.cpu()[SENDER] - before) / number * 1e6 / slowness[-1])
            echo.append(asyncio.run(_echoing(made)))
    product = min(ours, key=lambda took: percentile(took, 0.5))
    rival = min(echo, key=lambda took: percentile(took, 0.5))
    p50, p99 = percentile(product, 0.5) * 1e3, percentile(product, 0.99) * 1e3
    base = percentile(rival, 0.5) * 1e3
    said = f"{RATE}/s for {SECONDS:g} s, sealed to one; the echo's p99 is {percentile(rival, 0.99) * 1e3:.1f} ms"
    return [
        Row(what=f"own-log receipt at {RATE}/s, p50 / (echo + one-row commit)", unit="ms", product=p50, bound=base,
            share=p50 / base, must=4, aim=3, better=LESS, p50_ms=p50, p99_ms=p99, note=said),
        Row(what=f"own-log receipt at {RATE}/s, p99", unit="ms", product=p99, share=p99, share_unit="ms", must=25, aim=12,
            better=LESS, p50_ms=p50, p99_ms=p99),
        named_row(f"server CPU a bulletin: one a call at {RATE}/s, sealed to one", named_us, slowness),
    ]  # fmt: skip


async def _publishing(setting: Setting, fleet: Any) -> list[float]:
    number = int(RATE * SECONDS) + WARM
    fresh = bulletins(number, SIZE, READER, first=setting.serials(number))
    signed = [sign(each, fleet.made).to_message() for each in fresh]
    async with AsyncExitStack() as stack:
        stubs = [node_pb2_grpc.DeskStub(await stack.enter_async_context(fleet.channel())) for _ in range(CHANNELS)]

        async def one(place: int) -> None:
            answer = await stubs[place % CHANNELS].PublishOne(node_pb2.PublishOneRequest(statement=signed[place]))
            check([answer.result])

        return await _paced(one, number)


async def _echoing(made: Federation) -> list[float]:
    home = made.home(SENDER)
    keys = made.keys[SENDER]
    (made.folder / "echo.pem").write_bytes(private_pem(keys.node.tls_private))
    (made.folder / "echo.pem").chmod(0o600)
    command = [sys.executable, "-m", "bench.echo", str(home), str(made.folder / "echo.pem")]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    author = keys.officers[0]
    name = node_name(keys.agency, keys.application.federation_name)
    pem = private_pem(author.keys.tls_private)
    payload = os.urandom(SIZE)
    try:
        async with desk_channel(f"127.0.0.1:{port}", keys.authority.der, author.tls_leaf, pem, name) as channel:
            call: Any = channel.unary_unary("/bench.Echo/Echo")
            return await _paced(lambda _: call(payload), int(RATE * SECONDS) + WARM)
    finally:
        server.communicate("")


async def _paced(one: Callable[[int], Awaitable[Any]], number: int) -> list[float]:
    """Begin a call every ten milliseconds; time runs from when each was due, so whoever falls behind says so."""
    took: list[float] = []
    began = time.perf_counter() + 0.05

    async def timed(place: int) -> None:
        due = began + place / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await one(place)
        if place >= WARM:
            took.append(time.perf_counter() - due)

    waiting = iter(range(number))

    async def worker() -> None:
        for place in waiting:
            await timed(place)

    await asyncio.gather(*(worker() for _ in range(WINDOW)))
    return took
