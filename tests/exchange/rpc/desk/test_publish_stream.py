"""Statements of one message or of calls that came together: how many are sealed in one turn of the loop."""

from __future__ import annotations

import pytest

from exchange.rpc.desk.publish_stream import AT_ONCE, slices
from exchange.rpc.transport.limits import MAX_STATEMENTS_BYTES
from keys.v1 import signed_pb2


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1], [1]),
        ([1] * AT_ONCE, [AT_ONCE]),
        ([1] * (2 * AT_ONCE + 1), [AT_ONCE, AT_ONCE, 1]),
        ([MAX_STATEMENTS_BYTES // 2] * 2, [2]),
        ([MAX_STATEMENTS_BYTES // 2] * 3, [2, 1]),
        ([2 * MAX_STATEMENTS_BYTES, 1, 1], [1, 2]),
        ([1, 2 * MAX_STATEMENTS_BYTES, 2 * MAX_STATEMENTS_BYTES, 1], [1, 1, 1, 1]),
    ],
)
def test_neither_many_nor_large_ones_are_sealed_in_one_turn_and_all_are_in_their_order(
    sizes: list[int], expected: list[int]
) -> None:
    statements = [signed_pb2.SignedPayload(payload=bytes([place]) * size) for place, size in enumerate(sizes)]
    divided = list(slices(statements))
    assert [len(some) for some in divided] == expected
    assert [each for some in divided for each in some] == statements
