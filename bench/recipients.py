"""What one recipient more costs the sender's node: CPU a bulletin against the number addressed, by least squares.

Only sealing, numbering and logging; nobody is connected. What the primitives alone cost (the wrap, its digests) is
measured in the same run and taken away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench import bound, counting
from bench.acts import BATCH, Acts
from bench.federation import bulletins, found, sign
from bench.setting import Setting
from bench.table import LESS, Row
from exchange.rules import packaged_catalogue
from keys.dsse import SignedPayload

NUMBER, SIZE, ROUNDS = 96, 2048, 8
STEPS = (1, 5, 9, 13)


def measure(setting: Setting) -> list[Row]:
    """Publish to more and more agencies."""
    others = sorted(set(packaged_catalogue().agencies) - {"HK-IMMD", "HK-SB", "TH-DSI"})
    agencies = ("HK-IMMD", "HK-SB", "TH-DSI", *others[: max(STEPS)])
    made = found(setting.scratch("wide"), agencies, homes=agencies[:3])
    product: dict[int, float] = {}
    bare: dict[int, float] = {}
    primitives, folder = bound.Primitives(), setting.scratch("bound")
    with ExitStack() as stack:
        acts = Acts(made, stack)
        for count in STEPS * ROUNDS:
            fresh = bulletins(2 * NUMBER, SIZE, *agencies[1 : 1 + count], first=setting.serials(2 * NUMBER))
            signed = [sign(each, made) for each in fresh]
            cpu = _cpu(partial(_publish, acts, signed[:NUMBER]))
            with counting.counting() as calls:
                _publish(acts, signed[NUMBER:])
            alone = _cpu(partial(bound.run, calls, primitives, folder))
            product[count] = min(cpu, product.get(count, cpu))
            bare[count] = min(alone, bare.get(count, alone))
    slow = setting.machine.slowness()
    slope, below = fit(product), fit(bare)
    return [
        Row(what="server CPU a further recipient, beyond its primitives", unit="µs", product=slope, bound=below,
            share=(slope - below) / slow, share_unit="µs", must=100, aim=60, better=LESS, cpu_us=slope, bound_cpu_us=below,
            note="the bound is its share of primitives: the hybrid wrap above all"),
    ]  # fmt: skip


def fit(points: dict[int, float]) -> float:
    """Return the slope of the line of least squares."""
    middle_x, middle_y = sum(points) / len(points), sum(points.values()) / len(points)
    rise = sum((x - middle_x) * (y - middle_y) for x, y in points.items())
    return rise / sum((x - middle_x) ** 2 for x in points)


def _publish(acts: Acts, signed: list[SignedPayload]) -> None:
    for first in range(0, len(signed), BATCH):
        acts.publish(signed[first : first + BATCH])


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / NUMBER * 1e6
