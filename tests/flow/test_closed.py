"""An epoch that is closed in order: EPOCH_CLOSED is its last entry, members cosign it, and a new epoch goes on after it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from audit.entry.entry import Kind, parse_body, parse_entry
from audit.log.lock_factory import open_lock
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import parse_note
from audit.tiles.tiles import TileFolder
from audit.verify.trust import policy_of
from exchange.node import home
from exchange.node.close_epoch import close_epoch, finish
from exchange.node.node import EpochOverError, Node
from exchange.node.rollback_check import RolledBackError
from exchange.rpc.recovery import rebuild
from exchange.rpc.transport.channel import Identity
from exchange.store.home_paths import Paths
from exchange.store.sqlite import SqliteStore
from keys.certificate import private_pem
from keys.identity import AgencyId
from tests.flow.recovering import backup, gather, recover, restore
from tests.flow.test_recover import A, B, C, all_receipted, paired
from tests.flow.world import Member, World, bulletin, until
from tests.support.home_files import DATABASE, LOCK


def opened(member: Member) -> Node:
    """Open a stopped node whose epoch may have been closed."""
    store = SqliteStore(member.home / DATABASE)
    paths = Paths(home=member.home)
    view = home.restore_view(store, member.keys.node)
    return Node(member.home, view, store, open_lock(paths.lock), lambda n: bytes(n))


async def close(world: World, agency: str) -> str:
    """Do what exchange node recover --close does, with keys from memory; the node is stopped before and after."""
    member = world[agency]
    gathered, _ = await gather(world, agency)
    identity = Identity(leaf=member.keys.tls_leaf, private_pem=private_pem(member.keys.node.tls_private))
    addresses = {AgencyId(peer): where for peer, where in world.endpoints.items() if peer != agency}
    node = opened(member)
    try:
        note = close_epoch(node, [(each.peer, text) for each in gathered.recovered for _, text in each.notes])
        now_ms = time.time_ns() // 1_000_000
        note = await rebuild.show_all(gathered, identity, addresses, note, node.log.consistency, now_ms)
        finish(node, note)
    finally:
        node.stop()
    rebuild.save_recovered(member.home, gathered)
    rebuild.save_for_root(member.home, note, gathered)
    return note


async def test_a_closed_epoch_ends_in_epoch_closed_and_the_next_one_begins_after_it(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await world[B].publish(bulletin(B, A))
        await all_receipted(world, A, B)
        await until(lambda: world[A].node.witnessed[0] == world[A].node.reads.size())
        seen, root = world[A].node.witnessed[0], parse_note(world[A].node.witnessed[1]).checkpoint.root
        await world[A].stop()
        note = await close(world, A)
        end = parse_note(note).checkpoint
        view = world[B].node.view
        assert policy_of(view.federation.roster, A).judge(note).reached, "both others have cosigned the end"
        entry = TileFolder(world[A].home / "log").entries(0, end.size)[-1]
        closed = parse_body(parse_entry(entry).body)
        assert (closed.kind, closed.count, closed.digest) == (Kind.EPOCH_CLOSED, seen, root)
        assert await close(world, A) == note or parse_note(await close(world, A)).checkpoint == end, (
            "again: nothing new"
        )
        with pytest.raises(EpochOverError, match=f"entry {end.size - 1} closed this epoch"):
            world[A].open()

        recovery = await recover(world, A)
        assert recovery.end == end
        assert recovery.entered.deliveries == 0, "nothing was lost"
        await world[A].start()
        await world.connected()
        await until(lambda: world[A].node.witnessed[0] > 0)
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        assert world[A].node.view.epoch == 2
    found = paired(world, A, B, C)
    assert (found.one_sided, found.lost, found.behind) == ([], [], [])


async def test_a_node_that_is_behind_what_a_member_saw_closes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await all_receipted(world, A)
        await world[A].stop()
        backup(world[A], tmp_path / "backup")
        await world[A].start()
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await all_receipted(world, A)
        await world[A].stop()
        lock = (world[A].home / LOCK).read_bytes()
        assert lock
        gathered, _ = await gather(world, A)
        shown = [(each.peer, text) for each in gathered.recovered for _, text in each.notes]
        restore(world[A], tmp_path / "backup")
        (world[A].home / LOCK).unlink()
        for suffix in ("-wal", "-shm"):
            (world[A].home / f"{LOCK}{suffix}").unlink(missing_ok=True)
        SqliteLock.create(world[A].home / LOCK, "hk-sb.exercise.example/log/1").close()
        node = opened(world[A])
        try:
            size = node.log.size
            with pytest.raises(RolledBackError):
                close_epoch(node, shown)
            assert node.log.size == size
        finally:
            node.stop()
