"""A node that was lost or restored begins a new epoch from what its peers hold, over real mutual TLS."""

from __future__ import annotations

from pathlib import Path

from audit.checkpoint import VerifierKey
from audit.entry import Kind
from audit.verify import verify_log
from exchange import node as nodes
from exchange.store import DeliveryState
from tests.flow.recovering import backup, destroy, recover, restore
from tests.flow.world import Member, World, bulletin, bulletin_id, until

A, B, C = "HK-SB", "TH-DSI", "TW-NHRC"


async def all_receipted(world: World, *agencies: str) -> None:
    """Wait until everything that these have sent is receipted."""

    def met() -> bool:
        reads = [(world[each].node.reads, world[each].node.house.epoch) for each in agencies]
        lanes = [(lane, epoch) for read, epoch in reads for lane in read.lanes() if lane.outgoing]
        return all(lane.taken == lane.sequence for lane, epoch in lanes if lane.epoch == epoch)

    await until(met)


def states(member: Member, sent: bytes) -> set[DeliveryState]:
    """Say what became of a bulletin of ours, by its newest delivery to each recipient."""
    held = member.node.reads.find(member.agency, sent)
    assert held is not None
    return {row.state for row in member.node.reads.outbound_of(held.entry_index) if row.receipt}


def log_verifies(member: Member, epoch: int) -> None:
    house = member.node.house
    key = house.log_key(house.agency, epoch)
    report = verify_log(member.home / nodes.LOG_FOLDER, key=VerifierKey(name=key.name, key=key.key))
    assert "refuted" not in report.verdict, report.verdict


async def test_a_destroyed_node_gets_back_every_delivery_and_receipt_and_shows_the_scar(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        sent = [bulletin(A, B, C) for _ in range(3)]
        got = [bulletin(B, A), bulletin(C, A)]
        await world[A].publish(*sent)
        await world[B].publish(got[0])
        await world[C].publish(got[1])
        await all_receipted(world, A, B, C)
        await world[A].stop()
        destroy(world[A])
        recovery = await recover(world, A)
        assert (recovery.entered.bulletins, recovery.entered.deliveries, recovery.entered.receipts) == (3, 6, 6)
        assert recovery.entered.given == 2
        kept = sorted(path.relative_to(world[A].home).as_posix() for path in world[A].home.rglob("*.tlog-proof"))
        assert len(kept) == 8, kept

        await world[A].start()
        await world.connected()
        for each in sent:
            assert states(world[A], bulletin_id(each)) == {DeliveryState.RECEIVED}
        for sender, each in zip((B, C), got, strict=True):
            await until(lambda sender=sender, each=each: world[A].node.reads.find(sender, bulletin_id(each)) is not None)
        first, *others = world[A].bodies(Kind.RESTORED)
        assert (first.peer_size, first.peer_root) == (recovery.end.size, recovery.end.root)
        assert first.count == 8 and len(others) == 2
        # Both ways again.
        again, back = bulletin(A, B, C), bulletin(B, A)
        await world[A].publish(again)
        await world[B].publish(back)
        await all_receipted(world, A, B, C)
        assert states(world[A], bulletin_id(again)) == {DeliveryState.RECEIVED}
        assert world[A].node.reads.find(B, bulletin_id(back)) is not None
    await world[A].start()
    log_verifies(world[A], 2)
