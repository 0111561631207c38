"""Imports point one way, every room has its floor, and what decides takes the time and the dice as arguments.

The floors stand in ``docs/developers.md``, a line a room, in order. Here is no list of names: a module's room is its
folder. Imports count wherever they stand: in functions, and for the type checker alone.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("keys", "audit", "exchange")
MOST, LEAST = 20, 2  # modules of a room
FLAT = "keys"  # all nouns already

# What a room may use, as the table words it: modules, and methods of others that amount to them.
USES = {
    "time": {"time", "now", "utcnow", "today", "time_ns"},
    "dice": {"random", "secrets", "urandom", "getrandom", "uuid1", "uuid4", "token_bytes"},
    "threads": {"threading", "asyncio", "concurrent", "signal", "multiprocessing", "subprocess"},
    "files": {"os", "io", "pathlib", "shutil", "tempfile"},
    "SQL": {"apsw", "sqlite3"},
    "network": {"socket", "ssl", "http", "urllib", "grpc", "grpc_status", "grpc_health", "grpc_reflection"},
}
ROW = re.compile(r"^\| `([a-z/]+)` \| [^|]+ \| ([^|]*)\|$", re.MULTILINE)


def floors(text: str) -> dict[str, set[str]]:
    """Return the rooms in their order, each with what it may use."""
    return {room: {word for word in uses.strip().split(", ") if word} for room, uses in ROW.findall(text)}


FLOORS = floors((ROOT / "docs/developers.md").read_text())


@cache
def modules() -> dict[str, Path]:
    """Return every module of ours by its name, without generated code."""
    found = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "v1" not in parts and parts[1:] != ("__init__",):
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    return modules()[module].relative_to(ROOT).parent.as_posix()


def names(module: str) -> Iterator[tuple[str, int]]:
    """Yield what a module imports, and the methods that it calls, with the line."""
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else node.module, node.lineno
        elif isinstance(node, ast.Attribute):
            yield f".{node.attr}", node.lineno


def steps_back(order: list[str]) -> list[str]:
    """Return every import of a room that stands further down."""
    rank = {room: number for number, room in enumerate(order)}
    return [
        f"{module}:{line} imports {target}, which lies further out"
        for module in modules()
        for target, line in names(module)
        if target in modules() and rank[room_of(target)] > rank[room_of(module)]
    ]


def test_each_room_stands_on_a_floor_and_each_floor_has_its_room() -> None:
    assert set(FLOORS) == {room_of(module) for module in modules()}
    assert set().union(*FLOORS.values()) <= USES.keys()


def test_imports_point_inwards() -> None:
    assert steps_back(list(FLOORS)) == []


def test_control_a_room_one_floor_too_low_is_seen() -> None:
    order = list(FLOORS)
    at = order.index("audit/tree")
    order[at - 1], order[at] = order[at], order[at - 1]
    assert any("audit.tree" in found for found in steps_back(order))


def test_no_module_imports_itself_around_a_corner() -> None:
    graph = {module: {target for target, _ in names(module) if target in modules()} - {module} for module in modules()}
    while ends := {module for module, targets in graph.items() if not targets & graph.keys()}:
        graph = {module: targets for module, targets in graph.items() if module not in ends}
    assert graph == {}, "a circle among these"


@pytest.mark.parametrize("module", modules())
def test_a_room_uses_what_its_floor_allows(module: str) -> None:
    forbidden = {word: use for use, words in USES.items() if use not in FLOORS[room_of(module)] for word in words}
    for target, line in names(module):
        word = target.lstrip(".") if target.startswith(".") else target.split(".")[0]
        if target.startswith(".") and (word in sys.stdlib_module_names or word in ("grpc", "apsw")):
            continue  # a field of ours that is called like a module
        assert word not in forbidden, f"{module}:{line} uses {word}: {room_of(module)} may not use {forbidden[word]}"


def test_no_room_is_too_full_or_too_empty() -> None:
    for room in FLOORS:
        count = sum(path.parent == ROOT / room and path.stem != "__init__" for path in modules().values())
        inner = any(other.startswith(f"{room}/") for other in FLOORS)  # a folder of rooms
        assert room == FLAT or count <= MOST, f"{room} has {count} modules"
        assert inner or count >= LEAST, f"{room} has {count} modules"
