"""The library's names stand in one place, are loaded when they are asked for, and are those that a type checker sees."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import exchange.client as library


def seen_by_a_checker() -> dict[str, str]:
    """Return what is imported for the checker alone: each name, and the module that it is from."""
    assert library.__file__ is not None
    tree = ast.parse(Path(library.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = [(node.module, alias) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.name == alias.asname for _, alias in found)
    return {alias.name: str(module) for module, alias in found}


def test_each_name_is_the_one_that_a_checker_sees() -> None:
    seen = seen_by_a_checker()
    assert sorted(seen) == dir(library)
    for name, module in seen.items():
        assert getattr(library, name) is getattr(import_module(module), name)


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match=r"module 'exchange\.client' has no attribute 'Line'"):
        library.Line  # noqa: B018


def test_who_asks_for_an_error_loads_no_grpc() -> None:
    code = "import sys; from exchange.client import RefusedError, Composed; assert 'grpc' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
