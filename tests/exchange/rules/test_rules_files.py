"""Every shared bulletin file, through the whole check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exchange.authoring.check_drafts import judge
from exchange.authoring.draft import read_draft
from exchange.records.bulletin import KINDS, encode_bulletin, kind_of, parse_bulletin
from exchange.rules import packaged_catalogue
from tests.support.samples import INVALID, NASTY, VALID, draft, expected
from tests.support.scale import SLOW

CODES = [
    "Y-SIZE",
    "Y-UTF8",
    "Y-SYNTAX",
    "Y-DOCS",
    "Y-ALIAS",
    "Y-TAG",
    "Y-DEPTH",
    "Y-KEY",
    "Y-DUPKEY",
    "Y-UNKNOWN",
    "Y-BODY",
    "Y-ENUM",
    "Y-TYPE",
    "Y-TIME",
    "S-required",
    "S-uuid7",
    "S-number.originator",
    "S-reply_by.order",
    "S-expires_at.order",
    "S-urgency.reason",
    "S-marking.clear",
    "S-marking.h3",
    "S-lookout.expiry",
    "S-lookout.warrant",
    "S-request.reply_by",
    "S-relation.reply",
    "S-relation.corrects",
    "S-relation.recalls",
    "S-relation.target",
    "S-ids.unique",
    "S-statement.confidence",
    "S-person.named",
    "S-person.minor",
    "S-person.dual",
    "S-person.palermo",
    "S-person.decider",
    "S-area.level",
    "S-handover.when",
    "S-reply.refusal",
    "S-reply.delay",
    "S-reply.answers",
    "S-status.closure",
    "S-string.pattern",
    "S-enum.not_in",
    "S-repeated.min_items",
    "R-TEXT",
    "R-EDTF",
    "R-DATE",
    "R-LANG",
    "R-COUNTRY",
    "R-PLACE",
    "R-CODE",
    "R-REF",
    "R-PHONE",
    "R-ACCOUNT",
    "R-MRZ",
    "R-AGENCY",
    "P-ISSUER",
    "P-ADDRESSEE",
    "P-NUMBER",
    "P-MARKING",
    "P-MINOR",
    "P-EXPIRY",
    "P-VICTIM",
    "P-CONSENT",
    "P-SPECIMEN",
    "P-SUM",
    "P-LEVEL",
    "P-STATE",
    "P-OWNER",
    "P-DEADLINE",
    "P-IDTIME",
]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_each_wrong_file_gets_exactly_its_complaint(path: Path) -> None:
    drafts = [draft(path)]
    if "P-OWNER" in expected(path):
        drafts += [draft(valid) for valid in VALID]
    complaints = judge(drafts, packaged_catalogue())[0].complaints
    assert [(one.code, one.path) for one in complaints] == [expected(path)]
    assert complaints[0].message


def test_there_is_a_wrong_file_for_every_code() -> None:
    assert {expected(path)[0] for path in INVALID} == set(CODES)


@pytest.mark.parametrize("path", [*VALID, *NASTY], ids=lambda path: path.stem)
def test_each_right_file_passes_and_comes_back_byte_for_byte(path: Path) -> None:
    read = draft(path)
    assert judge([read], packaged_catalogue())[0].complaints == ()
    assert read.message is not None
    data = encode_bulletin(read.message)
    assert parse_bulletin(data) == read.message
    assert encode_bulletin(parse_bulletin(data)) == data


def test_the_real_bulletins_are_twenty_five_of_all_kinds_and_judge_well_together() -> None:
    drafts = [draft(path) for path in VALID]
    assert len(drafts) == 25
    first = {name for name, number in KINDS.items() if number <= 117}  # a later kind has its template as an example
    assert {kind_of(one.message) for one in drafts if one.message is not None} == first
    assert not any(one.complaints for one in judge(drafts, packaged_catalogue()))


def test_composed_and_decomposed_names_are_one_after_reading() -> None:
    (path,) = [path for path in NASTY if path.stem.endswith("nfc-and-nfd")]
    message = draft(path).message
    assert message is not None
    first, second = message.places[0].names
    assert first.text == second.text == "Kâmpóng Spœ"


def test_an_owner_is_known_only_from_files_at_hand() -> None:
    (path,) = [path for path in INVALID if expected(path)[0] == "P-OWNER"]
    assert judge([draft(path)], packaged_catalogue())[0].complaints == ()


@pytest.mark.parametrize("start", ["07", *(pytest.param(each, marks=SLOW) for each in ("01", "18", "19", "21"))])
def test_removing_any_one_line_of_a_bulletin_never_breaks_the_check(start: str) -> None:
    (path,) = [path for path in VALID if path.name.startswith(start)]
    lines = path.read_bytes().splitlines(keepends=True)
    for index in range(len(lines)):
        read = read_draft(b"".join(lines[:index] + lines[index + 1 :]))
        for one in judge([read], packaged_catalogue())[0].complaints:
            assert re.fullmatch(r"[YSRP]-[A-Za-z0-9_.]+", one.code)
            assert one.path
