"""Queues between a commit and a follower: bounded, without holes."""

from __future__ import annotations

from audit.record.lane import LaneClass, LaneId
from exchange.acts.publishing import Queued
from exchange.rpc.transport.fanout import Queue
from exchange.store.rows import OutboundRow
from keys.identity import AgencyId


def queued(sequence: int, size: int = 100) -> Queued:
    lane = LaneId(
        federation_id=bytes(32),
        sender=AgencyId("HK-SB"),
        recipient=AgencyId("TH-DSI"),
        lane_class=LaneClass.ROUTINE,
        epoch=1,
    )
    row = OutboundRow(
        lane=1,
        sequence=sequence,
        entry_index=sequence,
        queued_index=sequence,
        delivery=b"",
        digest=bytes(32),
        wrap=b"",
        opening=bytes(32),
    )
    return Queued(lane=lane, row=row, dispatch=b"", body=bytes(size))


def queue(limit: int = 1000) -> Queue:
    return Queue(limit, 0, lambda: None)


def test_deliveries_come_out_in_their_order() -> None:
    made = queue()
    for sequence in (1, 2, 3):
        made.put(queued(sequence))
    taken = [made.take(after) for after in (0, 1, 2)]
    assert [item.row.sequence for item in taken if item is not None] == [1, 2, 3]
    assert made.take(3) is None


def test_a_hole_is_left_to_the_store() -> None:
    made = queue()
    made.put(queued(5))
    assert made.take(3) is None
    item = made.take(4)
    assert item is not None
    assert item.row.sequence == 5


def test_what_the_follower_has_already_is_dropped() -> None:
    made = queue()
    for sequence in (1, 2, 3):
        made.put(queued(sequence))
    item = made.take(2)
    assert item is not None
    assert item.row.sequence == 3


def test_a_full_queue_is_emptied_and_says_how_far_the_lane_is() -> None:
    made = queue(limit=250)
    for sequence in (1, 2, 3):
        made.put(queued(sequence))
    assert made.latest == 3
    assert made.take(0) is None  # the store has it
    item = made.take(2)
    assert item is not None
    assert item.row.sequence == 3


def test_a_delivery_larger_than_the_queue_is_never_held() -> None:
    made = queue(limit=50)
    made.put(queued(1))
    assert (made.take(0), made.latest) == (None, 1)


def test_what_found_no_room_is_given_back() -> None:
    made = queue()
    made.put(queued(1))
    item = made.take(0)
    assert item is not None
    made.put_back(item)
    assert made.take(0) is item
