"""A sender that breaks the rules of a lane: what its follower refuses, keeps, and takes all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.entry.entry import Kind, Outcome
from audit.record.lane import LaneClass
from exchange.records.equivocation import parse_equivocation, verify_equivocation
from exchange.rpc.lane import encode
from exchange.rpc.lane.receipt_batch import given_receipts
from exchange.v1 import node_pb2
from tests.flow.rogue import Rogue, take_receipts
from tests.flow.world import CALM, Member, World, bulletin, until

Requests = AsyncIterator[node_pb2.FollowRequest]
A, B = "HK-IMMD", "TH-DSI"


def received(member: Member) -> list[int]:
    """List the sequences that a member holds of the rogue's routine lane."""
    state = member.node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=1)
    rows = member.node.reads.inbound_after(state.row, 0, 10_000) if state is not None else []
    return [row.sequence for row in rows]


def alarms(member: Member) -> list[str]:
    return [line for line in member.log.getvalue().splitlines() if '"alarm"' in line]


async def test_row_15_a_delivery_left_out_is_noticed_with_the_next_message(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        items = rogue.outgoing(B, _position(rogue))
        if rogue.follows == 1:
            await context.write(rogue.message(items[:3], B))
            await context.write(rogue.message(items[4:6], B))  # the fourth is held back
        elif items:
            await context.write(rogue.message(items, B))
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        for _ in range(6):
            rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: received(world[B]) == [1, 2, 3, 4, 5, 6])
        assert rogue.follows == 2
        assert "LANE_GAP" in world[B].log.getvalue()
        assert len(world[B].bodies(Kind.RECEIVED)) == 6
        await world[B].stop()


async def test_row_15_a_delivery_withheld_at_the_end_is_noticed_with_the_next_head(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        items = rogue.outgoing(B, 0)
        after = _position(rogue)
        if after == 0:
            await context.write(rogue.message(items[:2], B))
            await context.write(_head(rogue, items[2]))
        else:
            await context.write(rogue.message(items[after:], B))
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        for _ in range(3):
            rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: received(world[B]) == [1, 2, 3])
        assert "LANE_GAP" in world[B].log.getvalue()
        await world[B].stop()


async def test_row_14_deliveries_replayed_a_hundred_times_change_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        message = rogue.message(rogue.outgoing(B), B)
        for _ in range(100):
            await context.write(message)
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        for _ in range(2):
            rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: bool(rogue.receipts))
        await asyncio.sleep(0.5)
        assert len(world[B].bodies(Kind.RECEIVED)) == 2
        assert len(world[B].bodies(Kind.DUPLICATE)) == 0
        assert [[sequence for sequence, _, _ in given_receipts(batch)] for batch in rogue.receipts] == [[1, 2]]
        assert [(list(batch.shared.sequences), len(batch.receipts)) for batch in rogue.receipts] == [([1, 2], 0)]
        await world[B].stop()


async def test_row_59_a_thief_of_the_tls_leaf_stops_no_lane(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        items = rogue.outgoing(B)
        thief = replace(rogue.node.view, operations=world[B].keys.node.operations)
        if rogue.follows <= 3:
            forged = [replace(items[0], sequence=9), *items[1:]] if rogue.follows == 2 else items
            await context.write(rogue.message(forged, B, view=thief))
        else:
            await context.write(rogue.message(items, B))
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: received(world[B]) == [1])
        assert rogue.follows == 4
        state = world[B].node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=1)
        assert state is not None
        assert not state.stopped
        await world[B].stop()


async def test_row_16_two_deliveries_under_one_number_stop_the_lane_and_leave_a_proof(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)
    other = World(tmp_path / "other", (A, B))

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        await context.write(rogue.message(rogue.outgoing(B), B))
        await until(lambda: received(world[B]) == [1])
        await context.write(twin.message(twin.outgoing(B), B))
        await context.write(rogue.message(urgent(rogue), B, lane_class=LaneClass.URGENT))
        await take_receipts(rogue, requests, context)

    def urgent(rogue: Rogue) -> Any:
        return rogue.outgoing(B, 0, LaneClass.URGENT)

    rogue, twin = Rogue(world[A], script), Rogue(other[A], script)
    twin.heads_after(rogue)
    twin.node.start()
    async with rogue.serving():
        rogue.publish(bulletin(A, B))
        rogue.publish(bulletin(A, B, urgency=2))
        twin.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: any('"lane-contradicts-itself"' in line for line in alarms(world[B])))
        # The peer's other lane goes on.
        await until(lambda: len(world[B].bodies(Kind.RECEIVED)) == 2)
        (entry,) = [body for body in world[B].bodies(Kind.REFUSED) if body.digest]
        assert entry.outcome == Outcome.EQUIVOCATION
        ((_, what, content),) = world[B].node.store.evidence()
        assert what == "lane"
        lane, sequence = verify_equivocation(parse_equivocation(content), world[A].keys.node.operations.key)
        assert (lane.sender, sequence) == (A, 1)
        state = world[B].node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=1)
        assert state is not None
        assert state.stopped
        await world[B].stop()
    twin.node.stop()


async def test_a_delivery_damaged_three_times_is_refused_and_blocks_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        items = rogue.outgoing(B, _position(rogue))
        if items:
            await context.write(rogue.message(items, B, change=_damage))
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        for _ in range(3):
            rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: received(world[B]) == [1, 2, 3])
        assert rogue.follows == 4
        (entry,) = [body for body in world[B].bodies(Kind.REFUSED) if body.delivery_digest]
        assert entry.outcome == Outcome.DAMAGED
        assert len(world[B].bodies(Kind.RECEIVED)) == 2
        await world[B].stop()


def _damage(item: Any) -> Any:
    return replace(item, body=item.body[:-1] + bytes([item.body[-1] ^ 1])) if item.sequence == 2 else item


def _position(rogue: Rogue) -> int:
    return next((each.sequence for each in rogue.starts[-1].lanes if getattr(each, "class") == 2), 0)


def _head(rogue: Rogue, item: Any) -> bytes:
    """Make a head alone that says the lane goes on to *item*."""
    from exchange.acts import delivery
    from exchange.rpc.lane import encode

    head = delivery.sign_head(
        rogue.lane(B), (item.sequence, item.digest), item.sequence, (), rogue.node.view, next(rogue._clock)
    )
    return encode.batch([], head.encode())


async def test_row_15_a_sender_that_says_nothing_more_is_dialled_again(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        items = rogue.outgoing(B, _position(rogue))
        if rogue.follows > 1:
            await context.write(rogue.message(items, B))
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: received(world[B]) == [1])
        assert rogue.follows >= 2
        await world[B].stop()


async def test_receipts_that_a_sender_only_claims_to_have_end_the_stream_and_stop_no_node(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    rogue.claims = [encode.lane_taken(LaneClass.ROUTINE, 7)]
    async with rogue.serving():
        await world[B].start()
        await until(lambda: rogue.follows >= 2)
        assert any('"receipts-never-given"' in line for line in alarms(world[B]))
        assert "LANE_FORK" in world[B].log.getvalue()
        assert world[B].node.writer.failure is None
        await world[B].stop()


async def test_an_acknowledgement_of_receipts_that_were_never_given_ends_the_stream(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=CALM)

    async def script(rogue: Rogue, requests: Requests, context: Any) -> None:
        if rogue.follows == 1:
            taken = node_pb2.ReceiptsTaken(lane=encode.lane_taken(2, 7))
            await context.write(node_pb2.FollowResponse(taken=taken))
        elif rogue.follows == 2:
            await context.write(node_pb2.FollowResponse())
        else:
            await context.write(rogue.message(rogue.outgoing(B), B))
        await take_receipts(rogue, requests, context)

    rogue = Rogue(world[A], script)
    async with rogue.serving():
        rogue.publish(bulletin(A, B))
        await world[B].start()
        await until(lambda: received(world[B]) == [1])
        log = world[B].log.getvalue()
        assert "RECEIPT_INVALID" in log
        assert "MALFORMED" in log
        await world[B].stop()
