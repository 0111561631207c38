"""Reading an officer's YAML: what it means, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.authoring.draft import Draft, read_draft
from exchange.authoring.yaml_tree import MAX_DEPTH, MAX_FILE_BYTES
from exchange.v1 import bulletin_pb2 as pb
from tests.support.samples import VALID


def complaint(text: str | bytes) -> tuple[str, str, int | None]:
    read = read_draft(text.encode() if isinstance(text, str) else text)
    assert read.message is None
    (one,) = read.complaints
    return one.code, one.path, one.line


def message(text: str) -> pb.Bulletin:
    read = read_draft(text.encode())
    assert read.message is not None, read.complaints
    return read.message


@pytest.mark.parametrize(
    ("text", "code", "path", "line"),
    [
        ("", "Y-DOCS", "-", 1),
        ("- a\n", "Y-DOCS", "-", 1),
        ("header: {}\n---\nheader: {}\n", "Y-DOCS", "-", 2),
        ("header: {}\n...\n---\n", "Y-DOCS", "-", 3),
        ("header: [\n", "Y-SYNTAX", "-", 2),
        ("header: '\n", "Y-SYNTAX", "-", 2),
        ("header: \x07\n", "Y-SYNTAX", "-", 1),
        ('header: "\\UFFFFFFFF"\n', "Y-SYNTAX", "-", None),
        ("header: {}\nadvisory: &a {}\n", "Y-ALIAS", "-", 2),
        ("header: *a\n", "Y-ALIAS", "-", 1),
        ("header: !!str x\n", "Y-TAG", "-", 1),
        ("header: ! x\n", "Y-TAG", "-", 1),
        ("? [a]\n: b\n", "Y-KEY", "-", 1),
        ("<<: {a: b}\n", "Y-KEY", "-", 1),
        ("12: b\n", "Y-KEY", "-", 1),
        ("two words: b\n", "Y-KEY", "-", 1),
        ("header: {lang: en, lang: en}\n", "Y-DUPKEY", "lang", 1),
        ("heeder: {}\n", "Y-UNKNOWN", "heeder", 1),
        (
            "header:\n  relations:\n    - statement_digest: abc\n",
            "Y-UNKNOWN",
            "header.relations[0].statement_digest",
            3,
        ),
        ("advisory: {}\nrecall: {}\n", "Y-BODY", "-", 2),
        ("header:\n  urgency: ASAP\n", "Y-ENUM", "header.urgency", 2),
        ("header:\n  urgency: unspecified\n", "Y-ENUM", "header.urgency", 2),
        ("header:\n  urgency:\n", "Y-ENUM", "header.urgency", 2),
        ("header:\n  marking: {tlp: CLEAR}\n", "Y-ENUM", "header.marking.tlp", 2),
        ("header: text\n", "Y-TYPE", "header", 1),
        ("header: {lang: [en]}\n", "Y-TYPE", "header.lang", 1),
        ("persons: {}\n", "Y-TYPE", "persons", 1),
        ("persons:\n  - x\n", "Y-TYPE", "persons[0]", 2),
        ("recall: {purge: 'yes'}\n", "Y-TYPE", "recall.purge", 1),
        ("persons: [{age_years: -1}]\n", "Y-TYPE", "persons[0].age_years", 1),
        ("persons: [{age_years: 007}]\n", "Y-TYPE", "persons[0].age_years", 1),
        ("persons: [{age_years: 4294967296}]\n", "Y-TYPE", "persons[0].age_years", 1),
        ("persons: [{age_years: 1e1}]\n", "Y-TYPE", "persons[0].age_years", 1),
        ("places: [{lat: nan}]\n", "Y-TYPE", "places[0].lat", 1),
        ("places: [{lat: 1e999}]\n", "Y-TYPE", "places[0].lat", 1),
        ("header:\n  lang: en\n  lang: en\n", "Y-DUPKEY", "lang", 3),
        ('header:\n  lang: "\\uD83D"\n', "R-TEXT", "header.lang", 2),
    ],
)
def test_what_a_bulletin_never_needs_is_refused_with_its_place(
    text: str, code: str, path: str, line: int | None
) -> None:
    assert complaint(text) == (code, path, line)


@pytest.mark.parametrize(
    "instant",
    [
        "2025-01-24",
        "2025-01-24T10:00:00",
        "2025-01-24 10:00:00+08:00",
        "2025-02-29T10:00:00Z",
        "2025-01-24T24:00:00Z",
        "2025-01-24T23:59:60Z",
        "2025-01-24T10:00Z",
        "2025-01-24T10:00:00+0800",
        "2025-01-24T10:00:00+24:00",
        "2025-01-24T10:00:00.Z",
        "0001-01-01T00:00:00+08:00",
        "٢٠٢٥-01-24T10:00:00Z",
        "",
    ],
)
def test_an_instant_without_exact_form_or_offset_is_refused(instant: str) -> None:
    assert complaint(f"header:\n  issued_at: '{instant}'\n") == ("Y-TIME", "header.issued_at", 2)


@pytest.mark.parametrize(
    ("instant", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T06:30:00+06:30", 0, 0),
        ("1969-12-31T12:00:00-12:00", 0, 0),
        ("2024-02-29T23:59:59.999+06:30", 1709227799, 999_000_000),
        ("1970-01-01t00:00:01.000000001z", 1, 1),
    ],
)
def test_an_instant_keeps_its_moment(instant: str, seconds: int, nanos: int) -> None:
    at = message(f"header: {{issued_at: '{instant}'}}\n").header.issued_at
    assert (at.seconds, at.nanos) == (seconds, nanos)


def test_text_stays_the_text_that_was_typed() -> None:
    words = ["NO", "12:30", "0912", "1e3", "null", "~", "2025-01-24", "true", "0x10", "1_000"]
    text = "header:\n  subject:\n" + "".join(f"    - {{lang: no, text: {word}}}\n" for word in words)
    assert [one.text for one in message(text).header.subject] == words


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert message("\ufeffheader:\r\n  lang: en\r\n").header.lang == "en"


def test_text_is_composed_once_at_entry() -> None:
    assert message("header: {your_ref: 'Ka\u0302'}\n").header.your_ref == "Kâ"


def test_a_file_of_the_limit_is_read_and_one_byte_more_is_not() -> None:
    head = b"header: {}\n#"
    assert read_draft(head + b"x" * (MAX_FILE_BYTES - len(head))).complaints == ()
    assert complaint(head + b"x" * (MAX_FILE_BYTES + 1 - len(head))) == ("Y-SIZE", "-", None)


def test_twelve_levels_are_read_and_thirteen_are_not() -> None:
    assert complaint(_nested(MAX_DEPTH))[0] == "Y-TYPE"
    assert complaint(_nested(MAX_DEPTH + 1)) == ("Y-DEPTH", "-", 1)


def _nested(levels: int) -> str:
    return "header: " + "[" * (levels - 1) + "]" * (levels - 1) + "\n"


def test_brackets_without_end_cost_nothing() -> None:
    assert complaint("[" * 200_000)[0] == "Y-DEPTH"
    assert complaint("header: {" * 20_000)[0] in ("Y-DEPTH", "Y-SYNTAX")


def test_a_misspelt_field_and_word_are_answered_with_the_right_ones() -> None:
    (unknown,) = read_draft(b"header: {adressees: []}\n").complaints
    assert unknown.hint == "did you mean 'addressees'?"
    (word,) = read_draft(b"header: {marking: {tlp: ambre}}\n").complaints
    assert word.hint is not None
    assert word.hint.startswith("did you mean 'amber'? one of: clear, green")


def test_a_line_is_found_for_what_is_missing() -> None:
    read = read_draft(b"header:\n  lang: en\npersons:\n  - id: P1\n")
    assert read.line_of("header.number") == 1
    assert read.line_of("persons[0].label") == 4
    assert read.line_of("body") is None


def test_the_kind_is_named_even_where_reading_stopped() -> None:
    assert read_draft(b"recall: {}\nheader: {urgency: asap}\n").kind == "recall"
    assert read_draft(b"header: {}\n").kind is None


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_garbage_is_a_complaint_and_never_a_crash(data: bytes) -> None:
    _is_draft(read_draft(data))


@given(st.text(alphabet=st.sampled_from("header:{}[]-\n #&*!|>'\"%@`,?~\\ux0lang"), max_size=80))
@settings(max_examples=200, deadline=None)
def test_garbled_yaml_is_a_complaint_and_never_a_crash(text: str) -> None:
    _is_draft(read_draft(text.encode()))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_bulletin_is_a_complaint_and_never_a_crash(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(VALID)).read_bytes())
    for _ in range(3):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _is_draft(read_draft(bytes(raw)))


def _is_draft(read: Draft) -> None:
    assert (read.message is None) == (len(read.complaints) == 1)
