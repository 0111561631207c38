"""A receipt of a batch passes exactly where the same receipt passes alone, whatever was altered on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.entry import Kind
from audit.note.checkpoint import VerifierKey
from exchange.records.receipt import Receipt, VerifiedReceipt, decode_receipt, verify_receipt
from exchange.records.shared_receipts import SharedReceipts, single_receipts
from keys.errors import RefusedError
from tests.exchange.records import formats
from tests.support.scale import SCALE

VKEY = VerifierKey(name=formats.ORIGIN, key=formats.LOG.key.public_key)


def a_log(size: int, kind: Kind = Kind.WITHDRAWN) -> formats.SmallLog:
    log = formats.SmallLog()
    for index in range(size - 1):
        log.append(formats.answer(kind, formats.seed("dispatch"), formats.seed(str(index))).encode())
    return log


LOG, OTHER = a_log(40), a_log(40, Kind.DUPLICATE)
SHARED = LOG.shared(*range(5, 20))


def outcome(receipt: Receipt) -> VerifiedReceipt | str:
    try:
        return verify_receipt(receipt, VKEY)
    except RefusedError as refusal:
        return refusal.code


def alone(receipt: Receipt) -> Receipt:
    """Return the receipt as it is read from its bytes: nothing is known of its batch."""
    return decode_receipt(receipt.encode())


def bytes_altered(values: tuple[bytes, ...], data: st.DataObject) -> tuple[bytes, ...]:
    at = data.draw(st.integers(0, len(values) - 1))
    value = bytearray(values[at])
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    return (*values[:at], bytes(value), *values[at + 1 :])


@settings(max_examples=150 * SCALE, deadline=None)
@given(data=st.data())
def test_a_batch_altered_anywhere_says_of_each_receipt_what_is_said_of_it_alone(data: st.DataObject) -> None:
    what = data.draw(st.sampled_from(("entries", "hashes", "note", "other entries", "other hashes", "nothing")))
    new: dict[str, Any] = {}
    if what in ("entries", "hashes"):
        new = {what: bytes_altered(getattr(SHARED, what), data)}
    elif what == "note":
        new = {what: data.draw(st.sampled_from((OTHER.note(), a_log(39).note(), a_log(41).note())))}
    elif what != "nothing":
        name = what.split()[1]
        new = {name: getattr(OTHER.shared(*range(5, 20)), name)}
    given_: SharedReceipts = replace(SHARED, **new)
    try:
        made = [receipt for _, receipt in single_receipts(given_)]
    except RefusedError:
        return  # no receipt came out
    for receipt in made:
        assert outcome(receipt) == outcome(alone(receipt))
    assert all(isinstance(outcome(each), VerifiedReceipt) for each in made) == (what == "nothing")


def test_what_a_batch_knows_of_a_receipt_is_forgotten_with_its_bytes() -> None:
    ((_, receipt), (_, second), *_) = single_receipts(SHARED)
    other = replace(receipt, entry=second.entry)
    assert other.path is None
    assert outcome(other) == outcome(alone(other)) == "RECEIPT_INVALID"
