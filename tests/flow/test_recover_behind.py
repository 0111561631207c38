"""A witness that had fallen behind when a node was destroyed goes on with it, and only on the other witnesses' word."""

from __future__ import annotations

import time
from pathlib import Path

from audit.note.checkpoint import parse_note
from audit.note.cosignature import add_lines, cosign
from audit.verify.trust import policy_of
from exchange.evidence.epoch_proofs import end_notes
from exchange.recovery.proven_answers import Recovered
from exchange.rpc.recovery import rebuild
from keys.roster import parse_roster
from tests.flow.recovering import Recovery, destroy, recover
from tests.flow.test_recover import A, B, C, all_receipted, all_witnessed, held_by
from tests.flow.world import World, bulletin, keys_of, until
from tests.support.home_files import LOCK


async def test_a_witness_that_fell_behind_is_brought_to_the_end_and_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        origin = world[A].node.view.origin
        await until(lambda: held_by(world[C], origin) > 0)
        await world[C].stop()
        await world[A].publish(bulletin(A, B))
        await all_receipted(world, A)
        await all_witnessed(world, A, B)
        await world[A].stop()
        destroy(world[A])
        await world[C].start()
        recovery = await recover(world, A)
        assert held_by(world[B], origin) == recovery.end.size
        assert 0 < held_by(world[C], origin) < recovery.end.size
        [note] = kept_ends(world, recovery)
        policy = policy_of(parse_roster(world[A].records.roster.payload), A)
        assert (policy.quorum, len(policy.judge(note).names)) == (2, 1)

        await world[A].start()
        await world.connected()
        await until(lambda: world[A].node.witnessed[0] > 0)
        read = parse_note(world[A].node.witnessed[1])
        assert read.checkpoint.origin.endswith("/log/2")
        assert policy.judge(read).reached
        assert held_by(world[C], origin) == recovery.end.size


async def test_a_false_line_of_one_peer_does_not_spoil_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        await all_witnessed(world, A, B, C)
        await world[A].stop()
        recovery = await recover(world, A)
        gathered = recovery.gathered
        view = gathered.view
        true, end = rebuild.choose_end(gathered)
        other = parse_note(true).checkpoint
        wrong = type(other)(origin=other.origin, size=other.size, root=bytes(32))
        name = view.federation.roster.member(B).witness_name  # type: ignore[union-attr] # it is there
        false = add_lines(true, cosign(wrong, name, keys_of(B).node.witness, 1_795_000_000))
        first = gathered.recovered[0]
        spoilt = type(gathered)(
            view=view,
            recovered=(
                Recovered(peer=first.peer, notes=((false, end),), deliveries=first.deliveries, receipts=first.receipts),
                *gathered.recovered[1:],
            ),
            without=(),
        )
        note, chosen = rebuild.choose_end(spoilt)
        assert chosen == end
        assert policy_of(view.federation.roster, A).judge(note).names, "only the true lines are kept"
        assert [parse_note(each).checkpoint for each in kept_ends(world, recovery)] == [end]
        kept = [*world[A].home.glob("**/checkpoint*"), *world[A].home.glob("**/witnessed")]
        for path in (*kept, *world[A].home.glob("recovered/*/given/*")):
            path.unlink()
        assert kept_ends(world, recovery) == [], "nothing of it is here any more"


async def test_a_witness_that_is_two_epochs_behind_is_brought_through_each_of_them(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        first = world[A].node.view.origin
        await all_witnessed(world, A, C)
        await world[C].stop()
        ends = []
        for _ in range(2):
            await world[A].publish(bulletin(A, B))
            await until(lambda: receipted_by(world, B))
            await all_witnessed(world, A, B)
            await world[A].stop()
            (world[A].home / LOCK).unlink()
            ends.append((await recover(world, A, C)).end)
            await world[A].start()
            await world.connected()
        assert world[A].node.view.epoch == 3
        await world[C].start()
        await world.connected()
        await until(lambda: world[A].node.witnessed[0] > 0, 60)  # the quorum is both
        assert parse_note(world[A].node.witnessed[1]).checkpoint.origin.endswith("/log/3")
        assert [held_by(world[C], each.origin) for each in ends] == [each.size for each in ends]
        assert ends[0].origin == first


def receipted_by(world: World, peer: str) -> bool:
    """Return whether a member has receipted all that A has sent it in its newest epoch."""
    node = world[A].node
    lanes = [each for each in node.reads.lanes() if each.outgoing and each.peer == peer]
    return all(each.taken == each.sequence for each in lanes if each.epoch == node.view.epoch)


def kept_ends(world: World, recovery: Recovery) -> list[str]:
    """Return the ends of earlier epochs that A can show, as its node in the new epoch does."""
    view = rebuild.check_manifest(recovery.manifest, recovery.gathered, time.time_ns() // 1_000_000)
    return end_notes(world[A].home, view)
