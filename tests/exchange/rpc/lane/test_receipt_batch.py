"""One message of receipts: shared and alone, in the order of their lane, under one checkpoint, not too many."""

from __future__ import annotations

from audit.entry.entry import Kind
from exchange.records.shared_receipts import MAX_RECEIPTS
from exchange.rpc.lane.receipt_batch import given_receipts, one_note
from exchange.v1 import node_pb2
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal


def a_log(more: int) -> formats.SmallLog:
    log = formats.SmallLog()
    for number in range(more):
        log.append(formats.answer(Kind.WITHDRAWN, formats.seed("dispatch"), formats.seed(str(number))).encode())
    return log


LOG = a_log(9)


def message(*alone: int, shared: tuple[int, ...] = (1, 2, 3)) -> node_pb2.ReceiptBatch:
    """Share some entries as the receipts of deliveries 1, 2, 3 …, and let the others stand alone."""
    made = node_pb2.ReceiptBatch()
    if shared:
        made.shared.CopyFrom(LOG.shared(*shared).to_message())
    for sequence in alone:
        made.receipts.add(sequence=sequence, receipt=LOG.receipt(7).to_message())
    return made


def sequences(batch: node_pb2.ReceiptBatch) -> list[int]:
    return [sequence for sequence, _, _ in given_receipts(batch)]


def test_what_is_shared_and_what_stands_alone_come_out_in_the_order_of_the_lane() -> None:
    batch = message(3, 5)
    batch.shared.sequences[:] = [1, 2, 4]
    batch.receipts[1].original.CopyFrom(LOG.receipt(2).to_message())
    taken = given_receipts(batch)
    assert [sequence for sequence, _, _ in taken] == [1, 2, 3, 4, 5]
    assert [receipt for _, receipt, _ in taken] == [LOG.receipt(index) for index in (1, 2, 7, 3, 7)]
    assert [original for _, _, original in taken] == [None, None, None, None, LOG.receipt(2)]
    assert one_note(taken) == LOG.note()


def test_single_receipts_alone_are_a_message_as_before() -> None:
    assert sequences(message(1, 2, shared=())) == [1, 2]


def test_what_does_not_ascend_is_not_put_in_order() -> None:
    assert sequences(message(5, 4)) == [1, 2, 3, 5, 4]


def test_a_message_without_any_receipt_is_refused() -> None:
    assert refusal(given_receipts, node_pb2.ReceiptBatch()) == "MALFORMED"
    empty = node_pb2.ReceiptBatch()
    empty.shared.SetInParent()
    assert refusal(given_receipts, empty) == "MALFORMED"


def test_more_than_a_message_may_hold_are_refused_however_they_are_divided() -> None:
    batch = message(*range(4, MAX_RECEIPTS + 1))
    assert len(given_receipts(batch)) == MAX_RECEIPTS
    batch.receipts.add(sequence=MAX_RECEIPTS + 1)
    assert refusal(given_receipts, batch) == "TOO_MANY"


def test_two_checkpoints_in_a_message_are_refused() -> None:
    batch = message(4)
    batch.receipts[0].receipt.CopyFrom(a_log(12).receipt(7).to_message())
    assert refusal(one_note, given_receipts(batch)) == "RECEIPT_INVALID"


def test_hashes_that_are_shared_wrongly_are_refused() -> None:
    batch = message()
    del batch.shared.hashes[-1]
    assert refusal(given_receipts, batch) == "RECEIPT_INVALID"


def test_receipts_of_what_was_erased_are_not_understood_so_far() -> None:
    """Also beside others: whoever took those and passed over these would not know what it was told."""
    batch = node_pb2.ReceiptBatch(receipts=[node_pb2.DeliveryReceipt(sequence=1)])
    assert len(given_receipts(batch)) == 1  # control
    batch.erased.add(sequence=1)
    assert refusal(given_receipts, batch) == "NOT_UNDERSTOOD"
    assert refusal(given_receipts, node_pb2.ReceiptBatch(erased=[node_pb2.ErasedReceipt()])) == "NOT_UNDERSTOOD"
