"""The changes that come most often are made in as few hand-written files as ``docs/developers.md`` says.

Each is made in a copy of the tree, as a developer would make it; the code is generated, the program is asked whether
it knows the new thing, and the files that were touched are counted. Generated files do not count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


class Tree:
    """A copy of the program that remembers what was edited by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.touched: set[str] = set()
        for name in ("keys", "audit", "exchange", "proto"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def write(self, name: str, text: str) -> None:
        """Write a new file."""
        (self.folder / name).write_text(text, "utf-8")
        self.touched.add(name)

    def add(self, name: str, after: str, text: str) -> None:
        """Add lines after those that are there."""
        before = (self.folder / name).read_text("utf-8")
        assert before.count(after) == 1, f"{name}: {after!r} stands there {before.count(after)} times"
        self.write(name, before.replace(after, after + text))

    def take(self, name: str, old: str, new: str) -> None:
        """Put something in the place of something else."""
        self.add(name, old, "")
        text = (self.folder / name).read_text("utf-8")
        self.write(name, text.replace(old, new))

    def row_after(self, name: str, start: str, row: str) -> None:
        """Add a row to a table, after the one that starts so."""
        [line] = [line for line in (self.folder / name).read_text("utf-8").splitlines() if line.startswith(start)]
        self.add(name, line + "\n", row + "\n")

    def generate(self) -> None:
        self.run(str(self.folder / "proto/generate.py"))

    def run(self, *words: str) -> str:
        """Run Python in the copy; what it prints."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


NEW_KIND = """\
about: beds that are free
purposes: [victim-assistance]
legal_basis: [vital-interests]
---
places:
  - id: L1
    type: country
    country:                        # ← two letters, e.g. TH
shelter_notice:
  place: L1
  beds:                             # ← how many, e.g. 4
"""
ASK_KIND = """
import re
from exchange.authoring.check_drafts import judge
from exchange.authoring.draft import read_draft
from exchange.authoring.render import render
from exchange.authoring.template import BLANK, make_template
from exchange.records.bulletin import encode_bulletin, uuid7
from exchange.rules import packaged_catalogue
import exchange
print(exchange.__file__)
now, catalogue = 1_737_972_000_000, packaged_catalogue()
text = make_template("shelter_notice", originator="HK-SB", status="exercise", bulletin_id=uuid7(now, bytes(10)),
                     now_ms=now, catalogue=catalogue)
blank = judge([read_draft(text.encode())], catalogue)[0]
assert blank.complaints
filled = re.sub(rf"^(\\s*(?:- )?\\w+:)\\s+{BLANK} .*?e\\.g\\. (.*)$", r"\\1 \\2", text, flags=re.MULTILINE)
right = judge([read_draft(filled.encode())], catalogue)[0]
assert right.complaints == (), right.complaints
assert "SHN" in right.draft.message.header.number
many = judge([read_draft(filled.replace("beds: 4", "beds: 4000").encode())], catalogue)[0]
assert [one.path for one in many.complaints] == ["shelter_notice.beds"], many.complaints
"""


def test_a_kind_of_bulletin_is_a_message_a_row_of_policy_and_a_template(tree: Tree) -> None:
    schema = "proto/exchange/v1/bulletin.proto"
    tree.take(schema, "  reserved 118 to 149;", "  reserved 119 to 149;")
    tree.add(schema, "    Recall recall = 117;\n", "    ShelterNotice shelter_notice = 118;\n")
    tree.add(
        schema,
        "// ------------------------------------------------------------------ bodies\n",
        """
message ShelterNotice { // SHN
  string place = 1 [(buf.validate.field).required = true];
  uint32 beds = 2 [(buf.validate.field).uint32 = {gt: 0, lte: 1000}];
}
""",
    )
    row = "shelter_notice: {code: SHN, issue: [all], receive: [all], tlp: amber, classification: restricted, "
    row += "retention: case-5y, urgency: routine, personal: false}"
    tree.row_after("exchange/catalogue/policy.yaml", "  recall:", f"  {row}")
    tree.write("exchange/templates/shelter_notice.yaml", NEW_KIND)
    tree.generate()
    assert str(tree.folder) in tree.run("-c", ASK_KIND)
    assert "shelter_notice" in tree.run("-m", "exchange", "draft")
    assert len(tree.touched) <= 3


ASK_CODE = """
from audit.v1 import entry_pb2
from exchange.rpc.transport.status import status_of
from keys.cli.failure import failure_of
from keys.errors import RefusedError
error = RefusedError("LANE_LATE", "the lane is late")
assert failure_of(error).exit_code == 3
assert status_of(error)[0].name == "OUT_OF_RANGE"
assert entry_pb2.OUTCOME_LANE_LATE == 117
"""


def test_a_refusal_code_is_a_row_and_a_number_in_the_schema(tree: Tree) -> None:
    tree.row_after("proto/audit/v1/entry.proto", "  OUTCOME_LANE_HEAD_INVALID", "  OUTCOME_LANE_LATE = 117;")
    tree.row_after("keys/refusals.py", "    LANE_HEAD_INVALID = 116", "    LANE_LATE = 117")
    row = '    _row(Outcome.LANE_LATE, "OUT_OF_RANGE", Exit.POLICY, "The lane is late."),\n'
    tree.take("keys/refusals.py", "    _row(Outcome.REPLAYED,", row + "    _row(Outcome.REPLAYED,")
    tree.generate()
    tree.run("-c", ASK_CODE)
    assert "LANE_LATE" in tree.run("-m", "exchange", "help", "codes")
    assert "| LANE_LATE | 117 | The lane is late. |" in (tree.folder / "proto/README.md").read_text("utf-8")
    assert len(tree.touched) <= 2


ASK_EVENT = """
from audit.entry.body import Body, parse_body
from audit.entry.grammar import check_body
from audit.entry.kinds import Kind
from audit.report.statistics import GROUPS, OTHER
from audit.tiles.bundle_format import kinds_table
from audit.v1 import entry_pb2
body = Body(kind=Kind.DRILL_HELD, count=3)
assert check_body(body.encode()) == body
assert entry_pb2.EntryBody.FromString(body.encode()).count == 3
try:
    check_body(Body(kind=Kind.DRILL_HELD).encode())
except Exception as error:
    assert "its rule" in str(error), error
else:
    raise AssertionError("a body without its count was taken")
assert "DRILL_HELD" in kinds_table()
"""


def test_an_audited_event_is_a_number_a_rule_and_a_row_for_auditors(tree: Tree) -> None:
    last = "ENTRY_KIND_OVERRIDDEN = 40;\n"
    tree.add("proto/audit/v1/entry.proto", last, "  ENTRY_KIND_DRILL_HELD = 41;\n")
    tree.add("audit/entry/kinds.py", "    READ_FAILED = 34\n", "    DRILL_HELD = 41\n")
    tree.row_after("audit/entry/kinds.py", "    Kind.EPOCH_CLOSED: ", "    Kind.DRILL_HELD: Rule(f'{_WHO} count'),")
    row = "| 41 | DRILL_HELD | [actor actor_epoch] [role] count | – | a drill was held |"
    tree.row_after("audit/README.md", "| 34 | READ_FAILED", row)
    tree.generate()
    tree.run("-c", ASK_EVENT)
    assert len(tree.touched) <= 3


NEW_COMMAND = '''"""``exchange drill``: say that a drill is on."""

import click


@click.command()
def drill() -> None:
    """Say that a drill is on."""
    click.echo("this is a drill")
'''


def test_a_command_is_its_module_and_a_line(tree: Tree) -> None:
    tree.write("exchange/cli/officer/drill.py", NEW_COMMAND)
    line = '    "drill": ("exchange.cli.officer.drill:drill", "say that a drill is on"),'
    tree.row_after("exchange/cli/main.py", '    "hold": ', line)
    assert "drill" in tree.run("-m", "exchange", "--help")
    assert tree.run("-m", "exchange", "drill") == "this is a drill\n"
    assert len(tree.touched) <= 2
