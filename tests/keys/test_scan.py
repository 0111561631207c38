"""The strict wire scan: seven kinds of malformed bytes that upb takes, and everything else that is not canonical."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.v1 import dispatch_pb2
from exchange.v1 import bulletin_pb2
from keys.errors import RefusedError
from keys.scan import MAX_DEPTH, MAX_FIELDS, scan, walk
from keys.v1 import roster_pb2, signed_pb2
from tests.keys.world import refused

SIGNED = signed_pb2.SignedPayload.DESCRIPTOR
RECORD = signed_pb2.KeyRecord.DESCRIPTOR
MEMBER = roster_pb2.Member.DESCRIPTOR
BULLETIN = bulletin_pb2.Bulletin.DESCRIPTOR
PLACE = bulletin_pb2.Place.DESCRIPTOR

PAYLOAD = b"\x0a\x01x"  # SignedPayload.payload = "x"

# What upb takes without a word (docs/design.md, "Canonical bytes"), each as KeyRecord or SignedPayload bytes.
SEVEN = {
    "duplicate-scalar": (RECORD, b"\x08\x01\x08\x02"),
    "duplicate-sub-message": (MEMBER, b"\x22\x02\x08\x01\x22\x02\x10\x01"),
    "unknown-field": (RECORD, b"\x08\x01\x78\x01"),
    "wrong-wire-type": (RECORD, b"\x0d\x01\x00\x00\x00"),
    "over-long-varint": (RECORD, b"\x08\x81\x00"),
    "out-of-range": (RECORD, b"\x08\x81\x80\x80\x80\x10"),
    "out-of-order": (RECORD, b"\x10\x01\x08\x01"),
}


@pytest.mark.parametrize("name", SEVEN)
def test_row_37_what_upb_takes_is_refused(name: str) -> None:
    descriptor, data = SEVEN[name]
    descriptor._concrete_class.FromString(data)  # the parser alone does not object
    refused("NOT_UNDERSTOOD" if name == "unknown-field" else "MALFORMED", lambda: scan(data, descriptor))


@pytest.mark.parametrize(
    ("name", "descriptor", "data"),
    [
        ("default-number", RECORD, b"\x08\x00"),
        ("default-text", RECORD, b"\x1a\x00"),
        ("default-bytes", RECORD, b"\x22\x00"),
        ("truncated-tag", RECORD, b"\x88"),
        ("truncated-varint", RECORD, b"\x08\x81"),
        ("truncated-value", RECORD, b"\x08"),
        ("truncated-text", RECORD, b"\x1a\x05HK"),
        ("length-beyond-message", MEMBER, b"\x22\x03\x1a\x05HK"),
        ("value-beyond-message", MEMBER, b"\x22\x01\x08\x01"),
        ("long-length", RECORD, b"\x1a\x81\x00H"),
        ("long-tag", RECORD, b"\x88\x00\x01"),
        ("eleven-byte-varint", RECORD, b"\x08" + b"\xff" * 10 + b"\x01"),
        ("beyond-64-bits", RECORD, b"\x08" + b"\xff" * 9 + b"\x02"),
        ("invalid-utf8", RECORD, b"\x1a\x02\xc3\x28"),
        ("surrogate", RECORD, b"\x1a\x03\xed\xa0\x80"),
        ("field-zero", RECORD, b"\x00\x01"),
        ("group", RECORD, b"\x7b\x7c"),
        ("field-number-too-large", RECORD, b"\x80\x80\x80\x80\x10\x01"),
        ("empty-packed", MEMBER, b"\x4a\x00"),
        ("unpacked-list", MEMBER, b"\x48\x01"),
        ("packed-over-long", MEMBER, b"\x4a\x02\x81\x00"),
        ("packed-out-of-range", MEMBER, b"\x4a\x05\xff\xff\xff\xff\x1f"),
        ("packed-truncated", MEMBER, b"\x4a\x01\x81"),
        ("enum-beyond-int32", MEMBER, b"\x18\x80\x80\x80\x80\x08"),
    ],
)
def test_what_is_not_canonical_is_refused(name: str, descriptor: object, data: bytes) -> None:
    refused("MALFORMED", lambda: scan(data, descriptor))  # type: ignore[arg-type] # wrong or merged on purpose


def test_second_member_of_a_oneof_is_refused() -> None:
    members = sorted(BULLETIN.oneofs_by_name["body"].fields, key=lambda each: each.number)[:2]
    one, two = (_tag(each.number << 3 | 2) + b"\x00" for each in members)
    for each in (one, two):
        assert scan(each, BULLETIN) is False  # an empty message is a stated one
    refused("MALFORMED", lambda: scan(one + two, BULLETIN))


def test_doubles_may_be_written_but_not_as_zero() -> None:
    numbers = [each.number for each in PLACE.fields if each.type == each.TYPE_DOUBLE and not each.has_presence]
    assert numbers
    tag = _tag(numbers[0] << 3 | 1)
    scan(tag + b"\x00" * 7 + b"\x40", PLACE)
    refused("MALFORMED", lambda: scan(tag + b"\x00" * 8, PLACE))
    refused("MALFORMED", lambda: scan(tag + b"\x40", PLACE))


def test_nesting_has_a_limit() -> None:
    assert scan(b"\x12\x02\x0a\x00"[:1] + b"\x03\x0a\x01t", SIGNED) is False
    refused("MALFORMED", lambda: scan(b"\x12\x03\x0a\x01t", SIGNED, depth=1))


def test_number_of_fields_has_a_limit() -> None:
    one = b"\x12\x03\x0a\x01t"  # a signature: one field here, one inside
    scan(one * (MAX_FIELDS // 2), SIGNED)
    refused("MALFORMED", lambda: scan(one * (MAX_FIELDS // 2 + 1), SIGNED))


def test_numbers_in_packed_lists_count_as_fields() -> None:
    size = MAX_FIELDS + 1
    refused("MALFORMED", lambda: scan(b"\x4a" + _tag(size) + b"\x01" * size, MEMBER))


@pytest.mark.parametrize("unknown", [b"\x78\x01", b"\x79" + b"\x00" * 8, b"\x7a\x02\x88\x00", b"\x7d" + b"\x00" * 4])
def test_unknown_fields_are_admitted_only_where_asked(unknown: bytes) -> None:
    data = b"\x08\x01" + unknown
    refused("NOT_UNDERSTOOD", lambda: scan(data, RECORD))
    assert scan(data, RECORD, unknown=True) is True
    assert scan(data + b"\x78\x01", RECORD, unknown=True) is True  # numbers do not descend
    refused("MALFORMED", lambda: scan(unknown + b"\x08\x01", RECORD, unknown=True))
    refused("MALFORMED", lambda: scan(data + b"\x70", RECORD, unknown=True))
    refused("MALFORMED", lambda: scan(data + b"\x70\x01", RECORD, unknown=True))
    assert scan(b"\x08\x01", RECORD, unknown=True) is False


def test_unknown_field_inside_a_sub_message_is_seen() -> None:
    assert scan(b"\x12\x02\x78\x01", SIGNED, unknown=True) is True


def test_known_field_with_another_wire_type_is_not_an_unknown_field() -> None:
    refused("MALFORMED", lambda: scan(b"\x0d\x01\x00\x00\x00", RECORD, unknown=True))


def _made_up() -> descriptor_pool.DescriptorPool:
    """Return a schema with every kind of field that ours may come to use, and some that they may not."""
    file = descriptor_pb2.FileDescriptorProto(name="made/up.proto", package="made", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="All")
    message.oneof_decl.add(name="choice")
    message.oneof_decl.add(name="_stated")
    types = [
        kinds.TYPE_INT32,
        kinds.TYPE_INT64,
        kinds.TYPE_SINT32,
        kinds.TYPE_BOOL,
        kinds.TYPE_FIXED32,
        kinds.TYPE_FIXED64,
    ]
    for number, each in enumerate(types, start=1):
        message.field.add(name=f"f{number}", number=number, type=each, label=1)
    message.field.add(name="one", number=7, type=kinds.TYPE_UINT32, label=1, oneof_index=0)
    message.field.add(name="two", number=8, type=kinds.TYPE_STRING, label=1, oneof_index=0)
    message.field.add(name="stated", number=9, type=kinds.TYPE_UINT32, label=1, oneof_index=1, proto3_optional=True)
    message.field.add(name="self", number=10, type=kinds.TYPE_MESSAGE, type_name=".made.All", label=1)
    message.field.add(name="signed", number=11, type=kinds.TYPE_SINT64, label=3)
    other = file.message_type.add(name="Doubles")
    other.field.add(name="many", number=1, type=kinds.TYPE_DOUBLE, label=3)
    other = file.message_type.add(name="Unpacked")
    other.field.add(name="many", number=1, type=kinds.TYPE_UINT32, label=3, options={"packed": False})
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


POOL = _made_up()
ALL = POOL.FindMessageTypeByName("made.All")


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x01",
        b"\x08" + b"\xff" * 9 + b"\x01",  # int32 -1, sign-extended
        b"\x10" + b"\xff" * 9 + b"\x01",
        b"\x18\x01",
        b"\x20\x01",
        b"\x2d\x01\x00\x00\x00",
        b"\x31\x01" + bytes(7),
        b"\x38\x01",
        b"\x42\x01x",
        b"\x48\x00",  # optional: stated, and zero
        b"\x52\x00",
        b"\x52\x02\x52\x00",
        b"\x5a\x02\x00\x01",
    ],
)
def test_every_kind_of_field_has_one_canonical_form(data: bytes) -> None:
    assert scan(data, ALL) is walk(data, ALL) is False


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x80\x80\x80\x80\x08",  # int32 of 2^31
        b"\x08\xff\xff\xff\xff\x0f",  # int32 -1, not sign-extended
        b"\x18\x80\x80\x80\x80\x10",
        b"\x20\x02",
        b"\x20\x00",
        b"\x2d" + bytes(4),
        b"\x2d\x01\x00",
        b"\x31" + bytes(8),
        b"\x38\x00",  # a oneof's number is never zero
        b"\x42\x00",
        b"\x38\x01\x42\x01x",
        b"\x5a\x00",
        b"\x52\x02\x52\x02",
        b"\x52\x00\x52\x00",
    ],
)
def test_every_other_form_of_it_is_refused(data: bytes) -> None:
    refused("MALFORMED", lambda: scan(data, ALL))
    refused("MALFORMED", lambda: walk(data, ALL))


def test_a_type_that_holds_itself_is_followed_to_the_limit() -> None:
    nested = b""
    for _ in range(MAX_DEPTH - 1):
        nested = b"\x52" + _tag(len(nested)) + nested
    scan(nested, ALL)
    refused("MALFORMED", lambda: scan(b"\x52" + _tag(len(nested)) + nested, ALL))


@pytest.mark.parametrize("name", ["made.Doubles", "made.Unpacked"])
def test_types_that_our_schemas_do_not_use_cannot_be_scanned(name: str) -> None:
    with pytest.raises(TypeError):
        walk(b"", POOL.FindMessageTypeByName(name))


digests = st.binary(min_size=32, max_size=32)
codes = st.sampled_from(["HK-SB", "TH-DSI", "KH-NCCT"])
recipients = st.builds(dispatch_pb2.Recipient, agency=codes, key_id=digests, wrap_digest=digests)
signers = st.builds(dispatch_pb2.Signer, role=st.sampled_from([1, 2]), key_id=digests)
dispatches = st.builds(
    dispatch_pb2.Dispatch,
    federation_id=digests,
    sender=codes,
    signers=st.lists(signers, max_size=2),
    recipients=st.lists(recipients, max_size=4),
    body_suite=st.sampled_from([0, 32]),
    expires_ms=st.integers(0, 2**64 - 1),
    urgency=st.integers(0, 4),
)
members = st.builds(
    roster_pb2.Member,
    number=st.integers(0, 2**32 - 1),
    agency=codes,
    minimum_suites=st.lists(st.integers(0, 2**32 - 1), max_size=4),
    from_ms=st.integers(0, 2**64 - 1),
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(dispatches, members))
def test_what_we_encode_passes(message: dispatch_pb2.Dispatch | roster_pb2.Member) -> None:
    data = message.SerializeToString(deterministic=True)
    assert scan(data, message.DESCRIPTOR) is walk(data, message.DESCRIPTOR) is False


@settings(max_examples=200, deadline=None)
@given(st.one_of(dispatches, members), st.data())
def test_altered_bytes_are_refused_or_are_canonical(
    message: dispatch_pb2.Dispatch | roster_pb2.Member, data: st.DataObject
) -> None:
    original = bytearray(message.SerializeToString(deterministic=True) or b"\x08\x01")
    for _ in range(data.draw(st.integers(1, 4))):
        offset = data.draw(st.integers(0, len(original) - 1))
        original[offset : offset + data.draw(st.integers(0, 2))] = data.draw(st.binary(min_size=1, max_size=2))
    altered = bytes(original)
    try:
        walk(altered, message.DESCRIPTOR)
    except RefusedError:
        with pytest.raises(RefusedError):
            scan(altered, message.DESCRIPTOR)
        return
    scan(altered, message.DESCRIPTOR)
    # Whatever passes is exactly what our own encoder would write of it.
    assert type(message).FromString(altered).SerializeToString(deterministic=True) == altered


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_or_canonical(garbage: bytes) -> None:
    try:
        scan(garbage, SIGNED)
    except RefusedError:
        return
    assert signed_pb2.SignedPayload.FromString(garbage).SerializeToString(deterministic=True) == garbage


def _tag(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
