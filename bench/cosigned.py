"""How long after an append the quorum has cosigned it: three nodes, each in its process, over mutual TLS on loopback."""

from __future__ import annotations

import asyncio
import random
import time

from bench.federation import READERS, SENDER, bulletins, found
from bench.fleet import Fleet, running
from bench.setting import Setting
from bench.table import LESS, Row, percentile

NUMBER, FULL = 20, 120  # appends that are watched
SIZE, POLL_SECONDS, PATIENCE_SECONDS = 2048, 0.01, 30.0


def measure(setting: Setting) -> list[Row]:
    """Publish at odd moments and look when the witnessed size covers it."""
    made = found(setting.scratch("three"), (SENDER, *READERS))
    dice, took = random.Random(1), []
    with running(made, SENDER, *READERS) as fleet:
        for message in bulletins((FULL if setting.full else NUMBER) + 1, SIZE, READERS[0]):
            time.sleep(dice.random())
            asyncio.run(fleet.publish([message]))
            took.append(_wait(fleet))
    del took[0]  # channels are still being opened
    p50, p99 = percentile(took, 0.5) * 1e3, percentile(took, 0.99) * 1e3
    return [
        Row(what="append until the quorum has cosigned it, three nodes, p99", unit="ms", product=p99, share=p99,
            share_unit="ms", must=2000, aim=1200, better=LESS, p50_ms=p50, p99_ms=p99,
            note=f"{len(took)} appends; a checkpoint is published at most once a second"),
    ]  # fmt: skip


def _wait(fleet: Fleet) -> float:
    began = time.perf_counter()
    size = fleet.sender.ask("stat")["size"]
    while fleet.sender.ask("stat")["witnessed"] < size:
        if time.perf_counter() - began > PATIENCE_SECONDS:
            raise TimeoutError(f"size {size} is not cosigned")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - began
