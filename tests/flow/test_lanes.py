"""Lanes between nodes that behave: restarts, backlogs, streams that end and begin again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.entry.entry import Kind, Outcome
from exchange.rpc.lane import inflight_marker
from exchange.v1 import node_pb2
from keys.seal import EncryptionKey
from tests.flow.world import QUICK, Member, World, bulletin, bulletin_id, until

A, B = "HK-IMMD", "TH-DSI"


def received(member: Member) -> list[bytes]:
    return [body.bulletin_id for body in member.bodies(Kind.RECEIVED)]


def recorded(member: Member) -> list[bytes]:
    return [body.delivery_digest for body in member.bodies(Kind.RECEIPT_RECORDED)]


@pytest.mark.parametrize("restarted", [A, B])
async def test_whichever_side_is_restarted_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, restarted: str
) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        messages = [bulletin(A, B, urgency=2 if i % 5 == 0 else 4) for i in range(60)]
        for first in range(0, 60, 20):
            results = await world[A].publish(*messages[first : first + 20])
            assert all(each.HasField("receipt") for each in results)
            await world[restarted].stop()  # in the middle of the delivery
            await world[restarted].start()
        await until(lambda: len(recorded(world[A])) == 60)
        assert Counter(received(world[B])) == Counter(map(bulletin_id, messages))
        assert len(set(recorded(world[A]))) == 60
        for lane_class in (1, 2):
            ours = world[A].node.reads.lane(outgoing=True, peer=B, lane_class=lane_class, epoch=1)
            theirs = world[B].node.reads.lane(outgoing=False, peer=A, lane_class=lane_class, epoch=1)
            assert ours is not None
            assert theirs is not None
            assert (ours.sequence, ours.digest, ours.taken) == (theirs.sequence, theirs.digest, theirs.sequence)


async def test_what_was_published_while_a_peer_was_away_is_delivered_when_it_comes(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    await world[A].start()
    messages = [bulletin(A, B) for _ in range(100)]
    await world[A].publish(*messages)
    await world[B].start()
    await until(lambda: len(recorded(world[A])) == 100)
    assert received(world[B]) == [bulletin_id(each) for each in messages]
    await asyncio.gather(world[A].stop(), world[B].stop())


async def test_row_57_urgent_overtakes_a_backlog(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=replace(QUICK, credit_bytes=40_000))
    await world[A].start()
    backlog = [bulletin(A, B) for _ in range(150)]
    await world[A].publish(*backlog)
    rescue = bulletin(A, B, urgency=1)
    await world[A].publish(rescue)
    await world[B].start()
    await until(lambda: len(received(world[B])) == 151)
    assert received(world[B]).index(bulletin_id(rescue)) < 60  # not behind the hundred and fifty
    await asyncio.gather(world[A].stop(), world[B].stop())


async def test_row_57_urgent_arrives_while_the_routine_lane_is_out_of_credit(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=replace(QUICK, credit_bytes=20_000))
    async with world.serving():
        await world.connected()
        async with asyncio.TaskGroup() as group:
            group.create_task(world[A].publish(*(bulletin(A, B) for _ in range(200))))
            await until(lambda: len(received(world[B])) > 5)
            rescue = bulletin(A, B, urgency=1)
            await world[A].publish(rescue)
            await until(lambda: bulletin_id(rescue) in received(world[B]))
        await until(lambda: len(received(world[B])) == 201)


async def test_a_lane_that_is_silent_still_shows_heads(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        seen = set()

        def newer() -> bool:
            lane = world[B].node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=1)
            if lane is not None and lane.head_time_ms:
                seen.add(lane.head_time_ms)
            return len(seen) == 3

        await until(newer)


async def test_a_recalled_bulletin_that_waited_travels_without_its_content(tmp_path: Path) -> None:
    from exchange.v1 import bulletin_pb2

    world = World(tmp_path, (A, B))
    await world[A].start()
    wrong = bulletin(A, B)
    (result,) = await world[A].publish(wrong)
    recall = bulletin(A, B)
    recall.ClearField("advisory")
    recall.recall.reason = bulletin_pb2.RECALL_REASON_ISSUED_IN_ERROR
    recall.recall.explanation = "sent in error"
    recall.header.number = recall.header.number.replace("/ADV/", "/RCL/")
    recall.header.relations.add(
        type=bulletin_pb2.RELATION_TYPE_RECALLS,
        bulletin_id=wrong.header.bulletin_id,
        statement_digest=result.statement_digest,
    )
    (answer,) = await world[A].publish(recall)
    if answer.HasField("refusal"):
        pytest.fail(str(answer.refusal))
    await world[B].start()
    await until(lambda: len(recorded(world[A])) == 2)
    assert len(world[B].bodies(Kind.WITHDRAWN)) == 1
    async with world[A].desk() as desk:
        outbox = await desk.Outbox(node_pb2.OutboxRequest(bulletin_id=bulletin_id(wrong)))
    assert outbox.items[0].recipients[0].state == node_pb2.DELIVERY_STATE_WITHDRAWN
    await asyncio.gather(world[A].stop(), world[B].stop())


async def test_row_69_a_delivery_on_which_two_intakes_died_is_refused_unopened(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    await world[A].start()
    await world[A].publish(bulletin(A, B), bulletin(A, B))
    for _ in range(2):  # as a run that died while it opened the first delivery leaves it
        left = inflight_marker.Marker(world[B].home, A)
        left.opening(2, 1, 1)
        node = world[B].open()
        node.start()
        assert inflight_marker.count_deaths(node) == 1
        assert inflight_marker.count_deaths(node) == 0
        node.stop()
    await world[B].start()
    await until(lambda: len(recorded(world[A])) == 2)
    (entry,) = world[B].bodies(Kind.REFUSED)
    assert entry.outcome == Outcome.QUARANTINED
    assert len(received(world[B])) == 1
    await asyncio.gather(world[A].stop(), world[B].stop())


class FaultyKeys(dict[bytes, EncryptionKey]):
    """Keys that fail at each use, in a way that no rule foresees."""

    def __init__(self, keys: Mapping[bytes, EncryptionKey]) -> None:
        super().__init__(keys)
        self.faults = 0

    def get(self, key: bytes, default: Any = None) -> Any:
        """Fail."""
        self.faults += 1
        raise ZeroDivisionError


async def test_row_69_a_delivery_on_which_our_own_program_fails_twice_holds_nothing_up(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    await world[A].start()
    await world[A].publish(bulletin(A, B))
    await world[B].start()
    await until(lambda: len(recorded(world[A])) == 1)
    node = world[B].node
    sound, faulty = node.view.encryption, FaultyKeys(node.view.encryption)
    node.view = replace(node.view, encryption=faulty)
    await world[A].publish(bulletin(A, B))
    await until(lambda: len(world[B].bodies(Kind.REFUSED)) == 1)
    assert faulty.faults == 2
    assert world[B].bodies(Kind.REFUSED)[0].outcome == Outcome.QUARANTINED
    node.view = replace(node.view, encryption=sound)
    await world[A].publish(bulletin(A, B))
    await until(lambda: len(received(world[B])) == 2)
    assert '"fault"' in world[B].log.getvalue()
    await asyncio.gather(world[A].stop(), world[B].stop())


async def test_an_orderly_stop_counts_as_no_death(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world[A].publish(*(bulletin(A, B) for _ in range(20)))
        await until(lambda: len(recorded(world[A])) == 20)
    assert inflight_marker.left_behind(world[B].home) == []


async def test_each_side_keeps_the_others_newest_checkpoint_as_a_file(tmp_path: Path) -> None:
    from audit.note.checkpoint import verify_note

    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await until(lambda: len(recorded(world[A])) == 1)
        keys = {agency: world[agency].node.vkey for agency in (A, B)}
    for agency, other in ((A, B), (B, A)):
        note = (world[agency].home / "peers" / other / "checkpoint").read_text("utf-8")
        assert verify_note(note, keys[other]).size > 0


async def test_after_a_drain_the_published_checkpoint_covers_the_last_entry(tmp_path: Path) -> None:
    from audit.note.checkpoint import parse_note

    world = World(tmp_path, (A, B))
    async with world.serving():
        await world[A].publish(*(bulletin(A, B) for _ in range(5)))
        await until(lambda: len(recorded(world[A])) == 5)
    for agency in (A, B):
        node = world[agency].open()
        note = (world[agency].home / "log" / "checkpoint").read_text("utf-8")
        assert parse_note(note).checkpoint.size == node.reads.size()
        node.stop()
