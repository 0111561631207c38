"""Ask aics-tlog, in one process that stays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tlog.cases import Case

ROOT = Path(__file__).resolve().parents[2]
INTERPRETER = ROOT / ".venv/tlog/bin/python"

Ask = Callable[[list[Case]], list[bool]]


@contextmanager
def asking() -> Iterator[Ask]:
    """Yield a function that puts cases to aics-tlog; without the package the test is skipped and says so."""
    if not INTERPRETER.exists():
        pytest.skip("aics-tlog is not installed: tests/tlog/install")
    command = [str(INTERPRETER), "-I", str(ROOT / "tests/tlog/judge.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        asked, answers = child.stdin, child.stdout

        def put(cases: list[Case]) -> list[bool]:
            print(json.dumps([case.request for case in cases]), file=asked, flush=True)
            verdicts: list[bool] = json.loads(answers.readline())
            assert len(verdicts) == len(cases)
            return verdicts

        yield put
        asked.close()
