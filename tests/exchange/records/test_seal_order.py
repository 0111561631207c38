"""An order to seal is a value: it can be written, read elsewhere and sealed there, and nothing else is read as one."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.record.dispatch import Absent, AbsentReason, Urgency, check_recipients
from audit.record.statement import MAX_STATEMENT_BYTES
from exchange.records.seal_order import (
    ORDER_LABEL,
    PARTS_LABEL,
    SealOrder,
    parse_seal_order,
    parse_sealed_parts,
    seal,
)
from exchange.records.sealed_statement import open_statement
from keys.errors import RefusedError
from tests.exchange.records.formats import (
    BULLETIN_ID,
    ENCRYPTION,
    FEDERATION,
    KEYLESS,
    NOW_MS,
    SENDER,
    STATEMENT,
    signed_statement,
)

ORDER = SealOrder(
    federation_id=FEDERATION,
    sender=SENDER,
    bulletin_id=BULLETIN_ID,
    urgency=Urgency.URGENT,
    expires_ms=NOW_MS,
    content_key=os.urandom(32),
    signed=signed_statement(released=True),
    recipients=tuple(ENCRYPTION[agency].public for agency in sorted(ENCRYPTION)),
    absent=(Absent(agency=KEYLESS, reason=AbsentReason.NO_KEY),),
)


def test_an_order_that_was_read_seals_what_every_recipient_opens() -> None:
    order = parse_seal_order(ORDER.encode())
    assert order == ORDER
    parts = parse_sealed_parts(seal(order).encode())
    check_recipients(STATEMENT, parts.dispatch)
    for agency, wrapped in parts.wraps:
        opened, content_key = open_statement(parts.dispatch, wrapped, parts.body, ENCRYPTION[agency], FEDERATION)
        assert (opened, content_key) == (ORDER.signed, ORDER.content_key)


def test_the_largest_statement_fits_an_order() -> None:
    base = len(replace(STATEMENT, bulletin=b"x" * 100_000).encode()) - 100_000
    statement = replace(STATEMENT, bulletin=b"x" * (MAX_STATEMENT_BYTES - base))
    order = replace(ORDER, signed=signed_statement(released=True, statement=statement))
    assert len(order.signed.payload) in range(MAX_STATEMENT_BYTES - 2, MAX_STATEMENT_BYTES + 1)
    assert parse_seal_order(order.encode()) == order
    parts = seal(order)
    assert parse_sealed_parts(parts.encode()) == parts


def test_what_comes_of_an_order_is_read_as_it_was_written() -> None:
    parts = seal(ORDER)
    assert parse_sealed_parts(parts.encode()) == parts


@given(at=st.integers(min_value=0), value=st.integers(1, 255))
def test_another_byte_is_refused_or_is_another_order(at: int, value: int) -> None:
    for data, parse in ((ORDER.encode(), parse_seal_order), (PARTS, parse_sealed_parts)):
        altered = bytearray(data)
        altered[at % len(data)] ^= value
        try:
            found = parse(bytes(altered))
        except RefusedError:
            continue
        assert found.encode() == altered


PARTS = seal(ORDER).encode()


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    for label, parse in ((ORDER_LABEL, parse_seal_order), (PARTS_LABEL, parse_sealed_parts)):
        for each in (data, label + data):
            with pytest.raises(RefusedError):
                parse(each)


@pytest.mark.parametrize("cut", [1, 33, 600])
def test_an_end_that_is_missing_or_too_much_is_refused(cut: int) -> None:
    for data, parse in ((ORDER.encode(), parse_seal_order), (PARTS, parse_sealed_parts)):
        for each in (data[:-cut], data + bytes(cut)):
            with pytest.raises(RefusedError):
                parse(each)


def test_agencies_out_of_order_or_twice_are_refused() -> None:
    one, two = ORDER.recipients
    for recipients in ((two, one), (one, one)):
        with pytest.raises(RefusedError, match="ascending"):
            parse_seal_order(replace(ORDER, recipients=recipients).encode())
    parts = seal(ORDER)
    with pytest.raises(RefusedError, match="ascending"):
        parse_sealed_parts(replace(parts, wraps=parts.wraps[::-1]).encode())


@pytest.mark.parametrize(
    "wrong",
    [{"expires_ms": 1 << 63}, {"urgency": 9}, {"absent": (Absent(agency=KEYLESS, reason=77),)}],  # type: ignore[arg-type] # wrong on purpose
)
def test_a_number_out_of_its_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RefusedError, match="sealing value"):
        parse_seal_order(replace(ORDER, **wrong).encode())  # type: ignore[arg-type] # wrong on purpose


def test_an_order_shows_no_key_when_it_is_printed() -> None:
    assert ORDER.content_key.hex() not in repr(ORDER)
    assert repr(ORDER.content_key) not in repr(ORDER)
