"""A witness that had fallen behind when a node was destroyed goes on with it, and only on the other witnesses' word."""

from __future__ import annotations

from pathlib import Path

from audit.checkpoint import parse_note
from audit.cosignature import add_lines, cosign
from audit.trust import policy_of
from exchange.recovery import Recovered
from exchange.rpc import rebuilding
from keys.roster import parse_roster
from tests.flow.recovering import destroy, recover
from tests.flow.test_recover import A, B, C, all_receipted, all_witnessed, held_by
from tests.flow.world import World, bulletin, keys_of, until


async def test_a_witness_that_fell_behind_is_brought_to_the_end_and_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        origin = world[A].node.house.origin
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
        note = rebuilding.end_note(world[A].home, recovery.end)
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
        house = gathered.house
        true, end = rebuilding.choose_end(gathered)
        other = parse_note(true).checkpoint
        wrong = type(other)(origin=other.origin, size=other.size, root=bytes(32))
        name = house.federation.roster.member(B).witness_name  # type: ignore[union-attr] # it is there
        false = add_lines(true, cosign(wrong, name, keys_of(B).node.witness, 1_795_000_000))
        first = gathered.recovered[0]
        spoilt = type(gathered)(
            house=house,
            recovered=(
                Recovered(peer=first.peer, notes=((false, end),), deliveries=first.deliveries, receipts=first.receipts),
                *gathered.recovered[1:],
            ),
            without=(),
        )
        note, chosen = rebuilding.choose_end(spoilt)
        assert chosen == end
        assert policy_of(house.federation.roster, A).judge(note).names, "only the true lines are kept"
        assert rebuilding.end_note(world[A].home, end)
        assert not rebuilding.end_note(world[A].home, wrong)
        (world[A].home / rebuilding.RECOVERED / rebuilding.CHECKPOINT_FILE).write_text("nothing")
        assert not rebuilding.end_note(world[A].home, end)
