"""Does every numbered check earn its place? Each is taken out, one at a time, and the tests must notice.

``make mutants`` copies the tree to a temporary folder, removes the statement that ends in ``# N`` from one act, runs
that act's tests and fails if they stay green. A check whose value is used afterwards is replaced by what an
unchecking program would write (``REPLACED``). The working tree is never touched; two copies work side by side.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
TESTS_OF = {
    "statement_checks": ["tests/exchange/acts/test_publishing.py"],
    "publishing": ["tests/exchange/acts/test_publishing.py"],
    "intake": ["tests/exchange/acts/test_intake.py", "tests/exchange/acts/test_verdicts.py"],
    "delivery_checks": [
        "tests/exchange/acts/test_delivery_checks.py",
        "tests/exchange/acts/test_delivery_checks_inside.py",
        "tests/exchange/acts/test_judgement.py",
    ],
    "delivery": ["tests/exchange/acts/test_delivery.py", "tests/exchange/acts/test_outgoing.py"],
    "reading": ["tests/exchange/acts/test_reading.py"],
    "directory": ["tests/exchange/acts/test_directory.py"],
}
COPIED = ("keys", "audit", "exchange", "tests", "pyproject.toml")
# What an unchecking program would write instead of a check whose value is used.
REPLACED = {
    "parse_statement": (
        "import audit.record.statement; audit.record.statement.MAX_STATEMENT_BYTES = 1 << 30;"
        " statement = parse_statement(signed.payload)"
    ),
    "check_head": "from audit.record.lane import parse_lane_head; head = parse_lane_head(message.head.payload)",
    "advance": (
        "from audit.record.lane import delivery_digest, parse_delivery; steps = [LaneStep(delivery=parse_delivery(p.delivery),"
        " digest=delivery_digest(p.delivery), new=True, withdrawn=None) for p in message.parcels]"
    ),
    "check_exchange_receipt": (
        "from audit.entry.entry import leaf_hash, parse_body, parse_entry; from audit.note.checkpoint import parse_note;"
        " from audit.note.tlogproof import parse_proof; entry = parse_entry(receipt.entry);"
        " proven = VerifiedReceipt(entry=entry, body=parse_body(entry.body), leaf_hash=leaf_hash(receipt.entry),"
        " checkpoint=parse_note(parse_proof(receipt.proof).note).checkpoint)"
    ),
}
WORKERS = 2
TIMEOUT_SECONDS = 120
_NUMBER = re.compile(r"#\s*(\d+)$")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One check of one act, taken out."""

    module: str
    number: int
    check: str  # the function's name
    source: str  # of the whole module without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the tests said."""

    mutant: Mutant
    killed_by: str  # empty where they stayed green


def mutants_of(module: str) -> list[Mutant]:
    """Take each numbered check out of a module."""
    source = (ROOT / "exchange/acts" / f"{module}.py").read_text()
    lines = source.splitlines()
    found = []
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr | ast.Assign))
    for node in sorted(statements, key=lambda node: node.lineno):
        match = _NUMBER.search(lines[(node.end_lineno or node.lineno) - 1])
        if match is None:
            continue
        call = node.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise SystemExit(f"{module}.py:{node.lineno}: a numbered check must be one call")
        found.append(_mutant(module, int(match[1]), call.func.id, node, lines))
    if [each.number for each in found] != sorted(each.number for each in found):  # one may be several calls
        raise SystemExit(f"{module}.py: its checks are not numbered in their order")
    return found


def _mutant(module: str, number: int, check: str, node: ast.stmt, lines: list[str]) -> Mutant:
    indent = lines[node.lineno - 1][: node.col_offset]
    if isinstance(node, ast.Assign) and check not in REPLACED:
        raise SystemExit(f"{module}.py:{node.lineno}: say in REPLACED what an unchecking program writes for {check}")
    instead = REPLACED[check] if isinstance(node, ast.Assign) else "pass"
    changed = [*lines[: node.lineno - 1], indent + instead, *lines[node.end_lineno or node.lineno :]]
    return Mutant(module=module, number=number, check=check, source="\n".join(changed) + "\n")


def run(mutant: Mutant, copies: SimpleQueue[Path]) -> Result:
    """Run the act's tests against the mutant in a copy of the tree."""
    copy = copies.get()
    path = copy / "exchange/acts" / f"{mutant.module}.py"
    original = path.read_text()
    try:
        path.write_text(mutant.source)
        return Result(mutant=mutant, killed_by=_failing(copy, TESTS_OF[mutant.module]))
    finally:
        path.write_text(original)
        copies.put(copy)


def _failing(copy: Path, tests: list[str]) -> str:
    """Name the first test that fails, or nothing if all are green."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "--timeout", str(TIMEOUT_SECONDS), *tests],
        cwd=copy,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    failed = _FAILED.search(done.stdout)
    if done.returncode != 1 or failed is None:
        raise SystemExit(f"the tests could not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[1].rpartition("::")[2]


def main() -> int:
    """Print one line a mutant; 1 if any survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("modules", nargs="*", default=list(TESTS_OF), help="acts to look at; all by default")
    wanted = parser.parse_args().modules
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(_copy(Path(folder) / str(number)))
        control = copies.get()
        for module in wanted:
            if red := _failing(control, TESTS_OF[module]):
                raise SystemExit(f"{module}: {red} is red without any mutant")
        copies.put(control)
        mutants = [mutant for module in wanted for mutant in mutants_of(module)]
        with ThreadPoolExecutor(WORKERS) as pool:
            results = list(pool.map(lambda mutant: run(mutant, copies), mutants))
    for each in results:
        place = f"exchange/acts/{each.mutant.module}.py"
        print(f"{place:32} {each.mutant.number:3}  {each.mutant.check:26} {each.killed_by or 'SURVIVED'}")
    alive = [each for each in results if not each.killed_by]
    print(f"{len(results)} checks taken out, {len(results) - len(alive)} noticed, {len(alive)} not")
    return 1 if alive or not results else 0


def _copy(target: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


if __name__ == "__main__":
    sys.exit(main())
