"""A correction fits the bulletin that it corrects, letter by letter."""

from __future__ import annotations

import pytest

from exchange.records.corrections import mismatches, value_at
from tests.support.samples import bulletin


def test_the_real_correction_fits_its_target_and_no_other() -> None:
    assert list(mismatches(bulletin("25"), bulletin("16"))) == []
    assert list(mismatches(bulletin("25"), bulletin("24"))) == ["statements[2].text[0].text"]


def test_an_old_text_that_differs_by_a_letter_does_not_fit() -> None:
    one = bulletin("25")
    one.correction.changes[0].old += "x"
    assert list(mismatches(one, bulletin("16"))) == ["statements[2].text[0].text"]


@pytest.mark.parametrize(
    ("start", "path", "value"),
    [
        ("01", "header.originator", "HK-SB"),
        ("01", "header.issued_at", "2025-01-17T10:00:00Z"),
        ("01", "header.marking.tlp", "clear"),
        ("01", "places[4].rest_of", "true"),
        ("19", "lookout.subjects[4]", "V1"),
        ("10", "case_outcome.persons[0].imprisonment_months", "56"),
        ("01", "header.purposes[0]", "public-warning"),
        ("01", "header.your_ref", ""),
    ],
)
def test_a_value_reads_as_it_was_typed(start: str, path: str, value: str) -> None:
    assert value_at(bulletin(start), path) == value


@pytest.mark.parametrize(
    "path",
    [
        *("", "header", "header.", "header.nothing", "places", "places[9].country", "places[0]", "header[0].lang"),
        *("a b", "header.lang.text", "places[-1].country", "__class__", "header.lang[0]"),
    ],
)
def test_a_path_that_leads_nowhere_is_none(path: str) -> None:
    assert value_at(bulletin("01"), path) is None
