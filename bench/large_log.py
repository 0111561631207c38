"""Whether a long log makes a node slower: two nodes of one kind, one with an empty log, in turn."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.acts import BATCH, Acts
from bench.federation import ABSENT, READERS, SENDER, bulletins, sign
from bench.filling import fill
from bench.setting import ROUNDS, Setting
from bench.table import Row, median_ratio

FULL, QUICK = 1_000_000, 140_000  # entries
NUMBER, SIZE = 160, 2048  # bulletins a round; bytes


def measure(setting: Setting) -> list[Row]:
    """Publish into both."""
    empty, large = setting.federation(), setting.federation("large")
    size = fill(large.home(SENDER), f"{SENDER.lower()}.bench.example/log/1", FULL if setting.full else QUICK)
    pairs = []
    with ExitStack() as stack:
        small, big = Acts(empty, stack), Acts(large, stack)
        for place in range(ROUNDS + 1):
            pair = (_publish(setting, big), _publish(setting, small))
            if place:  # the first round only warms both
                pairs.append(pair)
    middle = sorted(pairs, key=lambda pair: pair[1] / pair[0])[len(pairs) // 2]
    return [
        Row(
            what=f"publishing rate at {size:,} log entries / at an empty log, acts",
            product=NUMBER / middle[0],
            bound=NUMBER / middle[1],
            share=median_ratio((two, one) for one, two in pairs),
            must=0.9,
            aim=1,
            note="" if setting.full else f"--full takes {FULL:,}",
        )
    ]


def _publish(setting: Setting, acts: Acts) -> float:
    fresh = bulletins(NUMBER, SIZE, *READERS, ABSENT, first=setting.serials(NUMBER))
    signed = [sign(each, acts.made) for each in fresh]
    began = time.perf_counter()
    for first in range(0, NUMBER, BATCH):
        acts.publish(signed[first : first + BATCH])
    return time.perf_counter() - began
