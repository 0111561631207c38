"""The README says what the program does: its tables are compared, its script is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit.entry.body import FIELDS
from audit.entry.grammar import LINES, REFERS
from audit.entry.kinds import Kind
from audit.note.checkpoint import VerifierKey
from audit.v1 import entry_pb2

README = (Path(__file__).resolve().parents[3] / "audit/README.md").read_text()
[SCRIPT] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def table(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].isdigit()]


def test_the_table_of_fields_is_the_programs() -> None:
    rows = table("Body")
    assert [(int(row[0]), row[1].strip("`"), row[3]) for row in rows] == [
        (field.number, field.name, field.prefix.hex(" ")) for field in FIELDS
    ]
    assert [row[2] == f"{field.length} bytes" for row, field in zip(rows, FIELDS, strict=True)] == [
        bool(field.length) for field in FIELDS
    ]


def test_the_table_of_kinds_is_the_programs() -> None:
    rows = table("Kinds")
    assert [(int(row[0]), row[1]) for row in rows] == [(int(kind), kind.name) for kind in Kind]
    for row, kind in zip(rows, Kind, strict=True):
        assert row[2] == (LINES[kind].replace("|", " or ") or "–")
        assert row[3] == (", ".join(target.name for target in sorted(REFERS.get(kind, ()))) or "–")


def test_what_is_settled_for_later_is_said() -> None:
    said = " ".join(README.split("Settled by number and name")[1].split("\n\n")[0].split())
    later = {name: int(number) for number, name in re.findall(r"\b(\d\d) ([A-Z_]+)", said)}
    assert later == {name.removeprefix("ENTRY_KIND_"): n for name, n in entry_pb2.EntryKind.items() if n > max(Kind)}
    fields = {int(number): name for number, name in re.findall(r"\b(\d\d) `([a-z_]+)`", said)}
    all_fields = {field.number: field.name for field in entry_pb2.EntryBody.DESCRIPTOR.fields}
    assert fields == {number: name for number, name in all_fields.items() if number > FIELDS[-1].number}


def check(folder: Path, key: VerifierKey, tmp_path: Path) -> int:
    script = tmp_path / "check.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-I", script, folder, str(key)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_the_script_accepts_a_log_and_is_as_short_as_it_says(folder: Path, key: VerifierKey, tmp_path: Path) -> None:
    assert check(folder, key, tmp_path) == 0
    assert len([line for line in SCRIPT.splitlines() if line]) <= 60


@pytest.mark.parametrize(
    "name",
    ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"],
)
def test_the_script_refuses_a_changed_file(name: str, folder: Path, key: VerifierKey, tmp_path: Path) -> None:
    data = bytearray((folder / name).read_bytes())
    for offset in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[offset] ^= 4
        (folder / name).write_bytes(changed)
        assert check(folder, key, tmp_path) != 0, offset
