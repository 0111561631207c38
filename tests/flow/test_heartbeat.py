"""An idle node says that it lives, and what it saw of its peers; the clock is passed in."""

from __future__ import annotations

import time
from pathlib import Path

from audit.entry.entry import Kind
from audit.note.checkpoint import parse_note
from exchange.rpc.audit.heartbeat import SEEN_MS, Heartbeat
from exchange.rpc.transport.limits import Settings
from tests.flow.witnessing import SOON, A, B
from tests.flow.world import World, bulletin, runtime, until


async def test_an_idle_log_says_each_minute_that_its_node_lives(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    node = world[A].open()
    node.start()
    try:
        now = [node.log.time_us // 1000]
        beat = Heartbeat(runtime(node, lambda: now[0], Settings(heartbeat_seconds=60.0)))
        before = node.reads.size()
        for passed, entries in ((59_999, 0), (1, 1)):
            now[0] += passed
            await beat.beat()
            assert node.reads.size() == before + entries
        assert node.reads.read_entries(before, 1)[0][52:] == b"\x08\x20"  # HEARTBEAT and nothing else
    finally:
        node.stop()


async def test_a_peer_s_checkpoint_is_entered_at_most_once_an_hour_and_only_if_it_grew(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=SOON)
    async with world.serving():
        await world.connected()
        node = world[A].node

        def seen_size() -> int:
            found = node.reads.peer_checkpoint(B, 1)
            return found[0] if found is not None else 0

        await until(lambda: seen_size() == world[B].node.reads.size())  # and so it stays: B enters nothing by itself
        now = [int(time.time() * 1000)]

        def beat() -> Heartbeat:
            return Heartbeat(runtime(node, lambda: now[0], Settings(heartbeat_seconds=1e9)))

        await beat().beat()
        found = node.reads.peer_checkpoint(B, 1)
        assert found is not None
        (first,) = world[A].bodies(Kind.CHECKPOINT_SEEN)
        assert (first.peer, first.peer_size) == (world[B].node.view.number, found[0])
        assert first.peer_root == parse_note(found[1]).checkpoint.root
        await world[B].publish(bulletin(B, A))
        await until(lambda: len(world[B].bodies(Kind.RECEIPT_RECORDED)) == 1)
        await until(lambda: seen_size() > found[0])
        await beat().beat()  # too soon, whoever looks
        assert len(world[A].bodies(Kind.CHECKPOINT_SEEN)) == 1
        await world[B].publish(bulletin(B, A))  # its receipt shows A what B has entered until now
        await until(lambda: len(world[B].bodies(Kind.RECEIPT_RECORDED)) == 2)
        now[0] += SEEN_MS
        await beat().beat()
        assert len(world[A].bodies(Kind.CHECKPOINT_SEEN)) == 2
        await world[B].stop()  # no growth from here on
        now[0] += SEEN_MS
        await beat().beat()
        seen = [body.peer_size for body in world[A].bodies(Kind.CHECKPOINT_SEEN)]
        now[0] += SEEN_MS
        await beat().beat()
        assert [body.peer_size for body in world[A].bodies(Kind.CHECKPOINT_SEEN)] == seen  # nothing grew
        assert seen == sorted(set(seen))
