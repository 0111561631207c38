"""Two live copies of one node, started together: at most one signs on. Attack 7, row 18.

Copies that both passed the question of their start, because nobody had seen anything of either yet, find each other by
what the members hold: whoever is not vouched for by most of them stops.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from audit.entry.entry import Kind
from audit.note.checkpoint import Checkpoint
from exchange.node.copy_detection import Vouching
from exchange.node.node import Node
from exchange.node.rollback_check import RolledBackError
from exchange.rpc.transport import status
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.cli.failure import failure_of
from keys.errors import UnavailableError
from tests.flow.test_fork import delivered
from tests.flow.test_start import PATIENT, CountingSigner
from tests.flow.world import PATIENCE_SECONDS, QUICK, Member, World, bulletin, until

A, C, D, E = "HK-IMMD", "HK-SB", "TH-DSI", "TW-NHRC"


def meet(member: Member, *others: Member) -> None:
    """Let a member's network reach others from now on."""
    for other in others:
        assert other.running is not None
        member.endpoints[other.agency] = [f"127.0.0.1:{other.running.peers_port}"]


@asynccontextmanager
async def copied(tmp_path: Path) -> AsyncIterator[tuple[World, Member, Member]]:
    """Yield a node that never ran, its copy, and three other members that serve; nobody reaches anybody yet."""
    world = World(tmp_path / "world", (A, C, D, E))
    home = world[A]
    copy = Member(home.agency, shutil.copytree(home.home, tmp_path / "copy"), home.records, {}, QUICK)
    for each in world.members.values():
        each.endpoints = {}
    for agency in (C, D, E):
        await (await world[agency].serve(alone=True)).ready()
    try:
        yield world, home, copy
    finally:
        await asyncio.gather(*(each.stop() for each in (home, copy, *world.members.values())))


async def begin(member: Member, *others: Member, followed: bool = True) -> None:
    """Start a copy that reaches some members: they answer, and none of them holds anything of another copy."""
    meet(member, *others)
    await (await member.serve()).ready()
    for other in others if followed else ():
        meet(other, member)
    await until(lambda: names(member) == {witness(each) for each in others})


def names(member: Member) -> set[str]:
    return member.node.vouching.names


def witness(member: Member) -> str:
    own = member.node.view.federation.roster.member(member.agency)
    assert own is not None
    return own.witness_name


def stopped(member: Member) -> bool:
    return isinstance(member.node.writer.failure, RolledBackError)


async def grow(member: Member, *recipients: str) -> None:
    """Enter something more than another copy has."""
    for recipient in recipients:
        await member.publish(bulletin(A, recipient))


@pytest.mark.parametrize("late", ["the copy", "the home"])
async def test_attack_07_a_copy_that_passed_its_question_stops_when_it_meets_the_vouched_one_row_18(
    tmp_path: Path, late: str
) -> None:
    async with copied(tmp_path) as (world, home, copy):
        first, second = (home, copy) if late == "the copy" else (copy, home)
        await begin(first, world[C], world[D])  # two of three others cosign what it signed
        await begin(second, world[E])  # E has seen nothing of the first one
        assert first.node.vouching.by_most(first.node.view)
        assert not second.node.vouching.by_most(second.node.view)
        await grow(first, C, D, C, D)
        signer = CountingSigner(second.node)
        assert second.running is not None
        leaving = asyncio.create_task(second.running.run_until_signal())
        meet(second, world[C])
        await until(lambda: stopped(second))
        node, signed, size = second.node, signer.signed, second.node.log.size
        with pytest.raises(UnavailableError, match="the node is stopping"):
            await node.writer.submit(node._enter_start)
        with pytest.raises(RolledBackError, match=f"{C} holds our checkpoint of size .*another copy of this node runs"):
            await asyncio.wait_for(leaving, PATIENCE_SECONDS)
        assert (signer.signed, node.log.size) == (signed, size)
        assert '"own-log-contradicted"' in second.log.getvalue()
        assert any((second.home / "evidence").glob(f"held-by-{C}-*.checkpoint"))
        # The one that most members vouch for meets what E has seen: it alarms, enters it and goes on.
        meet(first, world[E])
        await until(lambda: first.bodies(Kind.OWN_KEY_MISUSE) != [])
        assert '"own-key-misused"' in first.log.getvalue()
        await delivered(first, world[C])
        assert first.node.writer.failure is None


async def test_attack_07_of_two_copies_that_no_majority_vouches_for_neither_signs_on_row_18(tmp_path: Path) -> None:
    async with copied(tmp_path) as (world, home, copy):
        await begin(home, world[C])
        await begin(copy, world[D])
        meet(home, world[D])
        meet(copy, world[C])
        await until(lambda: stopped(home) and stopped(copy))
        for each in (home, copy):
            assert each.bodies(Kind.OWN_KEY_MISUSE) == []  # nothing is added to a history that may be the wrong one


async def test_attack_07_a_copy_that_only_a_witness_knows_another_history_of_stops_row_18(tmp_path: Path) -> None:
    """The member follows this copy, so its echo is right; but it has cosigned the other one, and says so when asked."""
    async with copied(tmp_path) as (world, home, copy):
        await begin(home, world[C], followed=False)
        await begin(copy, world[E])
        await grow(copy, C, D, C, D)
        meet(world[C], copy)
        await until(lambda: world[C].node.reads.peer_checkpoint(A) is not None)
        meet(copy, world[C])
        await until(lambda: stopped(copy))
        assert "with another history than this log" in str(copy.node.writer.failure)
        await copy.stop()
        # At the next start the question alone finds it.
        copy.endpoints = {}
        meet(copy, world[C])
        await copy.serve()
        await until(lambda: stopped(copy))
        assert not copy.node.begun


async def test_attack_07_of_two_copies_started_in_one_moment_at_most_one_signs_on_row_18(tmp_path: Path) -> None:
    """Whatever order the machine brings them in: each witness goes forward on one history alone."""
    async with copied(tmp_path) as (world, home, copy):
        for each in (home, copy):
            meet(each, world[C], world[D], world[E])
        await asyncio.gather(home.serve(), copy.serve())
        await until(lambda: stopped(home) or stopped(copy))


@pytest.mark.parametrize("late", ["the copy", "the home"])
async def test_attack_07_control_one_of_the_two_alone_meets_everybody_and_signs_on_row_18(
    tmp_path: Path, late: str
) -> None:
    """Control: the same steps, and the other copy stays off."""
    async with copied(tmp_path) as (world, home, copy):
        only = copy if late == "the copy" else home
        await begin(only, world[E])
        meet(only, world[C], world[D])
        meet(world[C], only)
        await until(lambda: only.node.vouching.by_most(only.node.view))
        await delivered(only, world[C])
        assert only.node.writer.failure is None
        assert only.bodies(Kind.OWN_KEY_MISUSE) == []
        assert '"own-' not in only.log.getvalue()  # neither own-key-misused nor own-log-contradicted


async def test_a_node_that_may_be_a_copy_cosigns_for_nobody(tmp_path: Path) -> None:
    """Its lock is a copy, too: before it has begun, and after it stopped, its witness says nothing."""
    world = World(tmp_path, (A, C), settings=PATIENT)
    await (await world[A].serve(alone=False, node=begun(world[A]))).ready()
    world.endpoints.pop(A)
    await world[C].serve()  # it asks, and reaches nobody
    note = world[A].node.note
    async with world[A].dial(world[C]) as opened:
        stub = node_pb2_grpc.AuditLogStub(opened)
        request = node_pb2.AddCheckpointRequest(body=f"old 0\n\n{note}".encode())
        assert isinstance(await refusal(stub, request), UnavailableError)
        meet(world[C], world[A])
        assert world[C].running is not None
        await world[C].running.ready()
        await until(lambda: names(world[A]) == {witness(world[C])})  # control: now it cosigns
        own = Checkpoint(origin="x/log/1", size=2, root=bytes(32))
        world[C].node.fail(RolledBackError(A, replace(own, size=3), own, running=True))
        assert isinstance(await refusal(stub, request), UnavailableError)


def begun(member: Member) -> Node:
    node = member.open()
    node.start()
    return node


async def refusal(stub: node_pb2_grpc.AuditLogAsyncStub, request: node_pb2.AddCheckpointRequest) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.AddCheckpoint(request)
    return status.error_of(caught.value)


@pytest.mark.parametrize("halted", [True, False])
def test_a_node_that_may_be_a_copy_publishes_nothing_more(tmp_path: Path, halted: bool) -> None:
    """What is published carries a second signature of the log; not halted is the control."""
    node = World(tmp_path, (A, C))[A].open()
    if halted:
        node.files.halt()
    node.start()
    assert (node.files.publish_now()[0] == 0) is halted
    node.stop()


def test_only_other_members_cosignatures_of_this_run_vouch_for_it(tmp_path: Path) -> None:
    """More than half of three are two."""
    member = World(tmp_path, (A, C, D, E))[A]
    node = member.open()
    view, vouching = node.view, Vouching(began=7)
    names = {each.agency: each.witness_name for each in view.federation.roster.members}
    vouching.add(names[C], 8)
    for nothing in ((names[D], 7), (names[A], 9), ("oversight.example/witness", 9), (names[C], 9)):
        vouching.add(*nothing)
        assert not vouching.by_most(view)
    vouching.add(names[D], 8)
    assert vouching.by_most(view)
    node.stop()


def test_what_an_operator_reads_of_a_copy_that_stopped_row_18() -> None:
    own = Checkpoint(origin="hk-immd.exercise.example/log/1", size=97, root=bytes(32))
    shown: Sequence[int] = (120, 90)
    for size in shown:
        failure = failure_of(RolledBackError(D, replace(own, size=size), own, running=True))
        assert failure is not None
        assert failure.exit_code == 6
        assert f"{D} holds our checkpoint of size {size}" in failure.message
        assert "97" in failure.message
        assert "another copy of this node runs" in failure.message
        assert "leave this one off" in failure.hint
        assert "exchange node recover --from-peers" in failure.hint
