"""Four nodes witness one another over real mTLS: the quorum, its absence, and what never counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from audit.checkpoint import parse_note, verify_note
from audit.policy import parse_vkeys
from audit.trust import policy_of
from tests.flow.world import Member, World, bulletin, until


def witnessed_by(member: Member) -> tuple[int, tuple[str, ...]]:
    """Judge a member's own checkpoint file by its roster."""
    node = member.node
    note = (member.home / "log" / "checkpoint").read_text()
    found = policy_of(node.house.federation.roster, member.agency).judge(note)
    return verify_note(note, node.vkey).size, found.names if found.reached else ()


async def test_a_published_checkpoint_is_cosigned_by_a_quorum_within_two_seconds(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.serving():
        await world.connected()
        sender = world["HK-SB"]
        began = time.monotonic()
        await sender.publish(bulletin("HK-SB", "TH-DSI"))
        size = sender.node.reads.size()
        await until(lambda: sender.node.witnessed[0] >= size, 4.0)
        print(time.monotonic() - began)
        assert len(witnessed_by(sender)[1]) == 3
