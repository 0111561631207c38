"""Taking statements in: verified, sealed, durable, logged and receipted, over the Desk's mutual TLS, batched.

One node, nobody follows it; one stream of 32 statements a message. The bound repeats the node's primitive calls on one
core. The share is the bound's CPU over the node's, because the author's program runs on the same two cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from bench import bound, counting
from bench.federation import ABSENT, READERS, SENDER, bulletins, sign
from bench.fleet import Fleet, running
from bench.machine import NAMED_US
from bench.setting import Setting
from bench.spent import Rounds, Spent, spent
from bench.table import LESS, Row, per, percentile
from keys.v1 import signed_pb2

NUMBER = 640  # bulletins a round: twenty messages, so that dialling and what is in flight at the ends count little
Load = Callable[[Fleet, Sequence[signed_pb2.SignedPayload]], Awaitable[list[float]]]


class _Batch(NamedTuple):
    """What is published in one round."""

    size: int  # bytes of a bulletin
    many: bool  # findings rather than long texts


@dataclass(slots=True)
class Measured:
    """What a load found."""

    rounds: Rounds
    product_calls: counting.Calls
    bound_calls: counting.Calls
    took: list[float] = field(default_factory=list)  # seconds, of each message
    named_us: list[float] = field(default_factory=list)  # CPU a bulletin, as on the named machine
    slowness: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return what every row of this measurement has: rates, CPU and calls."""
        return {
            "product": self.rounds.product,
            "bound": self.rounds.rival,
            "cpu_us": self.rounds.cpu_us,
            "bound_cpu_us": self.rounds.rival_cpu_us,
            "p50_ms": percentile(self.took, 0.5) * 1e3,
            "p99_ms": percentile(self.took, 0.99) * 1e3,
            "product_calls": per(counting.by_name(self.product_calls), NUMBER),
            "bound_calls": per(counting.by_name(self.bound_calls), NUMBER),
        }

    def named(self, what: str, must: float, aim: float) -> Row:
        """Make the row of the server's CPU in microseconds of the machine that the targets name."""
        return named_row(what, self.named_us, self.slowness, must, aim)


def named_row(
    what: str, named_us: Sequence[float], slowness: Sequence[float], must: float | None = None, aim: float | None = None
) -> Row:
    """Make the row of a CPU figure in microseconds of the machine that the targets name."""
    share, slow = median(named_us), median(slowness)
    note = f"on a machine whose whole-job bound is {NAMED_US:,.0f} µs; this one's is {NAMED_US * slow:,.0f}"
    return Row(what=what, unit="µs", product=share * slow, share=share, share_unit="µs", must=must, aim=aim,
               better=LESS, cpu_us=share * slow, bound_cpu_us=NAMED_US * slow, note=note)  # fmt: skip


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes, sealed to three as in the whole job."""
    rows = []
    with running(setting.federation("ingest"), SENDER) as fleet:
        for name, size in setting.sizes.items():
            measured = measure_load(setting, fleet, size, batched)
            rows.append(_row(fleet, f"ingest, batched, share of one core's CPU, {name}", measured, must=0.42, aim=0.55))
            if size == min(setting.sizes.values()):
                rows.append(measured.named(f"server CPU a bulletin: publish batched, {name}", 1250, 1000))
        name, size = list(setting.sizes.items())[-1]
        if not setting.quick:
            measured = measure_load(setting, fleet, size, batched, many=True)
            rows.append(_row(fleet, f"ingest, batched, {name} of findings", measured))
    return rows


def _row(fleet: Fleet, what: str, measured: Measured, **asked: float) -> Row:
    return Row(
        what=what,
        share=measured.rounds.cpu_share,
        memory_mib=fleet.sender.ask("stat")["mib"],
        note="a real advisory, its texts lengthened (or its findings repeated), sealed to three; latencies are of a message",
        **asked,
        **measured.figures(),
    )


def measure_load(setting: Setting, fleet: Fleet, size: int, load: Load, *, many: bool = False) -> Measured:
    """Count what a load calls; then let it and its bound take turns."""
    batch = _Batch(size, many)
    _round(setting, fleet, load, batch)
    fleet.count()
    _round(setting, fleet, load, batch)
    calls = fleet.counts()
    counting.demand(calls, counting.INGEST)
    primitives, folder = bound.Primitives(), setting.scratch("bound")
    _, made = bound.run(calls, primitives, folder)
    if made != calls:
        raise counting.ZeroCallsError("the bound did not repeat the product's calls")
    measured = Measured(Rounds(NUMBER), calls, made)
    for _ in range(setting.rounds):
        product, latencies = _round(setting, fleet, load, batch)
        measured.took += latencies
        measured.rounds.add(product, spent(lambda: bound.run(calls, primitives, folder), NUMBER))
        measured.slowness.append(setting.machine.slowness())
        measured.named_us.append(product.cpu_us / measured.slowness[-1])
    return measured


def _round(setting: Setting, fleet: Fleet, load: Load, batch: _Batch) -> tuple[Spent, list[float]]:
    """Sign first, which is the author's part; then time the node's."""
    first = setting.serials(NUMBER)
    fresh = bulletins(NUMBER, batch.size, *READERS, ABSENT, first=first, many=batch.many)
    signed = [sign(each, fleet.made).to_message() for each in fresh]
    took: list[float] = []

    async def loaded() -> None:
        took.extend(await load(fleet, signed))

    return spent(lambda: asyncio.run(loaded()), NUMBER, lambda: fleet.cpu()[SENDER]), took


async def batched(fleet: Fleet, signed: Sequence[signed_pb2.SignedPayload]) -> list[float]:
    """Publish on one stream."""
    return await fleet.publish_signed(signed)
