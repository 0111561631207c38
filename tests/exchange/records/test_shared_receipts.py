"""Receipts of a batch: each comes out as it would have been sent alone, and nothing else comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.entry import Kind
from audit.note.checkpoint import VerifierKey
from audit.record.wire import encode
from audit.v1 import dispatch_pb2
from exchange.records.receipt import decode_receipt, verify_receipt
from exchange.records.shared_receipts import MAX_RECEIPTS, SharedReceipts, shared_from_message, single_receipts
from keys.errors import RefusedError
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "formats" / "shared-receipts.json").read_text())
VKEY = VerifierKey(name=formats.ORIGIN, key=formats.LOG.key.public_key)


def a_log(more: int) -> formats.SmallLog:
    log = formats.SmallLog()
    for index in range(more):
        log.append(formats.answer(Kind.WITHDRAWN, formats.seed("dispatch"), formats.seed(str(index))).encode())
    return log


LOG = a_log(40)
SHARED = LOG.shared(*range(5, 20))


def verified(shared: SharedReceipts) -> None:
    for _, receipt in single_receipts(shared):
        verify_receipt(receipt, VKEY)


def test_the_vector_is_taken_and_written_and_gives_its_single_receipts() -> None:
    message = dispatch_pb2.SharedReceipts.FromString(bytes.fromhex(VECTOR["encoded"]))
    shared = shared_from_message(message)
    assert shared.note == VECTOR["note"]
    assert [value.hex() for value in shared.hashes] == VECTOR["hashes"]
    assert encode(shared.to_message()).hex() == VECTOR["encoded"]
    made = single_receipts(shared)
    assert [sequence for sequence, _ in made] == VECTOR["sequences"]
    assert [receipt.encode().hex() for _, receipt in made] == VECTOR["receipts"]


@settings(max_examples=80, deadline=None)
@given(more=st.integers(0, 40), data=st.data())
def test_both_forms_are_equal_byte_for_byte_and_each_receipt_verifies(more: int, data: st.DataObject) -> None:
    log = a_log(more)
    indices = sorted(data.draw(st.sets(st.integers(0, more), min_size=1)))
    for (_, receipt), index in zip(single_receipts(log.shared(*indices)), indices, strict=True):
        alone = log.receipt(index)
        assert receipt == alone
        assert receipt.encode() == alone.encode()
        read = decode_receipt(receipt.encode())  # as whoever gets it from us reads it
        assert read.parsed == receipt.parsed
        assert verify_receipt(read, VKEY) == verify_receipt(receipt, VKEY)


def test_a_receipt_with_another_text_is_read_from_that_text() -> None:
    receipt = LOG.receipt(7)
    other = replace(receipt, proof=receipt.proof.replace("index 7", "index 8"))
    assert other.parsed.index == 8
    with pytest.raises(RefusedError):
        verify_receipt(other, VKEY)


def swapped(values: tuple[Any, ...], one: int, two: int) -> tuple[Any, ...]:
    made = list(values)
    made[one], made[two] = made[two], made[one]
    return tuple(made)


WRONG: dict[str, Callable[[SharedReceipts], SharedReceipts]] = {
    "a hash too few": lambda s: replace(s, hashes=s.hashes[:-1]),
    "a hash too many": lambda s: replace(s, hashes=(*s.hashes, s.hashes[0])),
    "no hashes": lambda s: replace(s, hashes=()),
    "a long hash": lambda s: replace(s, hashes=(s.hashes[0] + b"\0", *s.hashes[1:])),
    "an altered hash": lambda s: replace(s, hashes=(*s.hashes[:-1], bytes(32))),
    "hashes in another order": lambda s: replace(s, hashes=swapped(s.hashes, 0, 1)),
    "an entry twice": lambda s: replace(s, entries=(s.entries[0], *s.entries[:-1])),
    "entries in another order": lambda s: replace(s, entries=swapped(s.entries, 3, 4)),
    "an entry from outside": lambda s: replace(s, entries=(*s.entries[:-1], a_log(60).entries[55])),
    "an altered entry": lambda s: replace(s, entries=(*s.entries[:-1], s.entries[-1][:-1] + b"\x7f")),
    "an entry that is none": lambda s: replace(s, entries=(b"exl1", *s.entries[1:])),
    "an entry left out": lambda s: replace(s, entries=s.entries[:-1]),
    "a delivery left out": lambda s: replace(s, sequences=s.sequences[:-1]),
    "a delivery twice": lambda s: replace(s, sequences=(1, *s.sequences[:-1])),
    "deliveries in another order": lambda s: replace(s, sequences=swapped(s.sequences, 3, 4)),
    "nothing": lambda s: replace(s, sequences=(), entries=(), hashes=()),
    "no checkpoint": lambda s: replace(s, note=""),
    "a checkpoint of an earlier size": lambda s: replace(s, note=a_log(30).note()),
    "another log's checkpoint": lambda s: replace(s, note=s.note.replace("my-pdrm", "hk-immd")),
    "a line more": lambda s: replace(s, note="\n" + s.note),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_shared_wrongly_is_refused(what: str) -> None:
    verified(SHARED)
    assert refusal(verified, WRONG[what](SHARED)) == "RECEIPT_INVALID"


def test_more_than_a_message_holds_are_refused_before_anything_is_hashed() -> None:
    many = replace(SHARED, sequences=tuple(range(1, MAX_RECEIPTS + 2)), entries=SHARED.entries)
    assert refusal(single_receipts, many) == "TOO_MANY"


def test_a_single_receipt_altered_after_it_was_derived_is_refused() -> None:
    ((_, receipt), *_) = single_receipts(SHARED)
    other = replace(receipt, entry=LOG.entries[6])
    assert refusal(verify_receipt, other, VKEY) == "RECEIPT_INVALID"


@settings(max_examples=200, deadline=None)
@given(
    note=st.text(max_size=100) | st.just(SHARED.note),
    sequences=st.lists(st.integers(0, (1 << 64) - 1), max_size=4),
    entries=st.lists(st.binary(max_size=80) | st.sampled_from(LOG.entries), max_size=4),
    hashes=st.lists(st.binary(min_size=32, max_size=32) | st.binary(max_size=40), max_size=12),
)
def test_garbage_gives_no_receipt(note: str, sequences: list[int], entries: list[bytes], hashes: list[bytes]) -> None:
    given_ = SharedReceipts(note=note, sequences=tuple(sequences), entries=tuple(entries), hashes=tuple(hashes))
    with pytest.raises(RefusedError):
        verified(given_)
