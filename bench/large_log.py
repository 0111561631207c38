"""Whether a long log makes a node slower: two nodes of one kind, one with an empty log, in turn."""

from __future__ import annotations

from contextlib import ExitStack

from bench.acts import BATCH, Acts
from bench.federation import ABSENT, READERS, SENDER, bulletins, sign
from bench.filling import fill
from bench.setting import Setting
from bench.spent import Rounds, Spent, spent
from bench.table import Row

FULL, QUICK = 1_000_000, 140_000  # entries
NUMBER, SIZE = 160, 2048  # bulletins a round; bytes


def measure(setting: Setting) -> list[Row]:
    """Publish into both."""
    empty, large = setting.federation(), setting.federation("large")
    size = fill(large.home(SENDER), f"{SENDER.lower()}.bench.example/log/1", FULL if setting.full else QUICK)
    rounds = Rounds(NUMBER)
    with ExitStack() as stack:
        small, big = Acts(empty, stack), Acts(large, stack)
        for place in range(setting.rounds + 1):
            pair = (_publish(setting, big), _publish(setting, small))
            if place:  # the first round only warms both
                rounds.add(*pair)
    return [
        Row(
            what=f"publishing, CPU at {size:,} log entries against an empty log, acts",
            product=rounds.product,
            bound=rounds.rival,
            share=rounds.cpu_share,
            must=0.9,
            aim=1,
            cpu_us=rounds.cpu_us,
            bound_cpu_us=rounds.rival_cpu_us,
            note="" if setting.full else f"--full takes {FULL:,}",
        )
    ]


def _publish(setting: Setting, acts: Acts) -> Spent:
    fresh = bulletins(NUMBER, SIZE, *READERS, ABSENT, first=setting.serials(NUMBER))
    signed = [sign(each, acts.made) for each in fresh]

    def publish() -> None:
        for first in range(0, NUMBER, BATCH):
            acts.publish(signed[first : first + BATCH])

    return spent(publish, NUMBER)
