"""How fast this machine is just now, by a fixed piece of work: the primitives of a whole job as they once were counted.

Targets in microseconds name the machine on which a whole job's primitives take 1,600 µs a bulletin. The piece of work
stays as it is when the product needs fewer calls, so that a figure in microseconds means the same before and after.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench import bound, counting
from bench.counting import Calls

NAMED_US = 1600.0  # a bulletin, on the machine that the targets name
_NUMBER = 160  # bulletins
# Of one bulletin of 2 KiB to three agencies, two of which read it: counted over mutual TLS at 39ee49b; mean sizes.
_CALLS = {
    (counting.SIGN, 1187): 2.3125,
    (counting.VERIFY, 1492): 5.40625,
    (counting.WRAP, 32): 3,
    (counting.UNWRAP, 32): 2,
    (counting.SEAL, 4096): 1,
    (counting.OPEN, 4168): 2,
    (counting.STORE, 32): 3,
    (counting.SHA256, 296): 148,
    (counting.HMAC, 38): 9,
    (counting.COMMIT, 0): 0.1875,
}


class Machine:
    """The piece of work, ready to be repeated."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = Calls({key: round(number * _NUMBER) for key, number in _CALLS.items()})

    def bound_us(self) -> float:
        """Return the CPU microseconds a bulletin that the fixed primitives take now."""
        before = children_cpu()
        bound.run_on_two_cores(self._calls, self._folder)
        return (children_cpu() - before) / _NUMBER * 1e6

    def slowness(self) -> float:
        """Return by how much this machine is slower than the named one just now; below 1 it is faster."""
        return self.bound_us() / NAMED_US


def children_cpu() -> float:
    """Return the CPU seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system
