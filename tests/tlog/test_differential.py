"""Ours and aics-tlog, which shares no code with it, say the same of notes, proofs and logs, but where a list says why.

10,000 cases by default; a million in a soak. Some of each are good, so that agreement is not refusal alone.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.support.scale import SCALE, SLOW
from tests.tlog.asking import Ask, asking
from tests.tlog.cases import Case, logs, notes, proofs
from tests.tlog.disagreements import KNOWN, explain

TIMES = [  # a soak of any length has the million
    pytest.param(0.25, id="some"),
    pytest.param(1 if SCALE == 1 else 100, id="whole", marks=SLOW),
]
BATCH = 100
SEED = 20_261_122


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with asking() as put:
        yield put


def compare(ask: Ask, cases: Iterable[Case], at_once: int = BATCH) -> Counter[str]:
    """Ask about all cases; count agreements and explained disagreements; fail on the first that nothing explains."""
    counts: Counter[str] = Counter()
    waiting = iter(cases)
    while batch := list(islice(waiting, at_once)):
        for case, theirs in zip(batch, ask(batch), strict=True):
            if case.ours == theirs:
                counts["accepted" if theirs else "refused"] += 1
                continue
            name = explain(case, case.ours)
            assert name is not None, f"we say {case.ours}, aics-tlog {theirs}: {case}"
            counts[name] += 1
    return counts


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", TIMES)
def test_notes_and_cosignatures_are_judged_alike(times: float, ask: Ask) -> None:
    counts = compare(ask, notes(random.Random(SEED), int(4000 * times)))
    assert counts["accepted"] > 400 * times
    assert counts["refused"] > 1500 * times


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", TIMES)
def test_inclusion_and_consistency_proofs_are_judged_alike(times: float, ask: Ask) -> None:
    counts = compare(ask, proofs(random.Random(SEED), int(5000 * times)))
    assert counts["accepted"] > 1500 * times
    assert counts["refused"] > 2000 * times


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("size", [24, 300])
def test_logs_are_judged_alike(
    size: int, times: float, ask: Ask, make_folder: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    base = make_folder(tmp_path / "base", size)
    scratch = tmp_path / "scratch"
    shutil.copytree(base, scratch)
    for path in scratch.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # One at a time: a log that is written anew must be judged before the next takes its place.
    counts = compare(ask, logs(random.Random(SEED), int(500 * times), base, scratch), at_once=1)
    assert counts["accepted"] > 10 * times
    assert counts["refused"] > 300 * times


def test_each_line_of_the_list_happens(ask: Ask, make_folder: Callable[[Path, int], Path], tmp_path: Path) -> None:
    """A row that explains nothing any more would hide a new disagreement."""
    dice = random.Random(SEED + 1)
    counts = compare(ask, notes(dice, 3000)) + compare(ask, proofs(dice, 2000))
    base = make_folder(tmp_path / "base", 24)
    shutil.copytree(base, tmp_path / "scratch")
    for path in (tmp_path / "scratch").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    counts += compare(ask, logs(dice, 300, base, tmp_path / "scratch"), at_once=1)
    assert set(KNOWN) <= set(counts)
