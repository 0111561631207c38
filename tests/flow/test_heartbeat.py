"""An idle node says that it lives, and what it saw of its peers; the clock is passed in."""

from __future__ import annotations

import time
from pathlib import Path

from audit.checkpoint import parse_note
from audit.entry import Kind
from exchange.rpc.heartbeat import SEEN_MS, Heartbeat
from exchange.rpc.logs import Log
from tests.flow.witnessing import SOON, A, B
from tests.flow.world import World, bulletin, until


async def test_an_idle_log_says_each_minute_that_its_node_lives(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    node = world[A].open()
    node.start()
    try:
        now = [node.log.time_us // 1000]
        beat = Heartbeat(node, lambda: now[0], 60.0, Log(None, A))
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
        await until(lambda: node.reads.peer_checkpoint(B, 1) is not None)
        now = [int(time.time() * 1000)]

        def beat() -> Heartbeat:
            return Heartbeat(node, lambda: now[0], 1e9, Log(None, A))

        await beat().beat()
        held = node.reads.peer_checkpoint(B, 1)
        assert held is not None
        (first,) = world[A].bodies(Kind.CHECKPOINT_SEEN)
        assert (first.peer, first.peer_size) == (world[B].node.house.number, held[0])
        assert first.peer_root == parse_note(held[1]).checkpoint.root
        await world[B].publish(bulletin(B, A))
        await until(lambda: (node.reads.peer_checkpoint(B, 1) or (0, ""))[0] > held[0])
        await beat().beat()  # too soon, whoever looks
        assert len(world[A].bodies(Kind.CHECKPOINT_SEEN)) == 1
        now[0] += SEEN_MS
        await beat().beat()
        assert len(world[A].bodies(Kind.CHECKPOINT_SEEN)) == 2
        now[0] += SEEN_MS
        size = (node.reads.peer_checkpoint(B, 1) or (0, ""))[0]
        last = world[A].bodies(Kind.CHECKPOINT_SEEN)[-1].peer_size
        await beat().beat()
        assert len(world[A].bodies(Kind.CHECKPOINT_SEEN)) == (2 if size == last else 3)
