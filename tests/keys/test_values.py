"""Value classes of the hot path are values whichever way they run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from exchange.store.rows import LaneState
from keys.values import FROZEN, hot_value

PLAIN = """
from dataclasses import replace
from exchange.store.store import LaneState
one = LaneState(row=1, outgoing=True, peer="HK-SB", lane_class=2, epoch=1)
two = LaneState(row=1, outgoing=True, peer="HK-SB", lane_class=2, epoch=1)
assert one == two and hash(one) == hash(two) and one is not two
assert replace(one, sequence=4).sequence == 4 and one.sequence == 0
assert not hasattr(one, "__dict__")
one.sequence = 5
"""


def test_the_tests_run_them_frozen() -> None:
    lane: Any = LaneState(row=1, outgoing=True, peer="HK-SB", lane_class=2, epoch=1)
    with pytest.raises(FrozenInstanceError):
        lane.sequence = 5


def test_a_node_runs_them_plain_and_they_compare_and_hash_as_before() -> None:
    without = {name: value for name, value in os.environ.items() if name != FROZEN}
    subprocess.run([sys.executable, "-c", PLAIN], check=True, env=without)


def test_whoever_writes_one_that_is_not_frozen_is_told() -> None:
    with pytest.raises(TypeError, match="is frozen"):
        hot_value(frozen=False)
