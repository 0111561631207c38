"""What leaves a lane: in order, for each recipient its own, and never what was withdrawn, recalled or expired."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from audit.entry.entry import Kind
from audit.record.lane import Withdrawn, WithdrawnReason, parse_lane_head
from exchange.acts import delivery
from exchange.acts.delivery import MAX_BATCH_COUNT, outgoing_after
from exchange.acts.lane_position import check_peer_position, lane_id
from exchange.acts.statement_checks import TRANSPORT_MS
from exchange.records.bulletin import uuid7
from exchange.v1 import bulletin_pb2
from keys.errors import RefusedError
from tests.exchange.acts.sent import PEER, lane, publish, serials
from tests.support.world import NOW_MS, Desk, advisory, bulletin


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """HK-IMMD, whose receipts from others these tests forge."""
    made = Desk("HK-IMMD", tmp_path_factory.mktemp("sender"))
    yield made
    made.close()


# what leaves


def test_a_lane_leaves_in_batches_from_any_number(desk: Desk) -> None:
    rows = publish(desk, "TW-NHRC", "TH-DSI", count=3)
    state = lane(desk)
    batch = outgoing_after(desk.node.reads, state, rows[0].sequence - 1, NOW_MS)
    assert [item.sequence for item in batch] == [row.sequence for row in rows]
    assert all(item.body and item.wrap and item.withdrawn is None for item in batch)
    assert outgoing_after(desk.node.reads, state, state.sequence, NOW_MS) == []
    assert len(outgoing_after(desk.node.reads, state, 0, NOW_MS)) <= MAX_BATCH_COUNT


def test_each_recipient_is_sent_its_own_wrap_only(desk: Desk) -> None:
    publish(desk, "TW-NHRC", "TH-DSI")
    theirs, ours = (
        outgoing_after(desk.node.reads, lane(desk, peer), lane(desk, peer).sequence - 1, NOW_MS)[0]
        for peer in ("TW-NHRC", PEER)
    )
    assert theirs.dispatch == ours.dispatch
    assert theirs.wrap != ours.wrap


def test_content_past_its_transport_leaves_as_withdrawn_and_is_receipted_as_that(desk: Desk, receiver: Desk) -> None:
    rows = publish(desk)
    late = NOW_MS + TRANSPORT_MS
    [item] = outgoing_after(desk.node.reads, lane(desk), rows[0].sequence - 1, late)
    assert (item.withdrawn, item.wrap, item.body) == (WithdrawnReason.EXPIRED, b"", b"")
    assert outgoing_after(desk.node.reads, lane(desk), rows[0].sequence - 1, late - 1)[0].withdrawn is None
    message = desk.message_for(PEER, after=0, now_ms=late)
    while message.parcels:
        answers = receiver.receive(message, "HK-IMMD")
        after = answers[-1][0].sequence
        message = desk.message_for(PEER, after=after, now_ms=late)
    assert {body.kind for body in receiver.bodies() if body.delivery_digest} == {Kind.WITHDRAWN}


def test_what_was_recalled_before_it_left_leaves_without_its_content(desk: Desk) -> None:
    message = advisory("HK-IMMD", PEER, serial=next(serials))
    published = desk.publish(message)
    recall = bulletin("22-recall")
    recall.header.originator, recall.header.number = "HK-IMMD", "HK-IMMD/RCL/2025/000001"
    recall.header.issued_at.CopyFrom(message.header.issued_at)
    recall.header.bulletin_id = uuid7(message.header.issued_at.ToMilliseconds(), os.urandom(10))
    recall.header.ClearField("case")
    recall.header.ClearField("expires_at")
    recall.header.marking.CopyFrom(message.header.marking)
    del recall.header.relations[:]
    recall.header.relations.add(
        type=bulletin_pb2.RELATION_TYPE_RECALLS,
        bulletin_id=message.header.bulletin_id,
        statement_digest=published.statement_digest,
    )
    del recall.header.addressees[:]
    recall.header.addressees.add(agency=PEER, role=1)
    before = outgoing_after(desk.node.reads, lane(desk), lane(desk).sequence - 1, NOW_MS)[0]
    desk.publish(recall)
    [after] = outgoing_after(desk.node.reads, lane(desk), before.sequence - 1, NOW_MS)[:1]
    assert before.withdrawn is None
    assert (after.withdrawn, after.body) == (WithdrawnReason.RECALLED, b"")
    assert after.digest == before.digest  # the lane itself does not change


def test_a_rescue_does_not_wait_behind_a_backlog_row_57(desk: Desk) -> None:
    publish(desk, count=3)
    urgent = advisory("HK-IMMD", PEER, serial=next(serials), urgency=1)
    before = desk.node.reads.lane(outgoing=True, peer=PEER, lane_class=1, epoch=1)
    desk.publish(urgent)
    batch = outgoing_after(desk.node.reads, lane(desk, lane_class=1), before.sequence if before else 0, NOW_MS)
    assert [item.sequence for item in batch] == [before.sequence + 1 if before else 1]


def test_the_head_says_where_the_lane_stands(desk: Desk) -> None:
    publish(desk)
    state = lane(desk)
    gone = [Withdrawn(sequence=state.sequence, reason=WithdrawnReason.EXPIRED)]
    signed = delivery.sign_head(
        lane_id(state, desk.view), (state.sequence, state.digest), state.sequence, gone, desk.view, NOW_MS
    )
    head = parse_lane_head(signed.payload)
    assert (head.sequence, head.delivery_digest, head.latest) == (state.sequence, state.digest, state.sequence)
    assert head.withdrawn == tuple(gone)


def test_a_peer_that_holds_more_or_other_deliveries_than_we_sent_is_told_so(desk: Desk) -> None:
    publish(desk, count=2)
    state, reads = lane(desk), desk.node.reads
    [before] = reads.outbound(state.row, state.sequence - 2, 1)
    for sequence, digest in ((0, b"anything"), (state.sequence, state.digest), (state.sequence - 1, before.digest)):
        check_peer_position(reads, state, sequence, digest)
    for found, sequence, digest in (
        (state, state.sequence + 1, state.digest),
        (state, state.sequence, before.digest),
        (state, state.sequence - 1, state.digest),
        (None, 1, state.digest),
    ):
        with pytest.raises(RefusedError) as raised:
            check_peer_position(reads, found, sequence, digest)
        assert raised.value.code == "LANE_FORK"
