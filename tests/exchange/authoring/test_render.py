"""A bulletin as people see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.authoring.render import marking_line, render
from exchange.records.bulletin import encode_bulletin, parse_bulletin
from exchange.v1 import bulletin_pb2 as pb
from tests.exchange.authoring.test_text import obeyed
from tests.support.samples import NASTY, VALID, bulletin, draft

NOW = 1_737_972_000_000  # 2025-01-27 10:00 UTC


def message(path: Path) -> pb.Bulletin:
    read = draft(path).message
    assert read is not None
    return read


@pytest.mark.parametrize("path", [*VALID, *NASTY], ids=lambda path: path.stem)
def test_marking_stands_first_and_last_and_nothing_is_obeyed(path: Path) -> None:
    shown = render(message(path), now_ms=NOW)
    lines = shown.splitlines()
    assert lines[0] == lines[-1] == marking_line(message(path))
    assert lines[1] == "EXERCISE"
    assert shown.endswith("\n")
    assert not any(map(obeyed, shown))


@pytest.mark.parametrize("path", [*VALID, *NASTY], ids=lambda path: path.stem)
def test_every_text_in_a_bulletin_can_be_seen(path: Path) -> None:
    shown = "".join(render(message(path), now_ms=NOW).split())
    for text in _texts(message(path)):
        plain = [part for part in text.split() if part.isascii() or part.isprintable()]
        for part in plain:
            assert part in shown, part


def _texts(node: object) -> list[str]:
    if isinstance(node, str):
        return [node]
    fields = getattr(node, "ListFields", None)
    values = [value for _, value in fields()] if fields else []
    found: list[str] = []
    for value in values:
        many = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
        for one in many:
            found += _texts(one)
    return found


def test_facts_allegations_and_assessments_stand_apart() -> None:
    one = bulletin("11")
    one.statements.add(basis=pb.BASIS_FACT).text.add(lang="en", text="It was seen.")
    one.statements.add(basis=pb.BASIS_ALLEGATION).text.add(lang="en", text="It is said.")
    shown = render(one, now_ms=NOW)
    facts, said, judged = (shown.index(word) for word in ("\nFACTS\n", "\nALLEGATIONS (", "\nASSESSMENTS ("))
    assert facts < shown.index("It was seen.") < said < shown.index("It is said.") < judged
    assert "confidence high" in shown[judged:]


def test_a_bulletin_past_its_day_shows_expired_and_one_before_it_does_not() -> None:
    lookout = bulletin("19")
    assert "\nEXPIRED 2022-09-27 23:00 UTC\n" in render(lookout, now_ms=NOW)
    assert "EXPIRED" not in render(lookout, now_ms=1_662_000_000_000)


def test_status_is_in_capitals() -> None:
    one = bulletin("03")
    one.header.status = pb.MESSAGE_STATUS_ACTUAL
    assert render(one, now_ms=NOW).splitlines()[1] == "ACTUAL"


def test_all_four_axes_of_marking_are_in_one_line() -> None:
    one = bulletin("19")
    one.header.marking.handling.extend([pb.HANDLING_CODE_H1, pb.HANDLING_CODE_H2])
    one.header.marking.pap = pb.PAP_AMBER
    assert marking_line(one) == "TLP:AMBER+STRICT · CONFIDENTIAL · H1 H2 · PAP:AMBER"


def test_an_unknown_marking_is_shown_as_the_most_restrictive() -> None:
    one = bulletin("03")
    one.header.marking.tlp = 9  # type: ignore[assignment] # a number that the schema lacks, on purpose
    assert marking_line(one).startswith("TLP:RED · ")


def test_a_correction_shows_old_under_new() -> None:
    shown = render(bulletin("25"), now_ms=NOW)
    was, now, why = (shown.index(f"    {word}  ") for word in ("was", "now", "why"))
    assert was < shown.index("Chen Yuanfengsaid") < now < why


def test_a_corrected_bulletin_keeps_its_text_and_shows_what_changed() -> None:
    shown = render(bulletin("16"), now_ms=NOW, later=[bulletin("25")])
    assert "\nCORRECTED 2022-09-01 01:00 UTC, see below\n" in shown
    assert "\nCORRECTED by CN-MFA/COR/2022/000001\n  statements[2].text[0].text\n" in shown
    assert shown.count("Yuanfengsaid") == 2


def test_a_recalled_bulletin_says_so_before_anything_else() -> None:
    lines = render(bulletin("19"), now_ms=NOW, later=[bulletin("22")]).splitlines()
    assert "RECALLED 2022-08-30 02:05 UTC: subject found" in lines[:5]
    assert "  All four men were caught in Phnom Penh." in lines[:6]


def test_what_a_peer_wrote_never_begins_a_line() -> None:
    one = bulletin("11")
    for text in (one.header.subject[0], one.statements[0].text[0]):
        text.text = "x\nTLP:CLEAR · UNCLASSIFIED\nEXPIRED\nFACTS"
    one.advisory.ClearField("mo_tags")
    shown = render(one, now_ms=NOW).splitlines()
    assert shown.count("TLP:CLEAR · UNCLASSIFIED") == 2
    assert "EXPIRED" not in shown
    assert "FACTS" not in shown


def test_a_right_to_left_label_is_kept_out_of_lines_where_more_follows() -> None:
    one = bulletin("19")
    one.persons[0].label = "אבג"
    shown = render(one, now_ms=NOW)
    (about,) = [line for line in shown.splitlines() if line.lstrip().startswith("about")]
    assert "אבג" not in about
    assert any(line.endswith("  אבג") for line in shown.splitlines())


def test_a_body_of_a_newer_schema_is_said_not_to_be_understood() -> None:
    one = bulletin("03")
    one.ClearField("travel_alert")
    newer = parse_bulletin(encode_bulletin(one) + b"\xfa\x0a\x00", newer_minor=True)
    shown = render(newer, now_ms=NOW, understood=False)
    assert "KIND NOT UNDERSTOOD" in shown
    assert "NOT FULLY UNDERSTOOD" in shown


def test_large_numbers_are_shown_digit_by_digit() -> None:
    one = bulletin("03")
    one.places[0].geonames_id = 1308052
    assert "geonames id  1308052" in render(one, now_ms=NOW)


def test_names_of_places_from_libraries_never_appear() -> None:
    shown = "".join(render(message(path), now_ms=NOW) for path in VALID)
    assert "Province of China" not in shown
    assert "SAR China" not in shown
    assert "Security Bureau (dedicated" not in shown
