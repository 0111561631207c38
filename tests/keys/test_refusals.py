"""One table: what has no row ends nothing, and what has one ends the same everywhere."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from audit.v1 import entry_pb2
from exchange.rpc.transport.status import status_of
from keys.cli.failure import CommandError, failure_of
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.refusals import MEANINGS, TABLE, Cure, Exit, Outcome, cured_by, is_public, row_of

ROOT = Path(__file__).resolve().parents[2]
REFUSALS = [each for each in Outcome if each is not Outcome.DONE]


@pytest.mark.parametrize("outcome", REFUSALS)
def test_each_refusal_of_the_schema_has_a_row_with_everything(outcome: Outcome) -> None:
    assert entry_pb2.Outcome.Value(f"OUTCOME_{outcome.name}") == outcome
    row = row_of(outcome.name)
    assert row.number is outcome
    assert row.status in grpc.StatusCode.__members__
    assert is_public(outcome.name)
    error = RefusedError(outcome.name, "no")
    failure = failure_of(error)
    assert failure is not None
    assert failure.exit_code == row.exit_code != Exit.DONE
    assert status_of(error)[0].name == row.status


def test_the_schema_names_no_refusal_that_the_table_lacks() -> None:
    named = {name.removeprefix("OUTCOME_") for name in entry_pb2.Outcome.keys()}  # noqa: SIM118 - no dictionary
    assert named - {"UNSPECIFIED", "DONE"} == {code for code in TABLE if is_public(code)}


@pytest.mark.parametrize("code", TABLE)
def test_each_row_can_be_read(code: str) -> None:
    row = TABLE[code]
    assert row.exit_code in MEANINGS
    assert row.sentence.endswith(".")
    assert row.sentence[0].isupper()
    assert row.status is None or row.status in grpc.StatusCode.__members__
    assert row.retryable == (row.cure is Cure.LATER)
    assert (row.number is None) != is_public(code)


def test_a_code_without_a_row_ends_nothing() -> None:
    for unknown in ("NO_SUCH_CODE", "DONE", ""):
        with pytest.raises(LookupError, match="no row"):
            RefusedError(unknown, "no")
        with pytest.raises(LookupError, match="no row"):
            CommandError(unknown, "no")
        assert not is_public(unknown)


def test_every_code_that_the_program_names_has_a_row() -> None:
    named = {code for package in ("keys", "audit", "exchange") for code in _codes_named(ROOT / package)}
    assert {"MALFORMED", "UNREADABLE"} <= named  # the walk finds both ways of naming one
    assert named - TABLE.keys() == set()


def _codes_named(package: Path) -> Iterator[str]:
    """Yield the codes that errors are raised with, and those that classes of errors carry."""
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and _makes_error(node.func):
                if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                    yield node.args[0].value
            elif isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                for line in node.body:
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                        yield ast.literal_eval(line.value)


def _makes_error(call: ast.expr) -> bool:
    return isinstance(call, ast.Name) and call.id in ("RefusedError", "CommandError", "row_of")


def test_what_another_attempt_cures_is_said_once() -> None:
    assert cured_by(Cure.RENEWAL) == {"ROSTER_EXPIRED", "MANIFEST_EXPIRED", "KEY_SHEET_EXPIRED"}
    assert {"SIGNER_UNKNOWN", "KEY_EXPIRED", "NOT_A_MEMBER", "LANE_UNKNOWN"} <= cured_by(Cure.RECORDS)
    assert cured_by(Cure.LATER) == {"UNAVAILABLE", "LANE_GAP"}
    assert (UnavailableError.code, IntegrityError.code) == ("UNAVAILABLE", "INTEGRITY")


ADDED = """    _row(Outcome.LANE_LATE, "OUT_OF_RANGE", Exit.POLICY, "The lane is late."),
    # Endings"""
ASKED = """
import json
from exchange.cli.main import run
from exchange.rpc.transport.status import status_of
from keys.cli.failure import failure_of
from keys.errors import RefusedError
from keys.refusals import Outcome, TABLE
print(json.dumps([each.name for each in Outcome if each.name not in TABLE]))
if "LANE_LATE" in TABLE:
    error = RefusedError("LANE_LATE", "no")
    print(json.dumps([failure_of(error).exit_code, status_of(error)[0].name]))
    run(["help", "codes"])
"""


@pytest.mark.parametrize("with_row", [True, False])
def test_a_new_code_is_a_change_of_one_file_beside_the_schema(tmp_path: Path, with_row: bool) -> None:
    for package in ("keys", "audit", "exchange"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "keys/refusals.py"
    text = path.read_text().replace(
        "    LANE_HEAD_INVALID = 116\n", "    LANE_HEAD_INVALID = 116\n    LANE_LATE = 117\n"
    )
    path.write_text(text.replace("    # Endings", ADDED, 1) if with_row else text)
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    if not with_row:
        assert json.loads(lines[0]) == ["DONE", "LANE_LATE"]  # what the first test here would say
        return
    assert json.loads(lines[0]) == ["DONE"]
    assert json.loads(lines[1]) == [3, "OUT_OF_RANGE"]
    assert "LANE_LATE  exit 3\n    The lane is late." in done.stdout
