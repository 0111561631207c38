"""Delivery: what a peer gets after its cursor, and what its receipts prove.

A lane is read from the store after the recipient's own position, so a slow or absent peer costs no memory. What can
no longer travel with its content travels without it and is named in the head: a lane never stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from audit.entry.entry import Body, Kind, Outcome
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note
from audit.note.epochs import epoch_of_origin
from audit.record.dispatch import Dispatch, parse_dispatch
from audit.record.lane import LaneHead, LaneId, Withdrawn, WithdrawnReason, own_dispatch_digest
from audit.tree.proof import verify_consistency
from exchange.acts.node_view import NodeView
from exchange.acts.notices import RECALLS
from exchange.acts.unit_of_work import UnitOfWork
from exchange.records.receipt import (
    ExpectedAnswer,
    Receipt,
    VerifiedReceipt,
    check_exchange_receipt,
    origin_of,
    verified_note,
)
from exchange.records.shared_receipts import MAX_RECEIPTS
from exchange.store.rows import DeliveryState, LaneState, OutboundRow, Settlement
from exchange.store.store import Reads
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.values import hot_value

MAX_BATCH_COUNT = 64
MAX_BATCH_BYTES = 256 << 10  # a message; one bulletin may exceed it alone

_OUTCOMES = frozenset(Outcome)
_STATES: dict[int, DeliveryState] = {
    Kind.RECEIVED: DeliveryState.RECEIVED,
    Kind.REFUSED: DeliveryState.REFUSED,
    Kind.DUPLICATE: DeliveryState.DUPLICATE,
    Kind.WITHDRAWN: DeliveryState.WITHDRAWN,
}


@hot_value(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One delivery as it leaves."""

    sequence: int
    delivery: bytes
    digest: bytes
    dispatch: bytes  # SignedPayload, encoded
    wrap: bytes
    body: bytes
    withdrawn: WithdrawnReason | None = None

    @property
    def size(self) -> int:
        """Count the bytes that matter for a message's limit."""
        return len(self.delivery) + len(self.dispatch) + len(self.wrap) + len(self.body)


@hot_value(frozen=True, slots=True, kw_only=True)
class Settled:
    """A receipt that proved what became of one delivery."""

    row: OutboundRow
    receipt: Receipt
    proven: VerifiedReceipt
    peer_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerCheckpoint:
    """A peer's checkpoint that was proven to extend the one that we had of it."""

    checkpoint: Checkpoint
    note: str
    proven_from: int  # size of the one that we had, 0 for none


def outgoing_after(reads: Reads, lane: LaneState, after: int, now_ms: int) -> list[Outgoing]:
    """Read the next deliveries of a lane: as many as fit in one message, at least one if there is one."""
    batch: list[Outgoing] = []
    size = 0
    for row in reads.outbound(lane.row, after, MAX_BATCH_COUNT):
        item = _outgoing(reads, row, now_ms)
        size += item.size
        if batch and size > MAX_BATCH_BYTES:
            break
        batch.append(item)
    return batch


def _outgoing(reads: Reads, row: OutboundRow, now_ms: int) -> Outgoing:
    content = reads.content(row.entry_index)
    if content is None:
        raise UnavailableError(f"content of entry {row.entry_index} is not here", 60)
    encoded = reads.dispatch_of(row.queued_index) or content.dispatch
    dispatch = _read(encoded)
    reason = None
    if content.erased:
        reason = WithdrawnReason.ERASED
    elif dispatch.expires_ms <= now_ms:
        reason = WithdrawnReason.EXPIRED
    elif any(notice.relation == RECALLS for notice in reads.notices(dispatch.sender, dispatch.bulletin_id)):
        reason = WithdrawnReason.RECALLED
    return Outgoing(
        sequence=row.sequence,
        delivery=row.delivery,
        digest=row.digest,
        dispatch=encoded,
        wrap=row.wrap if reason is None else b"",
        body=content.body if reason is None else b"",
        withdrawn=reason,
    )


@lru_cache(
    maxsize=256
)  # each recipient's lane comes to the same dispatches, about 700 bytes each, soon after each other
def _read(dispatch: bytes) -> Dispatch:
    return parse_dispatch(SignedPayload.decode(dispatch).payload)


def sign_head(
    lane: LaneId, last: tuple[int, bytes], latest: int, withdrawn: Sequence[Withdrawn], view: NodeView, time_ms: int
) -> SignedPayload:
    """Sign where a lane stands.

    Args:
        lane: Ours.
        last: Sequence and digest of the last delivery in the message, or of the last sent.
        latest: The lane's highest number.
        withdrawn: What of the message travels without content.
        view: Ours.
        time_ms: Later than that of every head of this lane before.
    """
    head = LaneHead(
        lane=lane,
        sequence=last[0],
        delivery_digest=last[1],
        latest=latest,
        withdrawn=tuple(withdrawn),
        time_ms=time_ms,
    )
    return dsse.sign(head.encode(), ("lane-head", view.operations))


def check_receipts(
    receipts: Sequence[tuple[int, Receipt, Receipt | None]],
    *,
    lane: LaneState,
    peer: AgencyId,
    view: NodeView,
    reads: Reads,
) -> list[Settled]:
    """Hold a peer's receipts against what we sent.

    1 number; 2 they go on where we stand; 3 each proves an entry in the peer's log about this very delivery;
    4 that is not the log's first entry; 5 a duplicate comes with the receipt of the RECEIVED that it repeats.

    Args:
        receipts: Sequence, receipt, and for a duplicate the original's receipt.
        lane: Ours.
        peer: Who gives them.
        view: Ours.
        reads: What is committed.

    Returns:
        What may be recorded; receipts that we hold already are left out.

    Raises:
        RefusedError: TOO_MANY, RECEIPT_INVALID.
    """
    check_number(receipts)  # 1
    fresh = [item for item in receipts if item[0] > lane.taken]
    rows = {row.sequence: row for row in reads.outbound(lane.row, lane.taken, len(fresh))}
    check_order([item[0] for item in fresh], lane)  # 2
    settled, number = [], view.member_number(peer)
    givers: dict[str, VerifierKey] = {}  # by the receipts' checkpoints: one, but for a peer come back
    for sequence, receipt, original in fresh:
        row = rows.get(sequence)
        if row is None:
            raise RefusedError("RECEIPT_INVALID", f"receipt for delivery {sequence}, we sent {lane.sequence}")
        key = giver_key(receipt, peer, view, givers)
        proven = check_exchange_receipt(receipt, key, _expected(row, view))  # 3
        view.check_ended(peer, proven.checkpoint)
        check_not_first(proven)  # 4
        check_original(proven, original, row, key, view, reads)  # 5
        settled.append(Settled(row=row, receipt=receipt, proven=proven, peer_number=number))
    return settled


def _expected(row: OutboundRow, view: NodeView) -> ExpectedAnswer:
    return ExpectedAnswer(
        dispatch_digest=own_dispatch_digest(row.delivery),
        delivery_digest=row.digest,
        expected_opening=row.opening,
        peer_number=view.number,
    )


def giver_key(receipt: Receipt, peer: AgencyId, view: NodeView, known: dict[str, VerifierKey]) -> VerifierKey:
    """Return the key of the epoch that a receipt is of: what an earlier epoch proved holds for ever (row 71).

    Args:
        receipt: As received.
        peer: Who gives it.
        view: Ours.
        known: The keys that this very message has asked for, by checkpoint.

    Raises:
        RefusedError: RECEIPT_INVALID; it is of no log of the peer.
    """
    note = receipt.note
    if note in known:
        return known[note]
    try:
        return known.setdefault(note, view.key_of(peer, origin_of(receipt)))
    except RefusedError as error:
        raise RefusedError("RECEIPT_INVALID", str(error)) from error


def known_checkpoint(reads: Reads, peer: AgencyId, view: NodeView) -> tuple[int, str] | None:
    """Return size and note of the newest checkpoint that we hold of a peer's log, in its newest epoch."""
    return reads.peer_checkpoint(peer, view.newest_epoch(peer))


def check_number(receipts: Sequence[object]) -> None:
    if len(receipts) > MAX_RECEIPTS:
        raise RefusedError("TOO_MANY", f"{len(receipts)} receipts in a message, at most {MAX_RECEIPTS}")


def check_order(sequences: Sequence[int], lane: LaneState) -> None:
    if list(sequences) != list(range(lane.taken + 1, lane.taken + 1 + len(sequences))):
        raise RefusedError("RECEIPT_INVALID", f"receipts from {sequences[0]}, {lane.taken + 1} is next")


def check_not_first(proven: VerifiedReceipt) -> None:
    """Refuse an answer at the index of GENESIS: no log of ours has one there, and our own entry could not name it."""
    if proven.entry.index == 0:
        raise RefusedError("RECEIPT_INVALID", "the first entry of a log answers no delivery")


def check_original(
    proven: VerifiedReceipt,
    original: Receipt | None,
    row: OutboundRow,
    key: VerifierKey,
    view: NodeView,
    reads: Reads,
) -> None:
    if proven.body.kind != Kind.DUPLICATE:
        return
    if original is None:
        raise RefusedError("RECEIPT_INVALID", "a duplicate without the receipt of what it repeats")
    for sent in reads.outbound_of(row.entry_index):
        try:
            repeated = check_exchange_receipt(original, key, _expected(sent, view))
        except RefusedError:
            continue
        if repeated.body.kind == Kind.RECEIVED and repeated.entry.index == proven.body.refers_to:
            return
    raise RefusedError("RECEIPT_INVALID", "a duplicate of what was never received")


def check_ratchet(
    note: str, consistency: Sequence[bytes], *, peer: AgencyId, view: NodeView, reads: Reads
) -> Checkpoint | None:
    """Check that a peer's newest checkpoint extends the one that we hold of it.

    Returns:
        The checkpoint, if it is newer; None if ours is as new.

    Raises:
        RefusedError: RECEIPT_INVALID; two notes that contradict each other, or an older one: the peer proves from the
            checkpoint that we hold, so an honest one has none that is older.
    """
    key = view.key_of(peer, parse_note(note).checkpoint.origin)
    new = verified_note(note, key)
    known = reads.peer_checkpoint(peer, epoch_of_origin(new.origin))
    if known is None:
        return new
    old = verified_note(known[1], key)
    if new.size < old.size:
        raise RefusedError("RECEIPT_INVALID", f"receipts under a log of {new.size} entries, {old.size} are known of it")
    verify_consistency(old, new, consistency)
    return new if new.size > old.size else None


def record_receipts(
    work: UnitOfWork,
    settled: Sequence[Settled],
    newer: NewerCheckpoint | None,
    *,
    lane: LaneState,
    peer: str,
    view: NodeView,
) -> int:
    """Enter proven receipts: one RECEIPT_RECORDED each, the delivery's state, the lane's mark, the peer's checkpoint.

    Args:
        work: Open.
        settled: From ``check_receipts``.
        newer: The peer's checkpoint that they are under, if ``check_ratchet`` found it to be newer.
        lane: Ours, as it was checked.
        peer: Who gave them.
        view: Ours, by which they were checked.

    Returns:
        Up to which sequence the lane is receipted.

    Raises:
        UnavailableError: The lane was receipted further meanwhile, the checkpoint moved or a record was adopted; check
            again.
    """
    work.check_in_force(view.adopted_at)
    records = view.records[peer]
    state = work.rows.lane(outgoing=True, peer=peer, lane_class=lane.lane_class, epoch=lane.epoch)
    if state is None or state.taken != lane.taken:
        raise UnavailableError(f"the lane to {peer} moved meanwhile", 0.1)
    rows = [record_answer(work, each, records) for each in settled]
    work.rows.settle_outbound(rows)
    if newer is not None:
        _keep_checkpoint(work, newer, peer)
    if rows:
        state = replace(state, taken=rows[-1].sequence)
        work.rows.move_lane(state)
    return state.taken


def record_answer(work: UnitOfWork, settled: Settled, records: bytes) -> Settlement:
    """Enter one RECEIPT_RECORDED of a receipt that was found to answer a delivery.

    Args:
        work: Open.
        settled: The delivery, and what answers it.
        records: 32 bytes, over the giver's records in force.

    Returns:
        How the delivery is settled.
    """
    row, proven, body = settled.row, settled.proven, settled.proven.body
    work.log.add(
        Body(
            kind=Kind.RECEIPT_RECORDED,
            peer=settled.peer_number,
            bulletin_id=body.bulletin_id,
            dispatch_digest=body.dispatch_digest,
            delivery_digest=row.digest,
            outcome=body.outcome if body.outcome in _OUTCOMES else 0,  # our log says nothing that we do not understand
            peer_index=proven.entry.index,
            peer_leaf_hash=proven.leaf_hash,
            peer_size=proven.checkpoint.size,
            peer_root=proven.checkpoint.root,
            records=records,
            **work.refers(row.queued_index),
        )
    )
    return Settlement(
        lane=row.lane,
        sequence=row.sequence,
        state=_STATES.get(body.kind, DeliveryState.NOT_UNDERSTOOD),
        reason=body.outcome if body.kind == Kind.REFUSED else 0,
        receipt=settled.receipt.encode(),
        since_ms=work.now_ms,
    )


def _keep_checkpoint(work: UnitOfWork, newer: NewerCheckpoint, peer: str) -> None:
    epoch = epoch_of_origin(newer.checkpoint.origin)
    known = work.rows.peer_checkpoint(peer, epoch)
    before = known[0] if known is not None else 0
    if before != newer.proven_from:
        raise UnavailableError(f"the known checkpoint of {peer} moved meanwhile", 0.1)
    if before < newer.checkpoint.size:
        work.rows.set_peer_checkpoint(peer, newer.checkpoint.size, newer.note, epoch)
