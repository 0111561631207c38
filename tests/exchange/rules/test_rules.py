"""The rules one by one, where the files do not reach."""

from __future__ import annotations

import pytest

from exchange.records.bulletin import encode_bulletin, parse_bulletin
from exchange.rules import RulesError, check_bulletin, packaged_catalogue, parse_catalogue, refusing
from exchange.rules.characters import PLAIN_PROSE, text_fault
from exchange.rules.codes import is_bitcoin, is_language, is_phone
from exchange.rules.complaint import MOST
from exchange.rules.edtf import is_date, is_edtf
from exchange.rules.mrz import check_digit, mrz_fault
from exchange.rules.registry import CHECKS, PROSE
from exchange.rules.schema import COMPARES
from exchange.v1 import bulletin_pb2 as pb
from keys.errors import RefusedError
from tests.support.calls import counted
from tests.support.samples import VALID, bulletin, draft

CATALOGUE = packaged_catalogue()


def codes(message: pb.Bulletin) -> list[tuple[str, str]]:
    return [(one.code, one.path) for one in check_bulletin(message, CATALOGUE)]


@pytest.mark.parametrize(
    "text",
    [
        "2022",
        "202X",
        "20XX",
        "2022-08",
        "2022-XX",
        "2022-08-29",
        "2022-08-XX",
        "2022-XX-XX",
        "2022?",
        "2022-08~",
        "2022%",
        "2022-08-XX~",
        "2022-03/2022-07",
        "2022/2025-01-24",
        "../2022-08",
        "2024/..",
        "2022~/2023?",
        "2022-12/2022",
        "2024-02-29",
        "0000-02-29",
        "2022-03/2022-03",
    ],
)
def test_a_date_of_the_profile_is_taken(text: str) -> None:
    assert is_edtf(text)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "2022-8",
            "2022-13",
            "2022-00",
            "2022-21",
            "2025-02-29",
            "2022-08-00",
            "2022-08-32",
            "Y20220",
            "20X2",
            "XXXX",
            "2022-XX-01",
            "202X-01",
        ],
        *[
            "../..",
            "/2022",
            "2022/",
            "2022-07/2022-03",
            "2022/2023/2024",
            "[2022]",
            "{2022}",
            "~",
            "-2022",
            "2022?~",
            "2022-01-01T00:00Z",
        ],
        *("", "2022 ", " 2022", "２０２２", "2022-08-29\n", ".."),
    ],
)
def test_a_date_outside_the_profile_is_not(text: str) -> None:
    assert not is_edtf(text)


def test_a_plain_date_is_a_day_of_the_calendar() -> None:
    assert is_date("2024-02-29")
    assert not any(map(is_date, ("2025-02-29", "2025-1-1", "20250124", "2025-W01-1", "")))


def test_the_specimen_documents_of_doc_9303_check() -> None:
    passport = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"
    card = "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<"
    small = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6"
    visa = "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL8988901C4XXX4009078F96121096ZE184226B<<<<<<"
    for zone in (passport, card, small, visa, passport + "\n"):
        assert mrz_fault(zone) is None
    assert check_digit("L898902C3") == 6


def test_every_changed_digit_of_a_passport_is_found() -> None:
    first, second = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"
    for place, char in enumerate(second):
        if char.isdigit():
            changed = second[:place] + str((int(char) + 1) % 10) + second[place + 1 :]
            assert mrz_fault(f"{first}\n{changed}"), place


@pytest.mark.parametrize("zone", ["P<UTO", "", "x" * 44 + "\n" + "x" * 44, "<" * 44, "P" * 44 + "\n" + "1" * 43])
def test_a_zone_of_another_shape_is_a_fault(zone: str) -> None:
    assert mrz_fault(zone)


def test_characters_are_judged_by_where_they_stand() -> None:
    assert text_fault("a\n\tb", prose=True) is None
    assert text_fault("a\nb", prose=False)
    assert text_fault("a\nb", prose=False, lines=True) is None
    assert text_fault("a\tb", prose=False, lines=True)
    assert text_fault("\u2067אב\u2069", prose=True) is None
    assert text_fault("\u2067אב\u2069", prose=False)
    assert text_fault("\u2069\u2067", prose=True)
    for always in "\u200e\u200f\u061c\u200b\u200c\u200d\u00ad\u2060\ue000":
        assert text_fault(f"a{always}b", prose=False) is None
    for never in "\x00\x1b\x7f\x85\r\u202a\u202e\ufeff\ufffe\U000e0041\U0001ffff\u0378":
        assert text_fault(f"a{never}b", prose=True)


def test_what_the_walk_takes_for_plain_prose_is_what_running_text_may_have() -> None:
    allowed = [number for number in range(128) if text_fault(chr(number), prose=True) is None]
    assert bytes(allowed) == PLAIN_PROSE


def test_codes_of_others_are_judged_by_form_and_check_digit() -> None:
    assert is_language("zh-Hant-HK")
    assert not is_language("zh_TW")
    assert not is_language("english")
    assert is_phone("+959123456789")
    assert not is_phone("+66 2 123 4567")
    taproot = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    assert is_bitcoin(taproot)
    assert is_bitcoin(taproot.upper())
    assert not is_bitcoin(taproot[:-1] + "q")
    assert not is_bitcoin("B" + taproot[1:])


def test_tables_name_fields_that_exist() -> None:
    known = {
        f"{message.name}.{field.name}"
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }
    assert known >= {*CHECKS, *PROSE}


def test_a_rule_about_two_fields_is_silent_while_one_is_wrong() -> None:
    one = bulletin("19")
    one.header.ClearField("urgency")
    one.header.ClearField("number")
    one.header.marking.ClearField("classification")
    one.header.marking.tlp = pb.TLP_CLEAR
    assert codes(one) == [
        ("S-required", "header.number"),
        ("S-enum.not_in", "header.marking.classification"),
        ("S-enum.not_in", "header.urgency"),
    ]
    assert codes(pb.Bulletin(lookout=bulletin("19").lookout)) == [("S-required", "header")]
    assert "number.originator" in COMPARES


def test_a_missing_word_is_answered_with_the_list() -> None:
    one = bulletin("03")
    one.header.ClearField("status")
    (complaint,) = check_bulletin(one, CATALOGUE)
    assert complaint.hint == "one of: actual, exercise, test"


def test_complaints_of_registry_and_policy_come_together() -> None:
    one = bulletin("05")
    one.header.as_of = "2025-13"
    one.header.number = "HK-SB/ADV/2025/000001"
    assert codes(one) == [("R-EDTF", "header.as_of"), ("P-NUMBER", "header.number")]


def test_the_number_may_name_the_year_on_the_officers_wall() -> None:
    one = bulletin("05")
    one.header.issued_at.FromJsonString("2024-12-31T17:00:00Z")
    one.header.bulletin_id = "01941df2-0000-7abc-8def-000000000000"
    one.header.number = "HK-SB/STU/2025/000001"
    assert not [code for code, _ in codes(one) if code == "P-NUMBER"]
    one.header.number = "HK-SB/STU/2026/000001"
    assert ("P-NUMBER", "header.number") in codes(one)


def test_consent_covers_a_territory_but_not_a_name_that_begins_alike() -> None:
    one = bulletin("05")
    one.persons[0].consent.status = pb.CONSENT_STATUS_GIVEN
    one.persons[0].consent.share_with.extend(["HK", "TH-DS", "@mekong"])
    assert codes(one) == [("P-CONSENT", "header.addressees[2]"), ("P-CONSENT", "header.addressees[3]")]
    one.persons[0].consent.share_with.extend(["TH-DSI", "CN"])
    assert codes(one) == []


def test_vital_interests_override_a_refusal() -> None:
    one = bulletin("14")
    one.persons[0].consent.status = pb.CONSENT_STATUS_WITHDRAWN
    assert codes(one) == []
    del one.header.legal_basis[0]
    assert codes(one) == [("P-CONSENT", "persons[0].consent")]


def test_a_lookout_may_live_to_the_hour_of_its_limit() -> None:
    one = bulletin("19")
    one.header.expires_at.seconds = one.header.issued_at.seconds + 90 * 86400
    assert codes(one) == []
    one.header.expires_at.seconds += 1
    assert codes(one) == [("P-EXPIRY", "header.expires_at")]


def test_a_request_may_leave_a_day_more_than_its_urgency() -> None:
    one = bulletin("12")
    one.header.reply_by.seconds = one.header.issued_at.seconds + (168 + 24) * 3600
    assert codes(one) == []
    one.header.reply_by.seconds += 1
    assert codes(one) == [("P-DEADLINE", "header.reply_by")]


def test_an_id_may_be_a_day_older_than_the_bulletin() -> None:
    one = bulletin("05")
    made = int(one.header.bulletin_id[:13].replace("-", ""), 16) // 1000
    one.header.issued_at.FromSeconds(made + 86400)
    assert codes(one) == []
    one.header.issued_at.FromSeconds(made + 86402)
    assert codes(one) == [("P-IDTIME", "header.bulletin_id")]


def test_victims_may_be_looked_for_to_help_them() -> None:
    one = bulletin("19")
    one.persons[0].victim_status = pb.VICTIM_STATUS_POSSIBLE
    one.persons[0].victim_status_decided_by = pb.DECIDED_BY_NGO
    assert codes(one) == [("P-VICTIM", "lookout.subjects")]
    one.lookout.action = pb.LOOKOUT_ACTION_CHECK_WELFARE
    assert codes(one) == []


def test_purpose_limitation_overrides_a_list_of_all() -> None:
    assert CATALOGUE.may_receive("lookout", "police")
    assert not CATALOGUE.may_receive("lookout", "oversight")
    assert not CATALOGUE.may_receive("arrest_notice", "rights_commission")
    assert CATALOGUE.may_receive("statistics_return", "oversight")
    assert not CATALOGUE.may_issue("lookout", "consular")


def test_a_catalogue_of_another_shape_is_refused() -> None:
    files = dict(CATALOGUE.files)
    assert parse_catalogue(files) == CATALOGUE
    for name, data in (("policy.yaml", b"kinds: ["), ("states.yaml", b"first: x"), ("agencies.yaml", b"- a")):
        with pytest.raises(RefusedError) as refused:
            parse_catalogue(files | {name: data})
        assert refused.value.code == "MALFORMED"
    del files["places.yaml"]
    with pytest.raises(RefusedError):
        parse_catalogue(files)


def test_with_a_newer_schema_only_what_may_be_newer_is_let_pass() -> None:
    one = bulletin("11")
    one.advisory.mo_tags.append("deep-fake")
    newer = check_bulletin(one, CATALOGUE)
    assert [complaint.code for complaint in newer] == ["R-CODE"]
    assert refusing(newer, newer_minor=True) == ()
    assert refusing(newer, newer_minor=False) == newer
    one.header.lang = "xx_YY"
    assert [complaint.code for complaint in refusing(check_bulletin(one, CATALOGUE), newer_minor=True)] == ["R-LANG"]


def test_the_error_names_codes_and_fields_and_no_content() -> None:
    one = bulletin("05")
    one.persons[0].label = "SECRETNAME\u202e"
    error = RulesError(check_bulletin(one, CATALOGUE))
    assert error.code == "RULES"
    assert str(error) == "R-TEXT at persons[0].label"


def test_hostile_instants_are_complaints() -> None:
    for seconds in (-1, 253402300800, 1 << 62, -(1 << 62)):
        for start in ("12", "13", "19", "22"):
            one = bulletin(start)
            one.header.issued_at.seconds = seconds
            again = parse_bulletin(encode_bulletin(one))
            assert ("S-timestamp.gte_lte", "header.issued_at") in codes(again)


def test_a_bulletin_full_of_faults_costs_little() -> None:
    one = bulletin("19")
    for _ in range(4000):
        one.statements.add(basis=pb.BASIS_ASSESSMENT)
    two = bulletin("19")
    for _ in range(99):
        two.statements.add(basis=pb.BASIS_FACT, about=[f"P{index}" for index in range(900, 950)]).text.add(
            lang="xx_YY", text="\u202e" * 9000
        )
    with counted() as calls:
        assert 0 < len(check_bulletin(one, CATALOGUE)) <= MOST
        assert len([code for code, _ in codes(two) if code.startswith("R-")]) == MOST
    print(f"{calls[0]} calls")
    assert calls[0] < 10_000_000


def test_a_usual_bulletin_is_judged_in_a_few_hundred_calls() -> None:
    messages = [message for path in VALID if (message := draft(path).message) is not None]
    for message in messages:
        check_bulletin(message, CATALOGUE)  # warm
    with counted() as calls:
        for message in messages:
            check_bulletin(message, CATALOGUE)
    print(f"{calls[0] // len(messages)} calls a bulletin")
    assert calls[0] / len(messages) < 1_500


def test_text_that_is_not_in_nfc_is_refused_at_intake_too() -> None:
    message = bulletin("11")
    message.statements[0].text[0].text = "Kampo\u0301ng"
    assert codes(message) == [("R-TEXT", "statements[0].text[0].text")]
