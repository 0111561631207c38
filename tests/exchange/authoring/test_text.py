"""Nothing that a terminal obeys gets through, and four scripts and right-to-left text get through whole."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.authoring.text import MAX_MARKS, safe_text
from tests.support.scale import SLOW

BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def obeyed(char: str) -> bool:
    code = ord(char)
    return (code < 0x20 and char != "\n") or 0x7F <= code <= 0x9F or code in BIDI or 0xD800 <= code <= 0xDFFF


@pytest.mark.parametrize("step", [pytest.param(17, id="some"), pytest.param(1, id="whole", marks=SLOW)])
def test_row_44_no_code_point_of_all_makes_a_terminal_obey(step: int) -> None:
    """All that one obeys lies below 0xE000, the surrogates last; of what is above, a sample will do."""
    for code in (*range(0xE000), *range(0xE000, sys.maxunicode + 1, step)):
        shown = safe_text(chr(code), lines=True)
        assert not any(map(obeyed, shown)), hex(code)


def test_invisible_and_private_characters_alone_are_shown_by_number() -> None:
    hidden = [0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD, 0xE000, 0xF0000, 0xE0041, 0xFFFE, 0xFDD0, 0x2028, 0x3164]
    hidden += [0xFE0F, 0xE0100, 0x0378]
    for code in hidden:
        assert safe_text(chr(code)) == f"⟨U+{code:04X}⟩"


@given(st.text(max_size=60), st.booleans(), st.one_of(st.none(), st.integers(1, 80)))
@settings(max_examples=200, deadline=None)
def test_any_text_becomes_safe_and_stays_within_its_limit(text: str, lines: bool, limit: int | None) -> None:
    shown = safe_text(text, limit, lines=lines)
    assert not any(map(obeyed, shown))
    assert lines or "\n" not in shown
    assert limit is None or len(shown) <= limit


@pytest.mark.parametrize(
    "text",
    [
        "提防海外求職陷阱 𡃁仔 𠮷",
        "ระวังการหลอกลวงงานในต่างประเทศ",
        "ការងារ\u200bនៅ\u200bបរទេស",
        "နိုင်ငံ\u200bခြား ကော့ကရိတ်ခရိုင်",
        "می\u200cخواهم ۱۲۳",
        "ශ්\u200dරී",
        "היזהרו מהצעות עבודה בחו״ל",
        "احذر من عروض العمل، اتصل بالرقم 1868 فورًا",
        "👨\u200d👩\u200d👧\u200d👦 👍🏽 1\ufe0f\u20e3 ✈\ufe0f 🇹🇭 🏳\ufe0f\u200d🌈",
        "Kâmpóng Spœ z̴̢a̷l̶g̵o̴ – “quotes” …",
    ],
)
def test_scripts_that_need_joiners_and_marks_stay_whole(text: str) -> None:
    assert safe_text(text) == text


def test_a_joiner_in_a_code_is_shown() -> None:
    assert safe_text("HK-\u200bSB") == "HK-⟨U+200B⟩SB"


def test_row_44_a_terminal_escape_is_shown_and_not_obeyed() -> None:
    assert safe_text("a\x1b]0;x\x07\x9b2Jb") == "a⟨U+001B⟩]0;x⟨U+0007⟩⟨U+009B⟩2Jb"


def test_a_field_stays_one_line_unless_lines_are_asked_for() -> None:
    assert safe_text("a\r\nb\nc\td\re") == "a b c d⟨U+000D⟩e"
    assert safe_text("a\r\nb\n\tc", lines=True) == "a\nb\n c"


def test_a_tower_of_marks_ends() -> None:
    shown = safe_text("a" + "\u0301" * 50, None)
    assert shown.startswith("a" + "\u0301" * MAX_MARKS + "⟨U+0301⟩")


def test_what_is_too_long_ends_in_one_sign() -> None:
    assert safe_text("abcdef", 4) == "abc…"
    assert safe_text("abcd", 4) == "abcd"
