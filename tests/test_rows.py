"""Every row of the attack tables has its tests, and they exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.rows import AUDIT, SECURITY, Row

TESTS = Path(__file__).resolve().parent
ASKED = frozenset({17, 18, 20, 61, 62, 63, 64, 68})
EVERY = [
    pytest.param(row, id=f"{name}-{number}")
    for name, table in (("audit", AUDIT), ("security", SECURITY))
    for number, row in table.items()
]


@cache
def functions(path: Path) -> dict[str, str]:
    """Return the test functions of a file, and their text."""
    text = path.read_text("utf-8")
    found = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: ast.get_source_segment(text, node) or "" for node in found if node.name.startswith("test_")}


def test_no_row_is_left_out() -> None:
    assert list(AUDIT) == list(range(1, 26))
    assert set(SECURITY) == ASKED


@pytest.mark.parametrize("row", EVERY)
def test_the_tests_of_a_row_exist(row: Row) -> None:
    assert row.tests
    for place in (*row.tests, *row.controls):
        file, _, name = place.partition("::")
        assert name in functions(TESTS / file), place
