"""The fast way through the scan admits nothing that the walk would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.v1 import dispatch_pb2, statement_pb2
from exchange.authoring.draft import read_draft
from exchange.records.bulletin import encode_bulletin
from exchange.v1 import bulletin_pb2
from keys.errors import RefusedError
from keys.scan import MAX_DEPTH, scan, walk
from keys.scan_fast import is_canonical
from keys.v1 import manifest_pb2, roster_pb2, signed_pb2
from tests.support.scale import SCALE

BULLETIN = bulletin_pb2.Bulletin.DESCRIPTOR
FILES = sorted((Path(__file__).resolve().parents[2] / "exchange" / "examples").glob("*.yaml"))
ENCODED = [encode_bulletin(read_draft(path.read_bytes()).message) for path in FILES]
TYPES = [
    BULLETIN,
    statement_pb2.Statement.DESCRIPTOR,
    dispatch_pb2.Dispatch.DESCRIPTOR,
    dispatch_pb2.LaneHead.DESCRIPTOR,
    signed_pb2.SignedPayload.DESCRIPTOR,
    signed_pb2.KeyRecord.DESCRIPTOR,
    roster_pb2.Member.DESCRIPTOR,
    manifest_pb2.Manifest.DESCRIPTOR,
]


def admits(data: bytes, descriptor: Descriptor) -> bool:
    try:
        walk(data, descriptor)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize("data", ENCODED, ids=[path.stem[:2] for path in FILES])
def test_every_real_bulletin_goes_the_fast_way(data: bytes) -> None:
    assert is_canonical(data, BULLETIN, MAX_DEPTH)
    assert admits(data, BULLETIN)


@settings(max_examples=200 * SCALE, deadline=None)
@given(st.sampled_from(ENCODED), st.data())
def test_altered_bulletins_go_the_fast_way_only_where_the_walk_admits_them(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    cut = draw.draw(st.integers(0, 3))
    altered = data[:at] + draw.draw(st.binary(max_size=4)) + data[at + cut :]
    if is_canonical(altered, BULLETIN, MAX_DEPTH):
        assert admits(altered, BULLETIN)


@settings(max_examples=200 * SCALE, deadline=None)
@given(st.sampled_from(TYPES), st.binary(max_size=48))
def test_garbage_goes_the_fast_way_only_where_the_walk_admits_it(descriptor: Descriptor, data: bytes) -> None:
    if is_canonical(data, descriptor, MAX_DEPTH):
        assert admits(data, descriptor)


@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xc3"])
def test_text_that_is_not_utf8_is_refused_on_both_ways(text: bytes) -> None:
    data = b"\x1a" + bytes([len(text)]) + text  # KeyRecord.owner
    assert not is_canonical(data, signed_pb2.KeyRecord.DESCRIPTOR, MAX_DEPTH)
    with pytest.raises(RefusedError):
        scan(data, signed_pb2.KeyRecord.DESCRIPTOR)


def test_unknown_fields_never_go_the_fast_way() -> None:
    inside = ENCODED[0] + b"\xba\x3e\x00"  # field 999, empty
    assert not is_canonical(inside, BULLETIN, MAX_DEPTH)
    assert scan(inside, BULLETIN, unknown=True)


def test_a_type_that_nests_deeper_than_may_be_never_goes_the_fast_way() -> None:
    assert not is_canonical(ENCODED[0], BULLETIN, 2)
