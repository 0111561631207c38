"""What HK-IMMD has sent to TH-DSI, and the receipts of it that TH-DSI may give."""

from __future__ import annotations

import itertools

from audit.entry.entry import Body, Kind
from audit.record.dispatch import parse_dispatch
from audit.record.lane import parse_delivery
from exchange.acts import delivery
from exchange.records.receipt import Receipt
from exchange.store.rows import LaneState, OutboundRow
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from tests.exchange.acts.forged_log import ForgedLog
from tests.support.world import Desk, advisory

serials = itertools.count(1)
PEER = AgencyId("TH-DSI")


def lane(desk: Desk, peer: str = PEER, lane_class: int = 2) -> LaneState:
    found = desk.node.reads.lane(outgoing=True, peer=peer, lane_class=lane_class, epoch=1)
    assert found is not None
    return found


def publish(desk: Desk, *recipients: str, count: int = 1) -> list[OutboundRow]:
    """Publish some more to the peer, nothing else waiting, and return its rows."""
    settle_all(desk)
    before = desk.node.reads.lane(outgoing=True, peer=PEER, lane_class=2, epoch=1)
    for _ in range(count):
        desk.publish(advisory("HK-IMMD", *(recipients or (PEER,)), serial=next(serials)))
    return desk.node.reads.outbound(lane(desk).row, before.sequence if before else 0, count)


def received(desk: Desk, row: OutboundRow, **changes: object) -> Body:
    """Return what an honest RECEIVED says."""
    content = desk.node.reads.content(row.entry_index)
    assert content is not None
    payload = SignedPayload.decode(content.dispatch).payload
    honest = Body(
        kind=Kind.RECEIVED,
        peer=desk.view.number,
        bulletin_id=parse_dispatch(payload).bulletin_id,
        dispatch_digest=parse_delivery(row.delivery).dispatch_digest,
        delivery_digest=row.digest,
        opening=row.opening,
    )
    return honest._replace(**changes)


def check(desk: Desk, *receipts: tuple[int, Receipt, Receipt | None]) -> list[delivery.Settled]:
    return delivery.check_receipts(list(receipts), lane=lane(desk), peer=PEER, view=desk.view, reads=desk.node.reads)


def settle_all(desk: Desk) -> None:
    """Leave the lane receipted up to its end, as an honest peer would."""
    state = desk.node.reads.lane(outgoing=True, peer=PEER, lane_class=2, epoch=1)
    if state is None:
        return
    log = ForgedLog(PEER)
    rows = desk.node.reads.outbound(state.row, state.taken, 1000)
    positions = [(row.sequence, log.add(received(desk, row).encode())) for row in rows]
    desk.settle([(sequence, log.receipt(index), None) for sequence, index in positions], PEER)
