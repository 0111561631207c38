"""Numbers of variable length: one form each, and the same as protobuf's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import RefusedError
from keys.v1 import signed_pb2
from keys.varint import MAX_U64, read_varint, write_varint


@given(st.integers(0, MAX_U64), st.binary(max_size=3), st.binary(max_size=3))
def test_what_is_written_is_read_wherever_it_stands(value: int, before: bytes, after: bytes) -> None:
    written = write_varint(value)
    data = before + written + after
    assert read_varint(data, len(before), len(data)) == (value, len(before) + len(written))


@given(st.integers(1, (1 << 32) - 1))
def test_what_is_written_is_what_protobuf_writes(value: int) -> None:
    assert signed_pb2.KeyRecord(suite=value).SerializeToString()[1:] == write_varint(value)


@given(st.binary(max_size=12))
def test_whatever_is_read_is_its_one_form_and_all_else_is_refused(data: bytes) -> None:
    try:
        value, after = read_varint(data, 0, len(data))
    except RefusedError:
        return
    assert data[:after] == write_varint(value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "byte 0: it ends inside"),
        (b"\x80", "byte 1: it ends inside"),
        (b"\x80\x00", "byte 1: a number is not written in its shortest form"),
        (b"\xff" * 9 + b"\x02", "byte 9: a number is not written in its shortest form"),
        (b"\xff" * 10 + b"\x01", "byte 10: a number is longer than 64 bits"),
    ],
)
def test_another_form_is_refused_and_the_place_is_named(data: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        read_varint(data, 0, len(data))


def test_no_byte_beyond_the_end_is_read() -> None:
    with pytest.raises(RefusedError, match="byte 1: it ends inside"):
        read_varint(b"\x80\x01", 0, 1)
