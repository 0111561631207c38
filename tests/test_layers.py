"""Imports point one way, every room has its floor, and what decides takes the time and the dice as arguments.

The floors stand in ``docs/developers.md``, a line a room, in order. Here is no list of names: a module's room is its
folder. Imports count wherever they stand: in functions, and for the type checker alone.
"""

from __future__ import annotations

import sys

import pytest

from tests.rooms import FLOORS, ROOT, modules, names, room_of

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


def engines_known(imports: dict[str, set[str]]) -> list[str]:
    """Return who imports an engine, which is who has SQL, out of its room, or beside another one in it."""
    engines = {module for module, targets in imports.items() if targets & USES["SQL"]}
    known = {(module, engine) for module, targets in imports.items() for engine in targets & engines}
    wrong = [f"{module} imports {engine}" for module, engine in known if room_of(module) != room_of(engine)]
    factories = sorted({module for module, _ in known} - engines, key=room_of)
    twice = {module for module in factories if sum(room_of(module) == room_of(other) for other in factories) > 1}
    return sorted(wrong) + [f"{module} is one of two factories" for module in sorted(twice)]


def test_an_engine_is_known_in_its_own_room_and_there_to_one_factory() -> None:
    imports = {module: {target for target, _ in names(module)} for module in modules()}
    assert engines_known(imports) == []
    engine = next(module for module, targets in imports.items() if targets & USES["SQL"])
    plain = [module for module, targets in imports.items() if not targets & (USES["SQL"] | {engine})]
    near, far = (next(each for each in plain if (room_of(each) == room_of(engine)) is same) for same in (True, False))
    assert engines_known({**imports, far: {engine}}) == [f"{far} imports {engine}"]  # controls
    assert f"{near} is one of two factories" in engines_known({**imports, near: {engine}})
