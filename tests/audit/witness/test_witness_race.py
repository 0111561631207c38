"""Row 20: racing requests never move a witness back, in threads and processes that share one file."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from audit.log.sqlite_witness import SqliteWitnessState
from tests.audit.witness.race import FORK_AT, SIZE
from tests.audit.witness.witness_world import ORIGIN, GrowingLog
from tests.support.scale import lengths

ROOT = Path(__file__).resolve().parents[3]
PROCESSES = 2


def race(path: Path, requests: int, compares: str) -> list[tuple[int, int, str]]:
    """Return (time, size, root) of every cosignature, in the order of their times."""
    SqliteWitnessState.create(path).close()
    words = [sys.executable, "-m", "tests.audit.witness.race", str(path)]
    running = [
        subprocess.Popen([*words, str(seed), str(requests // PROCESSES), compares], cwd=ROOT, stdout=subprocess.PIPE)
        for seed in range(PROCESSES)
    ]
    found = []
    for process in running:
        out, _ = process.communicate(timeout=900)
        assert process.returncode == 0
        for line in out.decode().splitlines():
            time, size, root = line.split()
            found.append((int(time), int(size), root))
    return sorted(found)


def went_back(cosigned: list[tuple[int, int, str]]) -> int:
    """Count the cosignatures of a smaller size after a larger one, or of another root of the same size."""
    pairs = pairwise(cosigned)
    return sum(b < a or (a == b and one != two) for (_, a, one), (_, b, two) in pairs)


@pytest.mark.parametrize("requests", lengths(1_000, 10_000))
def test_racing_requests_never_go_back_row_20(requests: int, tmp_path: Path) -> None:
    cosigned = race(tmp_path / "witness.db", requests, "with")
    assert len(cosigned) > requests // 20
    assert went_back(cosigned) == 0
    log = GrowingLog().grow(SIZE)
    branch = GrowingLog().grow(FORK_AT).grow(SIZE - FORK_AT, salt="branch")
    for history in (log, branch):  # all of one history: the first to pass the fork decided
        if all(history.tree.root(size).hex() == root for _, size, root in cosigned):
            break
    else:
        raise AssertionError("both branches were cosigned")
    known = SqliteWitnessState(tmp_path / "witness.db").cosigned(ORIGIN)
    assert known is not None
    assert known.size == cosigned[-1][1] > FORK_AT


def test_a_state_without_the_comparison_goes_back_row_20_control(tmp_path: Path) -> None:
    assert went_back(race(tmp_path / "witness.db", 2_000, "without")) > 0
