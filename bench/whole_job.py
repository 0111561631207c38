"""The whole job by the acts alone: author signs, node seals to three, two readers verify, open, log, receipt.

One process, one core, no wire: what is lost here is lost in checking, encoding and storing.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median

from bench import bound, counting
from bench.acts import Acts
from bench.federation import ABSENT, READERS, bulletins
from bench.setting import ROUNDS, SIZES, Setting
from bench.table import Row, median_ratio, per

NUMBER = 128  # bulletins a round


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes."""
    with ExitStack() as stack:
        acts = Acts(setting.federation(), stack)
        return [_row(setting, acts, name, size) for name, size in SIZES.items()]


def _row(setting: Setting, acts: Acts, name: str, size: int) -> Row:
    calls, number, folder = count(setting, acts, size), NUMBER, setting.scratch("bound")
    primitives = bound.Primitives()
    _, made = bound.run(calls, primitives, folder)
    if made != calls:
        raise counting.ZeroCallsError("the bound did not repeat the product's calls")
    pairs, cpu, bare = [], [], []
    for _ in range(ROUNDS):
        fresh = bulletins(number, size, *READERS, ABSENT, first=setting.serials(number))
        began, began_cpu = time.perf_counter(), time.process_time()
        acts.whole_job(fresh)
        seconds = time.perf_counter() - began
        cpu.append((time.process_time() - began_cpu) / number * 1e6)
        began_cpu = time.process_time()
        pairs.append((seconds, bound.run(calls, primitives, folder)[0]))
        bare.append((time.process_time() - began_cpu) / number * 1e6)
    best = sorted(pairs, key=lambda pair: pair[1] / pair[0])[len(pairs) // 2]
    return Row(
        what=f"whole job, acts only, one core, {name}",
        product=number / best[0],
        bound=number / best[1],
        share=median_ratio((two, one) for one, two in pairs),
        cpu_us=median(cpu),
        bound_cpu_us=median(bare),
        product_calls=per(counting.by_name(calls), number),
        bound_calls=per(counting.by_name(made), number),
    )


def count(setting: Setting, acts: Acts, size: int) -> counting.Calls:
    """Count what the job calls, in a run that is not timed."""
    first = setting.serials(2 * NUMBER)
    messages = bulletins(2 * NUMBER, size, *READERS, ABSENT, first=first)
    acts.whole_job(messages[:NUMBER])
    with counting.counting() as calls:
        acts.whole_job(messages[NUMBER:])
    counting.demand(calls, counting.WHOLE_JOB)
    return calls
