"""The whole job over mutual TLS, at saturation and batched: an author's program, the sender's node, two readers' nodes.

Four processes share this machine's cores; the bound has two processes for the same primitive calls. The readers are
done when the sender has recorded their receipts.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from statistics import median

from bench import bound, counting
from bench.federation import ABSENT, READERS, SENDER, bulletins
from bench.fleet import Fleet, running
from bench.setting import ROUNDS, SIZES, Setting
from bench.table import Row, median_ratio, per

NUMBER = 160  # bulletins a round


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes."""
    with running(setting.federation(), SENDER, *READERS) as fleet:
        return [_row(setting, fleet, name, size) for name, size in SIZES.items()]


def _row(setting: Setting, fleet: Fleet, name: str, size: int) -> Row:
    calls, folder = count(setting, fleet, size), setting.scratch("bound")
    pairs, cpu, bare = [], [], []
    for _ in range(ROUNDS):
        fresh = bulletins(NUMBER, size, *READERS, ABSENT, first=setting.serials(NUMBER))
        before = sum(fleet.cpu().values()) + time.process_time()
        seconds = fleet.whole_job(fresh)
        cpu.append((sum(fleet.cpu().values()) + time.process_time() - before) / NUMBER * 1e6)
        children = _children()
        took, made = bound.run_on_two_cores(calls, folder)
        if made != calls:
            raise counting.ZeroCallsError("the bound did not repeat the product's calls")
        bare.append((_children() - children) / NUMBER * 1e6)
        pairs.append((seconds, took))
    middle = sorted(pairs, key=lambda pair: pair[1] / pair[0])[len(pairs) // 2]
    return Row(
        what=f"whole job, batched, mutual TLS / two-core bound, {name}",
        product=NUMBER / middle[0],
        bound=NUMBER / middle[1],
        share=median_ratio((two, one) for one, two in pairs),
        must=0.6,
        aim=0.8,
        cpu_us=median(cpu),
        bound_cpu_us=median(bare),
        memory_mib=fleet.sender.ask("stat")["mib"],
        product_calls=per(counting.by_name(calls), NUMBER),
        bound_calls=per(counting.by_name(made), NUMBER),
        note=f"{os.cpu_count()} cores for author, node and two readers' nodes; CPU is of all four",
    )


def _children() -> float:
    """Give the CPU seconds of the bound's processes, which have ended."""
    times = os.times()
    return times.children_user + times.children_system


def count(setting: Setting, fleet: Fleet, size: int) -> counting.Calls:
    """Count what the job calls in all processes, in a run that is not timed."""
    first = setting.serials(2 * NUMBER)
    messages = bulletins(2 * NUMBER, size, *READERS, ABSENT, first=first)
    fleet.whole_job(messages[:NUMBER])
    fleet.count()
    with counting.counting() as authors:
        fleet.whole_job(messages[NUMBER:])
    calls: counting.Calls = Counter(authors)
    calls.update(fleet.counts())
    counting.demand(calls, counting.WHOLE_JOB)
    return calls
