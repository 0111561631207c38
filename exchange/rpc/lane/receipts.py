"""Receipts on their way back: what was answered and not acknowledged, in batches, one batch at a time.

While one batch is being entered by the sender the next one grows, so batches are as large as the load asks and each
needs one checkpoint and one consistency proof. Receipts are made when they leave, all under the newest checkpoint.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import partial

from audit.record.lane import LaneClass
from exchange.acts.delivery import known_checkpoint
from exchange.acts.intake import DeliveryAnswer
from exchange.acts.reissue import OldEntry, renew
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.failpoint import failpoint
from exchange.node.node import Node
from exchange.node.writer import Group
from exchange.rpc.audit.gossip import ShownNotes
from exchange.rpc.lane import encode
from exchange.rpc.lane.receipt_batch import Due, put_receipts
from exchange.rpc.transport.grpc_types import FollowCall
from exchange.store.rows import InboundRow
from exchange.v1 import node_pb2
from keys.errors import RefusedError
from keys.identity import AgencyId

MAX_BATCH = 400  # receipts of one message; about 1.3 KiB each, below the limit of a message
PAGE = 1000  # rows read at once when a stream begins


class ReceiptGiver:
    """The receipts of one open stream."""

    def __init__(self, node: Node, peer: AgencyId, peer_size: int) -> None:
        self._node, self._peer = node, peer
        self._shown_notes = ShownNotes(node, peer)
        self._peer_size = peer_size  # of our newest checkpoint that the peer holds
        self._due: dict[LaneClass, deque[Due]] = {lane_class: deque() for lane_class in LaneClass}
        self._upto = dict.fromkeys(LaneClass, 0)  # everything up to it is due, or acknowledged
        self._acknowledgeable = dict.fromkeys(LaneClass, 0)  # the sender had receipts so far when the stream began
        self._wanted = asyncio.Event()
        self._acknowledged = asyncio.Event()

    def resume(self, lane_class: LaneClass, taken: int, lane: int, position: int) -> None:
        """Make due what the sender lacks of deliveries that we hold.

        Args:
            lane_class: Which lane.
            taken: Up to where the sender has receipts; beyond *position* where we came back from a copy: then what
                it gives again is answered again.
            lane: Our row of it.
            position: Our last known.
        """
        self._acknowledgeable[lane_class] = taken
        self._upto[lane_class] = min(taken, position)
        while self._upto[lane_class] < position:
            rows = self._node.reads.inbound_after(lane, self._upto[lane_class], PAGE)
            if not rows:
                return
            self._add(lane_class, map(_due_row, rows))

    def answered(self, lane_class: LaneClass, answers: Iterable[DeliveryAnswer]) -> None:
        """Make due what a message's intake answered."""
        self._add(lane_class, (Due(each.sequence, each.entry_index, each.original_index) for each in answers))

    def _add(self, lane_class: LaneClass, fresh: Iterable[Due]) -> None:
        for each in fresh:
            if each.sequence > self._upto[lane_class]:
                self._upto[lane_class] = each.sequence
                self._due[lane_class].append(each)
                self._wanted.set()

    def acknowledged(self, taken: node_pb2.ReceiptsTaken) -> None:
        """Take the sender's word that receipts are durable there.

        Raises:
            RefusedError: MALFORMED, RECEIPT_INVALID for more than we gave.
        """
        failpoint("peer-acknowledged")
        number = encode.class_of(taken.lane)
        if number not in LaneClass.__members__.values():
            raise RefusedError("MALFORMED", "an acknowledgement of no lane")
        due = self._due[LaneClass(number)]
        given = max(self._upto[LaneClass(number)], self._acknowledgeable[LaneClass(number)])
        if taken.lane.sequence > given:
            raise RefusedError("RECEIPT_INVALID", "receipts are acknowledged that we never gave")
        while due and due[0].sequence <= taken.lane.sequence:
            due.popleft()
        self._peer_size = taken.peer_size
        self._acknowledged.set()

    async def run(self, call: FollowCall) -> None:
        """Send what is due, urgent first, until cancelled."""
        while True:
            lane_class = next((each for each in LaneClass if self._due[each]), None)
            if lane_class is None:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            due = self._due[lane_class]
            batch = [due[index] for index in range(min(len(due), MAX_BATCH))]
            renewed = partial(_renew, batch, self._node.old_entry)
            made = await self._node.writer.submit(renewed, partial(self._make, lane_class))
            self._acknowledged.clear()
            await call.write(node_pb2.FollowRequest(receipts=made))
            await self._acknowledged.wait()

    def _make(self, lane_class: LaneClass, batch: list[Due], group: Group) -> node_pb2.ReceiptBatch:
        """Make the receipts, where the writer lets the log be used."""
        made = node_pb2.ReceiptBatch(consistency_from=self._peer_size)
        setattr(made, "class", int(lane_class))
        put_receipts(made, batch, group, self._node.entry)
        if 0 < self._peer_size < group.checkpoint.size:
            made.consistency.extend(group.log.consistency(self._peer_size, group.checkpoint.size))
        known = known_checkpoint(self._node.reads, self._peer, self._node.view)
        made.echo = known[1] if known is not None else ""
        made.seen.extend(self._shown_notes.fresh())
        return made


def _due_row(row: InboundRow) -> Due:
    return Due(row.sequence, row.entry_index, row.original_index)


def _renew(batch: list[Due], old_entry: OldEntry, work: UnitOfWork) -> list[Due]:
    """Bring answers of an earlier epoch of our log into this one, so that they can be proved."""
    return [
        Due(
            each.sequence,
            renew(work, each.entry_index, old_entry),
            renew(work, each.original_index, old_entry) if each.original_index else 0,
        )
        for each in batch
    ]
