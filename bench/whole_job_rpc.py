"""The whole job over mutual TLS, at saturation and batched: an author's program, the sender's node, two readers' nodes.

Four processes share this machine's cores; the bound has two processes for the same primitive calls. The share is the
bound's CPU over all four processes' CPU. The readers are done when the sender has recorded their receipts.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import mean, median

from bench import bound, counting
from bench.federation import ABSENT, READERS, SENDER, bulletins
from bench.fleet import Fleet, running
from bench.ingest import named_row
from bench.machine import children_cpu
from bench.setting import Setting
from bench.spent import Rounds, Spent
from bench.table import Row, per

NUMBER = 480  # bulletins a round


@dataclass(slots=True)
class _Parts:
    """CPU microseconds a bulletin, round by round."""

    author: list[float] = field(default_factory=list)
    sender: list[float] = field(default_factory=list)
    reader: list[float] = field(default_factory=list)  # of one
    slowness: list[float] = field(default_factory=list)


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes."""
    rows = []
    with running(setting.federation(), SENDER, *READERS) as fleet:
        for name, size in setting.sizes.items():
            rows += _rows(setting, fleet, name, size)
    return rows


def _rows(setting: Setting, fleet: Fleet, name: str, size: int) -> list[Row]:
    calls, folder = count(setting, fleet, size), setting.scratch("bound")
    rounds, parts = Rounds(NUMBER), _Parts()
    for _ in range(setting.rounds):
        product = _job(setting, fleet, size, parts)
        children = children_cpu()
        seconds, made = bound.run_on_two_cores(calls, folder)
        if made != calls:
            raise counting.ZeroCallsError("the bound did not repeat the product's calls")
        bare = Spent(seconds=seconds, cpu_us=(children_cpu() - children) / NUMBER * 1e6)
        rounds.add(product, bare)
    by_part = (
        f"author {median(parts.author):,.0f}, sender {median(parts.sender):,.0f}, reader {median(parts.reader):,.0f}"
    )
    whole = Row(
        what=f"whole job over mutual TLS, share of the bound's CPU, {name}",
        product=rounds.product,
        bound=rounds.rival,
        share=rounds.cpu_share,
        must=0.4,
        aim=0.5,
        cpu_us=rounds.cpu_us,
        bound_cpu_us=rounds.rival_cpu_us,
        memory_mib=fleet.sender.ask("stat")["mib"],
        product_calls=per(counting.by_name(calls), NUMBER),
        bound_calls=per(counting.by_name(made), NUMBER),
        note=f"{os.cpu_count()} cores for author, node and two readers' nodes; CPU µs: {by_part}",
    )
    reader = [cpu / slow for cpu, slow in zip(parts.reader, parts.slowness, strict=True)]
    return [whole, named_row(f"server CPU a bulletin: reader, {name}", reader, parts.slowness, 1200, 950)]


def _job(setting: Setting, fleet: Fleet, size: int, parts: _Parts) -> Spent:
    fresh = bulletins(NUMBER, size, *READERS, ABSENT, first=setting.serials(NUMBER))
    before, own = fleet.cpu(), time.process_time()
    seconds = fleet.whole_job(fresh)
    after = fleet.cpu()
    author = (time.process_time() - own) / NUMBER * 1e6
    cpu = {agency: (after[agency] - before[agency]) / NUMBER * 1e6 for agency in after}
    parts.author.append(author)
    parts.sender.append(cpu[SENDER])
    parts.reader.append(mean(cpu[each] for each in READERS))
    parts.slowness.append(setting.machine.slowness())
    return Spent(seconds=seconds, cpu_us=author + sum(cpu.values()))


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
