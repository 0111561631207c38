"""How large things may be, and that nobody reaches into another's privates: what a reader can hold in his head.

A function has at most 50 lines, its docstring counted, and six parameters beside ``self``; commands have a parameter
an option. A file has at most 400 lines. No class name stands twice. Generated code says so in its first line.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("keys", "audit", "exchange")
MOST_LINES, MOST_PARAMETERS, MOST_FILE_LINES = 50, 6, 400
# Public in the standard library, whatever they begin with.
NOT_PRIVATE = frozenset({"_replace", "_asdict", "_exit", "_value2member_map_"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield each hand-written file's name and text."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text()
        if "_pb2" not in path.name and not text.startswith(('"""Generated', "# Generated")):
            yield str(path.relative_to(ROOT)), text


def functions() -> Iterator[tuple[str, Function]]:
    for name, text in sources(*PACKAGES):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield f"{name}:{node.lineno} {node.name}", node


def is_command(node: Function) -> bool:
    """Return whether click calls this function, with a parameter an option."""
    names = {
        part.attr if isinstance(part, ast.Attribute) else part.id
        for decorator in node.decorator_list
        for part in ast.walk(decorator)
        if isinstance(part, ast.Attribute | ast.Name)
    }
    return bool(names & {"command", "option", "argument"})


def parameters(node: Function) -> int:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    return sum(each is not None and each.arg not in ("self", "cls") for each in every)


def privates(tree: ast.Module) -> Iterator[ast.Attribute]:
    """Yield where another object's private attribute is used; an object of the same class is compared by its own."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        if ast.unparse(node.value) not in ("self", "cls", "other", "super()"):
            yield node


def test_a_function_can_be_read_at_one_look() -> None:
    lengths = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_a_function_takes_six_parameters_at_most() -> None:
    counts = {name: parameters(node) for name, node in functions() if not is_command(node)}
    assert {name: count for name, count in counts.items() if count > MOST_PARAMETERS} == {}


def test_nobody_reaches_into_another_objects_privates() -> None:
    found = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, text in sources(*PACKAGES)
        for node in privates(ast.parse(text))
        if node.attr not in NOT_PRIVATE
    ]
    assert found == []


def test_a_file_has_four_hundred_lines_at_most() -> None:
    alone = "tests/independent/reader.py"  # it runs with nothing of ours beside it
    lengths = {name: text.count("\n") for name, text in sources(*PACKAGES, "tests", "bench")}
    assert {name: length for name, length in lengths.items() if length > MOST_FILE_LINES and name != alone} == {}


def test_no_class_name_stands_twice() -> None:
    classes = Counter(
        node.name
        for _, text in sources(*PACKAGES)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    )
    assert {name: count for name, count in classes.items() if count > 1} == {}


def test_control_what_is_too_large_is_seen() -> None:
    tree = ast.parse("def long(a, b, c, d, e, f, *g):\n" + "    a\n" * 50 + "    return other_one._secret\n")
    [node] = (each for each in tree.body if isinstance(each, ast.FunctionDef))
    assert (parameters(node), (node.end_lineno or 0) - node.lineno + 1) == (7, 52)
    assert [each.attr for each in privates(tree)] == ["_secret"]
