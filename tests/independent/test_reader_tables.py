"""The tables of the reader that shares no code say what the schema says, and refuse what the wire scan refuses."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.v1 import dispatch_pb2, statement_pb2
from keys.errors import RefusedError
from keys.scan import scan
from tests.exchange.records import formats
from tests.independent import reader

Table = dict[int, tuple[str, Any, bool]]
TABLES: list[tuple[Table, Descriptor]] = [
    (reader.STATEMENT, statement_pb2.Statement.DESCRIPTOR),
    (reader.DISPATCH, dispatch_pb2.Dispatch.DESCRIPTOR),
    (reader.DELIVERY, dispatch_pb2.Delivery.DESCRIPTOR),
    (reader.LANE_HEAD, dispatch_pb2.LaneHead.DESCRIPTOR),
    (reader.READ, statement_pb2.Read.DESCRIPTOR),
]
DELIVERY = formats.chain(1)[0]


def same(table: Table, descriptor: Descriptor) -> None:
    assert {number: name for number, (name, _, _) in table.items()} == {f.number: f.name for f in descriptor.fields}
    for each in descriptor.fields:
        _, kind, many = table[each.number]
        assert many == each.is_repeated
        if each.message_type is not None:
            same(kind, each.message_type)
        elif each.type == FieldDescriptor.TYPE_BYTES:
            assert kind == "bytes" or isinstance(kind, int)
        else:
            assert kind == ("text" if each.type == FieldDescriptor.TYPE_STRING else "number")


@pytest.mark.parametrize(("table", "descriptor"), TABLES, ids=[each.name for _, each in TABLES])
def test_a_table_is_the_schema(table: Table, descriptor: Descriptor) -> None:
    same(table, descriptor)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 10**6), st.integers(0, 7))
def test_what_the_tables_take_the_strict_scan_takes_too(noise: bytes, place: int, bit: int) -> None:
    """Two readers of the same bytes, written apart: neither takes what the other refuses as malformed."""
    at = place % len(DELIVERY)
    for each in (noise, DELIVERY[:at] + bytes((DELIVERY[at] ^ 1 << bit,)) + DELIVERY[at + 1 :], DELIVERY + noise):
        assert _takes_table(each) == _takes_scan(each)


def _takes_table(data: bytes) -> bool:
    try:
        reader.parse(_without_lengths(reader.DELIVERY), data)
    except (reader.Refused, UnicodeDecodeError):
        return False
    return True


def _without_lengths(table: Table) -> Table:
    return {
        number: (name, _without_lengths(kind) if isinstance(kind, dict) else _plain(kind), many)
        for number, (name, kind, many) in table.items()
    }


def _plain(kind: Any) -> Any:
    return "bytes" if isinstance(kind, int) else kind


def _takes_scan(data: bytes) -> bool:
    try:
        scan(data, dispatch_pb2.Delivery.DESCRIPTOR)
    except RefusedError:
        return False
    return True
