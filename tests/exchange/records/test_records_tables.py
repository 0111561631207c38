"""The auditor's tables say what the schema says, and refuse what the wire scan refuses."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.evidence import records
from audit.evidence.record_reader import BYTES, NUMBER, TEXT, Table, read_fields
from exchange.v1 import dispatch_pb2, statement_pb2
from keys.errors import RefusedError
from keys.scan import scan
from tests.exchange.evidence.evidence_maker import make

TABLES: list[tuple[Table, Descriptor]] = [
    (records.STATEMENT, statement_pb2.Statement.DESCRIPTOR),
    (records.READ, statement_pb2.Read.DESCRIPTOR),
    (records.DISPATCH, dispatch_pb2.Dispatch.DESCRIPTOR),
    (records.DELIVERY, dispatch_pb2.Delivery.DESCRIPTOR),
    (records.LANE_HEAD, dispatch_pb2.LaneHead.DESCRIPTOR),
]
_FORMS = {FieldDescriptor.TYPE_BYTES: BYTES, FieldDescriptor.TYPE_STRING: TEXT}


def same(table: Table, descriptor: Descriptor) -> None:
    assert {number: each.name for number, each in table.items()} == {f.number: f.name for f in descriptor.fields}
    for each in descriptor.fields:
        field = table[each.number]
        assert field.many == each.is_repeated
        if each.message_type is not None:
            assert not isinstance(field.form, str)
            same(field.form, each.message_type)
        else:
            assert field.form == _FORMS.get(each.type, NUMBER)


@pytest.mark.parametrize(("table", "descriptor"), TABLES, ids=[each.name for _, each in TABLES])
def test_a_table_is_the_schema(table: Table, descriptor: Descriptor) -> None:
    same(table, descriptor)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 10**6), st.integers(0, 7))
def test_what_the_tables_take_the_strict_scan_takes_too(noise: bytes, place: int, bit: int) -> None:
    """Two readers of the same bytes, written apart: neither takes what the other refuses as malformed."""
    data = make_delivery()
    at = place % len(data)
    for each in (noise, data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :], data + noise):
        assert _takes_table(each) == _takes_scan(each)


def make_delivery(made: list[bytes] = []) -> bytes:  # noqa: B006 - made once
    if not made:
        made.append(make().delivery)
    return made[0]


def _takes_table(data: bytes) -> bool:
    try:
        read_fields("delivery", data, _without_lengths(records.DELIVERY))
    except RefusedError:
        return False
    return True


def _without_lengths(table: Table) -> Table:
    from dataclasses import replace

    return {
        number: replace(each, length=0, form=each.form if isinstance(each.form, str) else _without_lengths(each.form))
        for number, each in table.items()
    }


def _takes_scan(data: bytes) -> bool:
    try:
        scan(data, dispatch_pb2.Delivery.DESCRIPTOR)
    except RefusedError:
        return False
    return True
