"""A node's process looks for garbage rarely, and still finds it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from exchange.node.garbage import THRESHOLDS, collect_rarely

class Ring:
    pass

collect_rarely()
assert gc.get_freeze_count() > 1000
assert gc.isenabled() and gc.get_threshold() == THRESHOLDS
ring = Ring()
ring.itself = ring
seen = weakref.ref(ring)
del ring
kept = [[] for _ in range(700)]
assert seen() is not None
kept += [[] for _ in range(THRESHOLDS[0])]
assert seen() is None
"""


def test_a_cycle_outlives_seven_hundred_objects_and_not_ten_thousand() -> None:
    """In a process of its own: the setting is the whole process's."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
