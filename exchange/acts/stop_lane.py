"""Stopping a lane whose sender contradicts itself, with the proof of it that anybody can check (row 16).

The proof is both heads and, on each side, every delivery from the first difference to its head, however far back that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from audit.entry.entry import Body, Kind, Outcome
from audit.record.lane import parse_delivery, parse_lane_head
from exchange.acts.intake import Message
from exchange.acts.lane_position import lane_of
from exchange.acts.node_view import NodeView
from exchange.acts.unit_of_work import UnitOfWork
from exchange.records.equivocation import Equivocation
from exchange.records.lane_rules import EquivocationError
from exchange.store.rows import LaneState
from keys.dsse import SignedPayload
from keys.identity import AgencyId

PAGE = 1000  # deliveries read at once


def _stored_between(work: UnitOfWork, state: LaneState, first: int, last: int) -> Iterator[bytes]:
    """Yield the deliveries of a lane that we hold, however far back the first of them is."""
    after = first - 1
    while after < last and (rows := work.rows.inbound_after(state.row, after, PAGE)):
        yield from (row.delivery for row in rows if row.sequence <= last)
        after = rows[-1].sequence


def stop_lane(work: UnitOfWork, message: Message, found: EquivocationError, *, peer: AgencyId, view: NodeView) -> int:
    """Keep the proof that a peer contradicted itself, and stop its lane.

    Args:
        work: The open transaction.
        message: The one that contradicts what is known; its head is verified.
        found: By ``check_message``.
        peer: Who said both.
        view: Ours.

    Returns:
        The index of the REFUSED entry.
    """
    lane = lane_of(parse_lane_head(message.head.payload).lane, peer, view)
    state = work.rows.open_lane(outgoing=False, peer=peer, lane_class=int(lane.lane_class), epoch=lane.epoch)
    ours = SignedPayload.decode(state.head)
    upto = parse_lane_head(ours.payload).sequence
    evidence = Equivocation(
        head_a=ours,
        deliveries_a=tuple(_stored_between(work, state, found.sequence, upto)),
        head_b=message.head,
        deliveries_b=tuple(
            parcel.delivery for parcel in message.parcels if parse_delivery(parcel.delivery).sequence >= found.sequence
        ),
    )
    # Not as the delivery's digest: that delivery has its one answer, or belongs to nobody's numbering but the peer's.
    body = Body(kind=Kind.REFUSED, outcome=Outcome.EQUIVOCATION, peer=view.member_number(peer), digest=found.shown)
    index = work.log.add(body)
    work.rows.add_evidence(work.position(index), "lane", evidence.encode())
    work.rows.move_lane(replace(state, stopped=True))
    return index
