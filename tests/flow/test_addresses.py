"""Records on their way over connections that only one side can make; and nodes that move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from audit.entry.entry import Kind, Outcome
from exchange.acts.directory import RecordKind
from exchange.rpc.lane.records import MAX_RECORDS
from exchange.v1 import node_pb2, node_pb2_grpc
from tests.flow.moving import manifest, mover, moving_world
from tests.flow.test_admin import adopt
from tests.flow.test_records import refusal, sheet, version
from tests.flow.world import Member, bulletin, until

A, B, C = "HK-IMMD", "TH-DSI", "TW-NHRC"
IN_FORCE_SECONDS = 30.0


def manifest_version(member: Member, of: str) -> int:
    return member.node.view.federation.manifests[of].record.version  # type: ignore[index] # a plain text stands for the code


@asynccontextmanager
async def only_dialled(member: Member, *others: Member) -> AsyncIterator[None]:
    """Run a node that can dial nobody, so that it starts alone, and others that follow it."""
    running = await member.serve(alone=True)
    await running.ready()
    for each in others:
        await each.serve()
    await until(lambda: running.following == len(others))
    try:
        yield
    finally:
        for each in (member, *others):
            await each.stop()


async def test_a_node_that_moves_while_bulletins_wait_gets_and_gives_them_all(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[B].stop()
        await world[A].publish(*(bulletin(A, B) for _ in range(3)), bulletin(A, B, urgency=2))
        mover(world, B).move()
        opened = world[B].open()
        opened.adopt_now(RecordKind.MANIFEST, manifest(world[B], 2, endpoints=[mover(world, B).address]))
        opened.stop()
        await world[B].start()
        await world[B].publish(*(bulletin(B, A, C) for _ in range(3)))
        await until(lambda: len(world[A].bodies(Kind.RECEIVED)) == len(world[C].bodies(Kind.RECEIVED)) == 3)
        await until(lambda: len(world[B].bodies(Kind.RECEIVED)) == 4)
        await world.connected()
        assert [manifest_version(world[each], B) for each in (A, C)] == [2, 2]


async def test_a_node_starts_though_all_others_have_moved_while_it_was_away(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
    mover(world, B).move()
    opened = world[B].open()
    opened.adopt_now(RecordKind.MANIFEST, manifest(world[B], 2, endpoints=[mover(world, B).address]))
    opened.stop()
    async with world.serving():  # A asks at the old address, where nobody is; B dials A and tells it
        await world.connected()
        assert manifest_version(world[A], B) == 2


async def test_an_operator_tells_a_node_that_waits_where_another_has_moved(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B), hidden=(A,))  # so that B cannot tell it
    async with only_dialled(world[B], world[A]):
        pass
    mover(world, B).move()
    new = manifest(world[B], 2, endpoints=[mover(world, B).address])
    opened = world[B].open()
    opened.adopt_now(RecordKind.MANIFEST, new)
    opened.stop()
    waiting = await world[A].serve()
    running = await world[B].serve(alone=True)
    await running.ready()
    (result,) = await adopt(world[A], new)
    assert result.refusal.code == "UNAVAILABLE"
    await waiting.ready()
    await until(lambda: manifest_version(world[A], B) == 2)  # offered by B, or fetched from it


async def test_no_more_records_are_given_at_once_than_are_verified_in_a_moment(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B))
    async with world.serving(), world[A].dial(world[B]) as channel:
        stub = node_pb2_grpc.DirectoryStub(channel)
        given = [manifest(world[A], number).to_message() for number in range(2, 7)]
        assert await refusal(stub.Offer(node_pb2.OfferRequest(given=given))) == "TOO_MANY"
        assert manifest_version(world[B], A) == 1
        told = node_pb2.OfferRequest(records=[node_pb2.AdoptedRecord()] * (MAX_RECORDS + 1))
        assert await refusal(stub.Offer(told)) == "TOO_MANY"


async def test_a_new_manifest_of_one_is_in_force_at_all_connected_peers(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        (result,) = await adopt(world[A], manifest(world[A], 2, people=["robot-1"]))
        assert result.told == 2
        everywhere = lambda: all(manifest_version(world[each], A) == 2 for each in (A, B, C))  # noqa: E731
        await until(everywhere, IN_FORCE_SECONDS)
        assert [each.id for each in world[C].node.view.federation.manifests[world[A].agency].record.officers] == [
            "robot-1"
        ]


async def test_records_travel_both_ways_where_only_one_side_can_dial(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B, C), hidden=(A, C))  # A and C can only dial, B can only be dialled
    async with only_dialled(world[B], world[A], world[C]):
        await adopt(world[A], manifest(world[A], 2), sheet(world[A], 2))
        await until(lambda: manifest_version(world[B], A) == version(world[B], A) == 2, IN_FORCE_SECONDS)
        await until(lambda: manifest_version(world[C], A) == version(world[C], A) == 2, IN_FORCE_SECONDS)
        await adopt(world[B], sheet(world[B], 2))
        await until(lambda: version(world[A], B) == version(world[C], B) == 2, IN_FORCE_SECONDS)


async def test_a_node_that_can_only_dial_brings_what_it_adopted_while_it_was_away(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B), hidden=(A,))
    async with only_dialled(world[B], world[A]):
        pass
    opened = world[A].open()
    opened.adopt_now(RecordKind.KEY_SHEET, sheet(world[A], 2))
    opened.stop()
    async with only_dialled(world[B], world[A]):
        await until(lambda: version(world[B], A) == 2, IN_FORCE_SECONDS)


async def test_a_peer_behind_for_three_versions_gets_the_newest(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[B].stop()
        for number in (2, 3, 4):
            mover(world, A).move()
            await adopt(world[A], manifest(world[A], number, endpoints=[mover(world, A).address]))
            await until(lambda number=number: manifest_version(world[C], A) == number)  # type: ignore[misc] # its default
        await world[A].stop()
        await world[A].start()
        await world[B].start()
        await world.connected()
        assert manifest_version(world[B], A) == 4


async def test_the_address_announced_ahead_of_a_move_keeps_nobody_from_the_old_one(tmp_path: Path) -> None:
    world = moving_world(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        mover(world, B).move()
        await adopt(world[B], manifest(world[B], 2, endpoints=[mover(world, B).address]))
        await until(lambda: manifest_version(world[A], B) == 2)
        await world[A].stop()
        await world[A].start()  # B still listens where it did
        await world.connected()
        await world[B].stop()
        await world[B].start()
        await world.connected()


async def test_row_60_two_key_sheets_of_one_version_that_meet_one_way_are_kept_and_stop_adoption(
    tmp_path: Path,
) -> None:
    world = moving_world(tmp_path, (A, B, C), hidden=(A,))
    for agency, shift in ((A, 0), (B, 1000)):
        opened = world[agency].open()
        opened.start()
        opened.adopt_now(RecordKind.KEY_SHEET, sheet(world[C], 2, shift=shift))
        opened.stop()
    async with only_dialled(world[B], world[A]):  # what B gets of it A has offered
        await until(lambda: all('"two-records-one-version"' in world[each].log.getvalue() for each in (A, B)))
        for agency in (A, B):
            refused = [body for body in world[agency].bodies(Kind.REFUSED) if body.digest]
            assert [body.outcome for body in refused] == [Outcome.EQUIVOCATION]
            ((_, what, _),) = world[agency].node.store.evidence()
            assert what == f"key-sheet {C}"
        await adopt(world[A], sheet(world[C], 3))
        await asyncio.sleep(0.5)
        assert version(world[B], C) == 2  # its operator has not looked
        await adopt(world[B], sheet(world[C], 3))
    async with only_dialled(world[B], world[A]):  # both have looked, and what comes next is adopted again
        await adopt(world[A], sheet(world[C], 4))
        await until(lambda: version(world[B], C) == 4, IN_FORCE_SECONDS)
