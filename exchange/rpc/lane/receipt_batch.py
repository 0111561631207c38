"""One message of receipts: those that share checkpoint and path, those that stand alone, in the order of their lane.

Alone stands the answer to a duplicate, which comes with the receipt that it repeats, and an entry that does not follow
the others in the log, as one that was said once more for a new epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter

from exchange.node.writer import Group
from exchange.records.receipt import Receipt, receipt_from_message
from exchange.records.shared_receipts import MAX_RECEIPTS, shared_from_message, single_receipts
from exchange.v1 import node_pb2
from keys.errors import RefusedError

GivenReceipt = tuple[int, Receipt, Receipt | None]
"""Sequence, its receipt, and for a duplicate the original's."""


@dataclass(frozen=True, slots=True)
class Due:
    """One receipt that the sender of a delivery lacks."""

    sequence: int
    entry_index: int
    original_index: int  # 0 unless it is a duplicate


def given_receipts(batch: node_pb2.ReceiptBatch) -> list[GivenReceipt]:
    """Take a message's receipts; each is what it would have been alone, and nothing in it is verified yet.

    Raises:
        RefusedError: MALFORMED for none at all, TOO_MANY, RECEIPT_INVALID; NOT_UNDERSTOOD where one says ERASED, which
            nobody takes so far.
    """
    if batch.erased:
        raise RefusedError("NOT_UNDERSTOOD", "receipts of what was erased, which this release does not take")
    shared = shared_from_message(batch.shared) if batch.HasField("shared") else None
    number = len(batch.receipts) + (len(shared.sequences) if shared is not None else 0)
    if not number:
        raise RefusedError("MALFORMED", "a message of receipts without any")
    if number > MAX_RECEIPTS:
        raise RefusedError("TOO_MANY", f"{number} receipts in a message, at most {MAX_RECEIPTS}")
    alone: list[GivenReceipt] = [
        (each.sequence, receipt_from_message(each.receipt), _original(each)) for each in batch.receipts
    ]
    if shared is None:
        return alone
    derived: list[GivenReceipt] = [(sequence, receipt, None) for sequence, receipt in single_receipts(shared)]
    return (
        list(merge(alone, derived, key=itemgetter(0))) if alone else derived
    )  # what does not ascend stays so, and is refused as such


def one_note(receipts: Iterable[GivenReceipt]) -> str:
    """Return the one checkpoint of a message's receipts: the consistency proof that comes with them is for it alone.

    Raises:
        RefusedError: RECEIPT_INVALID.
    """
    notes = {receipt.note for _, receipt, _ in receipts}
    if len(notes) != 1:
        raise RefusedError("RECEIPT_INVALID", f"receipts of one message under {len(notes)} checkpoints")
    return notes.pop()


def put_receipts(batch: node_pb2.ReceiptBatch, due: Sequence[Due], group: Group, rows: Callable[[int], bytes]) -> None:
    """Put the receipts of what is due into a message.

    Args:
        batch: Empty so far.
        due: Of one lane, of this epoch of our log.
        group: Whose checkpoint they are under.
        rows: Reads an entry of before the group.
    """
    shared, last = list[tuple[int, int]](), 0
    for each in due:
        if each.original_index or each.entry_index <= last:
            alone = batch.receipts.add(sequence=each.sequence)
            alone.receipt.CopyFrom(group.receipt(each.entry_index, rows).to_message())
            if each.original_index:
                alone.original.CopyFrom(group.receipt(each.original_index, rows).to_message())
        else:
            shared.append((each.sequence, each.entry_index))
            last = each.entry_index
    if shared:
        batch.shared.CopyFrom(group.shared_receipts(shared, rows).to_message())


def _original(each: node_pb2.DeliveryReceipt) -> Receipt | None:
    return receipt_from_message(each.original) if each.HasField("original") else None
