"""The whole job by the acts alone: author signs, node seals to three, two readers verify, open, log, receipt.

One process, one core, no wire: what is lost here is lost in checking, encoding and storing.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from bench import bound, counting
from bench.acts import Acts
from bench.federation import ABSENT, READERS, bulletins
from bench.setting import Setting
from bench.spent import Rounds, spent
from bench.table import Row, per

NUMBER = 128  # bulletins a round


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes."""
    with ExitStack() as stack:
        acts = Acts(setting.federation(), stack)
        return [_row(setting, acts, name, size) for name, size in setting.sizes.items()]


def _row(setting: Setting, acts: Acts, name: str, size: int) -> Row:
    calls, number, folder = count(setting, acts, size), NUMBER, setting.scratch("bound")
    primitives = bound.Primitives()
    _, made = bound.run(calls, primitives, folder)
    if made != calls:
        raise counting.ZeroCallsError("the bound did not repeat the product's calls")
    rounds = Rounds(number)
    for _ in range(setting.rounds):
        fresh = bulletins(number, size, *READERS, ABSENT, first=setting.serials(number))
        product = spent(partial(acts.whole_job, fresh), number)
        rounds.add(product, spent(lambda: bound.run(calls, primitives, folder), number))
    return Row(
        what=f"whole job, acts only, one core, {name}",
        product=rounds.product,
        bound=rounds.rival,
        share=rounds.cpu_share,
        cpu_us=rounds.cpu_us,
        bound_cpu_us=rounds.rival_cpu_us,
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
