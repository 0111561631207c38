"""Drafts judged together."""

from __future__ import annotations

from exchange.authoring.check_drafts import judge
from exchange.authoring.draft import read_draft
from exchange.rules import packaged_catalogue
from tests.support.samples import INVALID, draft, expected


def test_complaints_carry_the_line_of_the_field_or_of_what_would_hold_it() -> None:
    for path in INVALID:
        code, place = expected(path)
        if code[0] not in "SRP" or place == "-" or place.startswith("body"):
            continue
        (complaint,) = judge([draft(path)], packaged_catalogue())[0].complaints[:1] or [None]
        if complaint is None:
            assert code == "P-OWNER"
            continue
        assert complaint.line is not None or place == "header"
        if complaint.line is not None:
            line = path.read_text(encoding="utf-8").splitlines()[complaint.line - 1]
            assert line.strip()


def test_a_draft_that_cannot_be_read_does_not_stop_the_others() -> None:
    first, second = judge([read_draft(b"["), read_draft(b"recall: {}\n")], packaged_catalogue())
    assert [one.code for one in first.complaints] == ["Y-SYNTAX"]
    assert "S-required" in [one.code for one in second.complaints]
