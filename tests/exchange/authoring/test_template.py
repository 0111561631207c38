"""Templates: filled in, they pass; left blank, they do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exchange.authoring.check_drafts import judge
from exchange.authoring.draft import read_draft
from exchange.authoring.template import BLANK, Issuer, complete, make_template, minute_of_year
from exchange.cli.main import cli
from exchange.records.bulletin import KINDS, uuid7
from exchange.rules import check_bulletin, packaged_catalogue
from exchange.v1 import bulletin_pb2 as pb

CATALOGUE = packaged_catalogue()
NOW = 1_737_972_000_000  # 2025-01-27 10:00 UTC
ID = uuid7(NOW, bytes(10))
SHORT = b"""\
header:
  addressees: [{agency: HK-IMMD, role: action}]
  subject: [{lang: en, text: "OTA for Thailand: amber still in force"}]
  sources: [{file: "002_286578dbabe76a5a.txt", locator: section 5}]
  as_of: 2025-01-24
places: [{id: L1, type: country, country: TH}]
travel_alert:
  scheme: hk-ota
  areas: [{place: L1, change: maintained, level: amber, effective: 2025-01-24}]
"""


def fill(template: str) -> tuple[str, int]:
    """Put each blank's own example into it."""
    return re.subn(rf"^(\s*(?:- )?\w+:)\s+{BLANK} .*?e\.g\. (.*)$", r"\1 \2", template, flags=re.MULTILINE)


def issuer(kind: str) -> str:
    return next(code for code, row in CATALOGUE.agencies.items() if CATALOGUE.may_issue(kind, row.type))


@pytest.mark.parametrize("known", [True, False], ids=["originator-known", "originator-blank"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_template_passes_once_its_blanks_are_filled(kind: str, known: bool) -> None:
    template = make_template(
        kind,
        originator=issuer(kind) if known else None,
        status="exercise",
        bulletin_id=ID,
        now_ms=NOW,
        catalogue=CATALOGUE,
    )
    filled, blanks = fill(template)
    assert 3 <= blanks <= 12
    assert "←" not in filled.split("header:", 1)[1]
    (judged,) = judge([read_draft(filled.encode())], CATALOGUE)
    assert judged.complaints == ()
    assert judged.draft.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_with_its_blanks_left_does_not_pass(kind: str) -> None:
    template = make_template(
        kind, originator=issuer(kind), status="actual", bulletin_id=ID, now_ms=NOW, catalogue=CATALOGUE
    )
    (judged,) = judge([read_draft(template.encode())], CATALOGUE)
    assert judged.complaints


def test_ten_lines_are_completed_by_policy() -> None:
    short = read_draft(SHORT).message
    assert short is not None
    issuer = Issuer(agency="HK-SB", author="officer-07", now_ms=NOW, serial=7, bulletin_id=ID)
    done = complete(short, issuer, CATALOGUE)
    assert check_bulletin(done, CATALOGUE) == ()
    header = done.header
    assert (header.number, header.author, header.lang) == ("HK-SB/TRA/2025/000007", "officer-07", "en")
    assert (header.marking.tlp, header.urgency) == (pb.TLP_CLEAR, pb.URGENCY_ROUTINE)
    assert header.retention.review_by == "2030-01-26"
    assert not short.header.number


def test_completing_changes_nothing_that_was_typed() -> None:
    template, _ = fill(
        make_template("lookout", originator="HK-HKPF", status="test", bulletin_id=ID, now_ms=NOW, catalogue=CATALOGUE)
    )
    typed = read_draft(template.encode()).message
    assert typed is not None
    later = uuid7(NOW + 5, bytes(10))
    issuer = Issuer(agency="XX-YY", author="officer-07", now_ms=NOW + 5, serial=9, bulletin_id=later)
    done = complete(typed, issuer, CATALOGUE)
    done.header.author = ""
    assert done == typed


def test_the_minute_of_a_year_fits_six_digits() -> None:
    assert minute_of_year(NOW) == 26 * 1440 + 600
    assert minute_of_year(1_735_689_599_999) == 366 * 1440 - 1


def typed(words: list[str]) -> Result:
    return CliRunner().invoke(cli, ["draft", *words], prog_name="exchange")


def test_the_command_writes_a_new_file_and_leaves_an_existing_one(tmp_path: Path) -> None:
    target = tmp_path / "alert.yaml"
    words = ["travel-alert", "-o", str(target), "--originator", "HK-SB"]
    first = typed(words)
    assert (first.exit_code, first.stdout) == (0, "")
    assert first.stderr == f"exchange: fill in the lines marked ←, then: exchange check {target}\n"
    written = target.read_text(encoding="utf-8")
    assert "originator: HK-SB" in written
    again = typed(words)
    assert again.exit_code == 2
    assert again.stderr == f"exchange: error: {target} exists\nexchange: hint: --force replaces it\n"
    assert target.read_text(encoding="utf-8") == written
    assert typed([*words, "--force"]).exit_code == 0


def test_the_command_takes_a_kinds_code_and_lists_the_kinds() -> None:
    by_code = typed(["TRA"])
    assert by_code.exit_code == 0
    assert by_code.stdout.startswith("# travel_alert (TRA): ")
    listed = typed([])
    assert len(listed.stdout.splitlines()) == len(KINDS)


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["travel_alrt"], "there is no kind 'travel_alrt'", "did you mean 'travel_alert'?"),
        (["lookout", "--originator", "HK-HPKF"], "HK-HPKF is not in the directory", "did you mean 'HK-HKPF'?"),
        (
            ["lookout", "--originator", "TW-NHRC"],
            "TW-NHRC (rights_commission) may not issue a bulletin of kind lookout",
            "allowed: immigration, police, special_investigation",
        ),
    ],
)
def test_the_command_says_at_once_what_the_check_would_say(words: list[str], error: str, hint: str) -> None:
    done = typed(words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == f"exchange: error: {error}\nexchange: hint: {hint}\n"


def test_the_command_takes_the_agency_of_a_home(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('agency = "TH-DSI"\n', encoding="utf-8")
    done = typed(["lookout", "--home", str(tmp_path)])
    assert "\n  originator: TH-DSI\n" in done.stdout
    lost = typed(["lookout", "--home", str(tmp_path / "none")])
    assert lost.exit_code == 5
    assert lost.stderr.startswith(f"exchange: error: no such file or folder: {tmp_path / 'none'}")
    (tmp_path / "node.toml").write_text("nothing", encoding="utf-8")
    bad = typed(["lookout", "--home", str(tmp_path)])
    assert bad.exit_code == 2
    assert bad.stderr.endswith("exchange: hint: --originator names your agency\n")


def test_the_terminal_is_told_nothing_that_it_obeys() -> None:
    done = typed(["tra\x1b[2J\u202e"])
    assert done.stderr.startswith("exchange: error: there is no kind 'tra⟨U+001B⟩[2J⟨U+202E⟩'\n")
