"""Receipts of a batch as they travel: one checkpoint, the entries, and what their inclusion proofs have not in common.

Nothing new is proved by it: the taker derives every single receipt, byte for byte the one that it would have been sent
alone, and checks and keeps that. So whoever is handed a receipt later needs to know nothing of batches.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.entry.entry import leaf_hash, parse_head
from audit.note.checkpoint import parse_note
from audit.record.wire import need_ascending
from audit.tree.multiproof import single_proofs
from audit.v1 import dispatch_pb2
from exchange.records.receipt import Receipt, make_receipt
from keys.errors import RefusedError

MAX_RECEIPTS = 1000  # of one message, single ones counted


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedReceipts:
    """Receipts of entries under one checkpoint."""

    note: str
    sequences: tuple[int, ...]  # of the deliveries, ascending
    entries: tuple[bytes, ...]  # as logged; their indices ascend
    hashes: tuple[bytes, ...]  # 32 bytes each, as ``audit.tree.multiproof.places_of`` orders them

    def to_message(self) -> dispatch_pb2.SharedReceipts:
        """Return the generated message."""
        return dispatch_pb2.SharedReceipts(
            note=self.note, sequences=self.sequences, entries=self.entries, hashes=self.hashes
        )


def shared_from_message(message: dispatch_pb2.SharedReceipts) -> SharedReceipts:
    """Take shared receipts from a message; ``single_receipts`` bounds and checks them."""
    return SharedReceipts(
        note=message.note,
        sequences=tuple(message.sequences),
        entries=tuple(message.entries),
        hashes=tuple(message.hashes),
    )


def single_receipts(shared: SharedReceipts) -> list[tuple[int, Receipt]]:
    """Derive each delivery's own receipt; nothing in it is verified yet.

    1 not more than a message may hold; 2 an entry for each delivery, which ascend; 3 the checkpoint has its form; 4 every
    entry has its head, the indices in them ascend within the checkpoint's tree, and the hashes are as many as the
    proofs need. Whether they are the right ones shows in each receipt.

    Returns:
        Sequence and receipt of each.

    Raises:
        RefusedError: TOO_MANY, RECEIPT_INVALID.
    """
    if len(shared.sequences) > MAX_RECEIPTS:  # 1
        raise RefusedError("TOO_MANY", f"{len(shared.sequences)} receipts in a message, at most {MAX_RECEIPTS}")
    try:
        if not len(shared.entries) == len(shared.sequences) > 0:  # 2
            raise RefusedError("MALFORMED", f"{len(shared.entries)} entries for {len(shared.sequences)} deliveries")
        need_ascending("shared receipts", "sequences", shared.sequences)
        size = parse_note(shared.note).checkpoint.size  # 3
        leaves = [(parse_head(entry).index, leaf_hash(entry)) for entry in shared.entries]
        proofs = single_proofs(leaves, size, shared.hashes)  # 4
    except RefusedError as error:
        raise RefusedError("RECEIPT_INVALID", f"shared receipts: {error}") from error
    return [
        (sequence, make_receipt(entry, index, proof, shared.note))
        for sequence, entry, (index, _), proof in zip(shared.sequences, shared.entries, leaves, proofs, strict=True)
    ]
