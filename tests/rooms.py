"""The rooms of the product, as its folders are and as ``docs/developers.md`` says: a line a room, in order."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("keys", "audit", "exchange")
ROW = re.compile(r"^\| `([a-z/]+)` \| [^|]+ \| ([^|]*)\|$", re.MULTILINE)


# The rooms in their order, each with what it may use.
FLOORS = {
    room: {word for word in uses.strip().split(", ") if word}
    for room, uses in ROW.findall((ROOT / "docs/developers.md").read_text())
}


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
    """Return the folder that a module lies in."""
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
