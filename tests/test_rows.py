"""Every row of the attack tables has its tests, and they exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.rows import ATTACKS, ROWS, Row

TESTS = Path(__file__).resolve().parent
ASKED = frozenset({17, 18, 20, 61, 62, 63, 64, 68})
EVERY = [
    pytest.param(row, id=f"{name}-{number}")
    for name, table in (("attack", ATTACKS), ("row", ROWS))
    for number, row in table.items()
]


@cache
def functions() -> list[str]:
    """Return the names of all test functions, wherever they lie."""
    return [
        name
        for path in sorted(TESTS.rglob("*.py"))
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    ]


def test_no_row_is_left_out() -> None:
    assert list(ATTACKS) == list(range(1, 26))
    assert set(ROWS) == ASKED


@pytest.mark.parametrize("row", EVERY)
def test_the_tests_of_a_row_exist(row: Row) -> None:
    assert row.tests
    for name in (*row.tests, *row.controls):
        assert functions().count(name) == 1, name
