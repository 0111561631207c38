"""Bytes of bulletins and the facts taken from them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.records.bulletin import (
    Classification,
    Tlp,
    classification_of,
    encode_bulletin,
    enum_word,
    expires_ms,
    id_bytes,
    is_understood,
    kind_of,
    parse_bulletin,
    reply_by_ms,
    retention_class,
    review_day,
    tlp_of,
    uuid7,
    uuid7_ms,
)
from exchange.v1 import bulletin_pb2 as pb
from keys.errors import RefusedError
from tests.support.samples import bulletin

UNKNOWN_BODY = b"\xfa\x0a\x00"  # field 175, empty


def test_an_unknown_body_is_refused_unless_a_newer_schema_is_named() -> None:
    message = bulletin("03")
    message.ClearField("travel_alert")
    data = encode_bulletin(message) + UNKNOWN_BODY
    with pytest.raises(RefusedError) as refused:
        parse_bulletin(data)
    assert refused.value.code == "NOT_UNDERSTOOD"
    assert kind_of(parse_bulletin(data, newer_minor=True)) == ""
    assert not is_understood(data)


def test_two_bodies_in_the_bytes_are_refused() -> None:
    message = bulletin("03")
    other = pb.Bulletin()
    other.recall.reason = pb.RECALL_REASON_SECURITY
    with pytest.raises(RefusedError) as refused:
        parse_bulletin(encode_bulletin(message) + encode_bulletin(other))
    assert refused.value.code == "MALFORMED"


def test_appended_bytes_cannot_lower_a_marking() -> None:
    message = bulletin("19")
    lower = pb.Bulletin()
    lower.header.marking.tlp = pb.TLP_CLEAR
    with pytest.raises(RefusedError):
        parse_bulletin(encode_bulletin(message) + encode_bulletin(lower))


def test_a_bulletin_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(RefusedError) as refused:
        parse_bulletin(bytes((1 << 20) + 1))
    assert refused.value.code == "MALFORMED"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_refused(data: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert encode_bulletin(parse_bulletin(data)) == data


def test_an_unknown_marking_counts_as_the_most_restrictive() -> None:
    message = bulletin("03")
    assert (tlp_of(message), classification_of(message)) == (Tlp.CLEAR, Classification.UNCLASSIFIED)
    message.header.marking.tlp = 9  # type: ignore[assignment] # a number that the schema lacks, on purpose
    message.header.marking.classification = 5  # type: ignore[assignment] # a number that the schema lacks, on purpose
    assert (tlp_of(message), classification_of(message)) == (Tlp.RED, Classification.SECRET)


def test_facts_are_milliseconds_days_and_numbers() -> None:
    lookout, request = bulletin("19"), bulletin("12")
    assert expires_ms(lookout) == 1664319600000
    assert reply_by_ms(lookout) is None
    assert reply_by_ms(request) is not None
    assert expires_ms(request) is None
    assert review_day(lookout) == 19323
    assert retention_class(lookout) == pb.RETENTION_CLASS_TRANSIENT_90D
    lookout.header.retention.review_by = ""
    assert review_day(lookout) == 0


def test_an_id_carries_its_time_and_version() -> None:
    made = uuid7(1_737_972_000_000, bytes(range(10)))
    assert made == "0194a734-2500-7001-8203-040506070809"
    assert uuid7_ms(made) == 1_737_972_000_000
    assert id_bytes(made).hex() == made.replace("-", "")
    with pytest.raises(ValueError, match="ten"):
        uuid7(0, b"short")


@pytest.mark.parametrize(
    "wrong", ["", "x", "0194A734-2500-7001-8203-040506070809", "0194a734-2500-4001-8203-040506070809"]
)
def test_another_id_is_malformed(wrong: str) -> None:
    with pytest.raises(RefusedError) as refused:
        id_bytes(wrong)
    assert refused.value.code == "MALFORMED"


def test_enum_values_read_as_officers_write_them() -> None:
    assert enum_word(pb.Tlp.DESCRIPTOR, pb.TLP_AMBER_STRICT) == "amber-strict"
    assert enum_word(pb.InfoCredibility.DESCRIPTOR, 3) == "3"
    assert enum_word(pb.Tlp.DESCRIPTOR, 0) == ""
    assert enum_word(pb.Tlp.DESCRIPTOR, 42) == "unknown-42"
