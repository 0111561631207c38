"""The whole job in one process and on one core, by the acts themselves: no sockets, every durable step.

What the wire and its event loop cost is the difference between this and the same job over gRPC.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.federation import OFFICER, READERS, SENDER, Federation, opened, sign
from exchange.acts import delivery, intake, publishing
from exchange.acts.delivery import outgoing_after, sign_head
from exchange.acts.intake import Message
from exchange.acts.judgement import Parcel
from exchange.acts.lane_position import lane_id
from exchange.acts.publishing import Arrival, Prepared, admit_all
from exchange.node.node import Node, now_ms
from exchange.records.receipt import Receipt
from exchange.rpc.desk.publish_stream import AT_ONCE
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.identity import AgencyId

BATCH = 32  # bulletins a message, as the client gathers
ROUTINE = 2


class Acts:
    """Nodes without sockets, and the steps between them."""

    def __init__(self, made: Federation, stack: ExitStack) -> None:
        self.made = made
        self.nodes = {agency: stack.enter_context(opened(made, agency)) for agency in (SENDER, *READERS)}
        self._head_ms = now_ms()

    def whole_job(self, messages: Sequence[Bulletin]) -> None:
        """Sign, publish, deliver to both readers, settle their receipts."""
        for first in range(0, len(messages), BATCH):
            self.publish([sign(each, self.made) for each in messages[first : first + BATCH]])
            for reader in READERS:
                self.deliver(reader)

    def publish(self, signed: Sequence[SignedPayload]) -> list[Receipt]:
        """Check, seal and enter a batch in one commit group."""
        node = self.nodes[SENDER]
        prepared = self._prepare(node, signed)
        return node.writer.run(
            lambda w: [publishing.publish(w, each, node.view) for each in prepared],
            lambda value, group: [group.receipt(each.entry_index, node.entry) for each in value],
        )

    def _prepare(self, node: Node, signed: list[SignedPayload]) -> list[Prepared]:
        arrival = Arrival(
            caller=f"{SENDER}/{OFFICER}", view=node.view, reads=node.reads, now_ms=now_ms(), random_bytes=os.urandom
        )
        found: list[Prepared] = []
        for first in range(0, len(signed), AT_ONCE):
            for each in admit_all(signed[first : first + AT_ONCE], arrival):
                assert isinstance(each, Prepared)
                found.append(each)
        return found

    def deliver(self, reader: str) -> int:
        """Bring everything that waits to one reader and its receipts back; return how many."""
        moved = 0
        while message := self._message(reader):
            receipts = self._take(reader, message)
            self._settle(reader, receipts)
            moved += len(receipts)
        return moved

    def _message(self, reader: str) -> Message | None:
        node = self.nodes[SENDER]
        state = node.reads.lane(outgoing=True, peer=reader, lane_class=ROUTINE, epoch=1)
        if state is None or state.taken == state.sequence:
            return None
        batch = outgoing_after(node.reads, state, state.taken, now_ms())
        self._head_ms += 1
        last = (batch[-1].sequence, batch[-1].digest)
        head = sign_head(lane_id(state, node.view), last, state.sequence, [], node.view, self._head_ms)
        return Message(parcels=tuple(_parcel(item) for item in batch), head=head)

    def _take(self, reader: str, message: Message) -> list[tuple[int, Receipt, Receipt | None]]:
        node, peer = self.nodes[reader], AgencyId(SENDER)
        checked = intake.check_message(
            message,
            peer=peer,
            view=node.view,
            reads=node.reads,
            now_ms=now_ms(),
            handling=intake.Handling(random_bytes=os.urandom),
        )
        return node.writer.run(
            lambda w: intake.take_message(w, checked, peer=peer, view=node.view),
            lambda answers, group: [(a.sequence, group.receipt(a.entry_index, node.entry), None) for a in answers],
        )

    def _settle(self, reader: str, receipts: list[tuple[int, Receipt, Receipt | None]]) -> None:
        node, peer = self.nodes[SENDER], AgencyId(reader)
        state = node.reads.lane(outgoing=True, peer=reader, lane_class=ROUTINE, epoch=1)
        assert state is not None
        settled = delivery.check_receipts(receipts, lane=state, peer=peer, view=node.view, reads=node.reads)
        node.writer.run(lambda w: delivery.record_receipts(w, settled, None, lane=state, peer=reader, view=node.view))


def _parcel(item: delivery.Outgoing) -> Parcel:
    return Parcel(delivery=item.delivery, dispatch=SignedPayload.decode(item.dispatch), wrap=item.wrap, body=item.body)


Step = Callable[[Sequence[Bulletin]], None]
