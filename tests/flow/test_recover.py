"""A node that was lost or restored begins a new epoch from what its peers hold, over real mutual TLS."""

from __future__ import annotations

import random
from pathlib import Path

from audit.compare.pairs import ComparedLog, Pairing, compare
from audit.entry.entry import Kind
from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.epochs import epoch_of_origin
from audit.tiles.tiles import TileFolder
from audit.verify.verify import verify_log
from exchange.store.home_paths import LOG_FOLDER
from exchange.store.rows import DeliveryState
from keys.roster import parse_roster
from tests.flow.recovering import backup, destroy, recover, restore
from tests.flow.world import Member, World, bulletin, bulletin_id, until
from tests.support.home_files import DATABASE, LOCK
from tests.support.scale import SCALE, SLOW

A, B, C = "HK-SB", "TH-DSI", "TW-NHRC"


async def all_receipted(world: World, *agencies: str) -> None:
    """Wait until everything that these have sent is receipted."""

    def met() -> bool:
        reads = [(world[each].node.reads, world[each].node.view.epoch) for each in agencies]
        lanes = [(lane, epoch) for read, epoch in reads for lane in read.lanes() if lane.outgoing]
        return all(lane.taken == lane.sequence for lane, epoch in lanes if lane.epoch == epoch)

    await until(met)


async def all_witnessed(world: World, agency: str, *others: str) -> None:
    """Wait until these hold, as witnesses, all that an agency's log has; nothing more is entered there."""
    origin, reads = world[agency].node.view.origin, world[agency].node.reads
    await until(lambda: all(held_by(world[each], origin) == reads.size() for each in others))


def held_by(member: Member, origin: str) -> int:
    """Return at which size a member's witness stands."""
    state = member.node.lock.witness_state()
    try:
        cosigned = state.cosigned(origin)
    finally:
        state.close()
    return cosigned.size if cosigned is not None else 0


def states(member: Member, sent: bytes) -> set[DeliveryState]:
    """Return what became of a bulletin of ours, by its newest delivery to each recipient."""
    stored = member.node.reads.find(member.agency, sent)
    assert stored is not None
    return {row.state for row in member.node.reads.outbound_of(stored.entry_index) if row.receipt}


def verifiers(world: World, *agencies: str) -> dict[str, VerifierKey]:
    """Return the keys of running nodes' logs in their present epochs."""
    return {each: world[each].node.vkey for each in agencies}


def logs_verify(world: World, keys: dict[str, VerifierKey]) -> None:
    """Verify what stopped nodes have published."""
    for agency, key in keys.items():
        report = verify_log(world[agency].home / LOG_FOLDER, key=key)
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
            await until(
                lambda sender=sender, each=each: world[A].node.reads.find(sender, bulletin_id(each)) is not None
            )
        first, *others = world[A].bodies(Kind.RESTORED)
        assert (first.peer_size, first.peer_root) == (recovery.end.size, recovery.end.root)
        assert first.count == 8
        assert len(others) == 2
        await until(lambda: world[A].node.witnessed[0] > 0)  # its witnesses go on with it
        assert "/log/2\n" in world[A].node.witnessed[1]
        # Both ways again.
        again, back = bulletin(A, B, C), bulletin(B, A)
        await world[A].publish(again)
        await world[B].publish(back)
        await all_receipted(world, A, B, C)
        assert states(world[A], bulletin_id(again)) == {DeliveryState.RECEIVED}
        assert world[A].node.reads.find(B, bulletin_id(back)) is not None
        keys = verifiers(world, A)
    assert keys[A].name.endswith("/log/2")
    logs_verify(world, keys)
    found = paired(world, A, B, C)
    assert (found.one_sided, found.behind, found.pairs) == ([], [], 9)
    lost = [
        (each.row.agency, each.row.kind, each.loss.restored.agency, each.loss.restored.epoch) for each in found.lost
    ]
    assert lost == [(B, "RECEIPT_RECORDED", A, 2), (C, "RECEIPT_RECORDED", A, 2)]


async def test_an_old_backup_goes_on_in_a_new_epoch_and_bulletins_flow_both_ways(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        early, got_early = bulletin(A, B, C), bulletin(B, A)
        await world[A].publish(early)
        await world[B].publish(got_early)
        await all_receipted(world, A, B)
        await world[A].stop()
        backup(world[A], tmp_path / "backup")
        await world[A].start()
        await world.connected()
        late, got_late = bulletin(A, B), bulletin(C, A)
        await world[A].publish(late)
        await world[C].publish(got_late)
        await all_receipted(world, A, C)
        await world[C].stop()
        waiting = bulletin(A, C)
        await world[A].publish(waiting)  # C is away: it waits, and is in no backup and with no peer
        await world[A].stop()
        await world[C].start()
        restore(world[A], tmp_path / "backup")

        recovery = await recover(world, A)
        assert recovery.entered.bulletins == 1, "late alone was lost to the home"
        assert (recovery.before / DATABASE).exists()
        assert (recovery.before / LOCK).exists()
        await world[A].start()
        await world.connected()
        for each in (early, late):
            assert states(world[A], bulletin_id(each)) == {DeliveryState.RECEIVED}
        assert world[A].node.reads.find(B, bulletin_id(got_early)) is not None
        await until(lambda: world[A].node.reads.find(C, bulletin_id(got_late)) is not None)
        assert world[A].node.reads.find(A, bulletin_id(waiting)) is None, "nobody ever had it"
        again, back = bulletin(A, B, C), bulletin(C, A)
        await world[A].publish(again)
        await world[C].publish(back)
        await all_receipted(world, A, C)
        assert states(world[A], bulletin_id(again)) == {DeliveryState.RECEIVED}
        assert len(world[A].bodies(Kind.RESTORED)) == 3
        for name in (B, C):
            lane_state = world[name].node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=2)
            assert lane_state is not None
            assert lane_state.sequence >= 1
        keys = verifiers(world, A, B, C)
    logs_verify(world, keys)


async def test_what_waited_in_the_backup_is_delivered_anew_under_new_numbers(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        await world[B].stop()
        waiting = bulletin(A, B, C)
        await world[A].publish(waiting)
        await until(lambda: DeliveryState.RECEIVED in states(world[A], bulletin_id(waiting)))
        await world[A].stop()
        await world[B].start()
        (world[A].home / LOCK).unlink()

        recovery = await recover(world, A)
        assert recovery.entered.renumbered == 1
        await world[A].start()
        await world.connected()
        await all_receipted(world, A)
        assert states(world[A], bulletin_id(waiting)) == {DeliveryState.RECEIVED}
        lane = world[B].node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=2)
        assert lane is not None
        assert lane.sequence == 1


async def test_two_recoveries_in_a_row_end_in_epoch_3(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        sent = []
        for epoch in (1, 2):
            sent += [bulletin(A, B, C)]
            back = bulletin(B, A)
            await world[A].publish(sent[-1])
            await world[B].publish(back)
            await all_receipted(world, A, B)
            await world[A].stop()
            destroy(world[A])
            await recover(world, A)
            await world[A].start()
            await world.connected()
            assert world[A].node.view.epoch == epoch + 1
            await until(lambda back=back: world[A].node.reads.find(B, bulletin_id(back)) is not None)
        for each in sent:
            assert states(world[A], bulletin_id(each)) == {DeliveryState.RECEIVED}
        again, back = bulletin(A, B, C), bulletin(C, A)
        await world[A].publish(again)
        await world[C].publish(back)
        await all_receipted(world, A, C)
        assert states(world[A], bulletin_id(again)) == {DeliveryState.RECEIVED}


async def test_two_members_that_were_lost_one_after_the_other_find_each_other_again(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await world[B].publish(bulletin(B, A))
        await all_receipted(world, A, B)
        for lost in (A, B):
            await world[lost].stop()
            destroy(world[lost])
            await recover(world, lost)
            await world[lost].start()
            await world.connected()
        one, other = bulletin(A, B, C), bulletin(B, A, C)
        await world[A].publish(one)
        await world[B].publish(other)
        await all_receipted(world, A, B)
        assert states(world[A], bulletin_id(one)) == {DeliveryState.RECEIVED}
        assert states(world[B], bulletin_id(other)) == {DeliveryState.RECEIVED}


def paired(world: World, *agencies: str) -> Pairing:
    """Compare logs, with those of the epochs that a recovery has moved aside."""
    sides = []
    for name in agencies:
        member = parse_roster(world[name].records.roster.payload).member(name)
        assert member is not None
        for home in (*world[name].home.glob("before-epoch-*"), world[name].home):
            log = TileFolder(home / LOG_FOLDER)
            if not (home / LOG_FOLDER / "checkpoint").exists():
                continue
            read = parse_note(log.note()).checkpoint
            epoch = epoch_of_origin(read.origin)
            sides.append(ComparedLog(agency=name, number=member.number, folder=log, size=read.size, epoch=epoch))
    return compare(sides, {})


@SLOW  # the test before has one of each
async def test_restores_of_random_age_end_in_epochs_that_go_on_and_nothing_is_one_sided(
    tmp_path: Path,
) -> None:
    dice = random.Random(63)  # not a secret
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        published = 0
        for turn in range(2 * SCALE):
            kept = tmp_path / f"backup-{turn}"
            steps = dice.randrange(2, 5)
            at = dice.randrange(steps)
            for step in range(steps):
                if step == at:
                    await world[A].stop()
                    backup(world[A], kept)
                    await world[A].start()
                    await world.connected()
                sender = dice.choice((A, B, C))
                others = [each for each in (A, B, C) if each != sender]
                await world[sender].publish(bulletin(sender, *dice.sample(others, dice.randrange(1, 3))))
                published += 1
            await all_receipted(world, A, B, C)
            await world[A].stop()
            restore(world[A], kept)
            await recover(world, A)
            await world[A].start()
            await world.connected()
            await all_receipted(world, A, B, C)
        epoch = world[A].node.view.epoch
        assert epoch == 1 + 2 * SCALE
        reads = world[A].node.reads
        stored = len(reads.stored_since(0, 1000, sent=True)) + len(reads.stored_since(0, 1000, sent=False))
        assert stored > 0
        one, other = bulletin(A, B, C), bulletin(B, A)
        await world[A].publish(one)
        await world[B].publish(other)
        await all_receipted(world, A, B)
        assert states(world[A], bulletin_id(one)) == {DeliveryState.RECEIVED}
        keys = verifiers(world, A, B, C)
    logs_verify(world, keys)
    found = paired(world, A, B, C)
    assert not found.one_sided
    assert not found.behind
    assert found.pairs > 0
