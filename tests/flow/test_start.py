"""What a node must know before it signs, over real mutual TLS: rows 18, 29 and 61, attacks 6 and 7."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from audit.entry.entry import Kind, parse_body, parse_entry
from audit.note.checkpoint import Checkpoint, parse_note
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.verify import verify_log
from exchange.node.clock import NodeClock
from exchange.node.home import OccupiedError, is_signing, occupy, running_process, say_signing
from exchange.node.node import Node
from exchange.node.rollback_check import RolledBackError
from exchange.rpc.serve import running_node
from exchange.rpc.transport import status
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.agency import TLS_FILE
from keys.certificate import make_node_leaf, new_private_key
from keys.cli.failure import failure_of
from keys.errors import UnavailableError
from tests.flow.world import MADE_MS, NEVER_SECONDS, QUICK, Member, World, bulletin, until

A, B, C = "HK-IMMD", "TH-DSI", "TW-NHRC"
PATIENT = replace(QUICK, head_seconds=30.0, recheck_seconds=60.0, alone_seconds=NEVER_SECONDS)
ALONE_SECONDS = 0.4


def kinds_of(node: Node) -> list[Kind]:
    reads = node.reads
    return [Kind(parse_body(parse_entry(entry).body).kind) for entry in reads.read_entries(0, reads.size())]


class CountingSigner:
    """Our log's key, and how often it has signed."""

    def __init__(self, node: Node) -> None:
        self.inner, self.signed = node.view.log_signer, 0
        self.key = self.inner.key
        node.writer._signer = self  # the writer is handed its signer when it is made

    def sign(self, message: bytes) -> bytes:
        self.signed += 1
        return self.inner.sign(message)


async def exchanged(world: World) -> None:
    """Have each side know a newer checkpoint of the other."""
    done = len(world[A].bodies(Kind.RECEIPT_RECORDED)), len(world[B].bodies(Kind.RECEIPT_RECORDED))
    await world[A].publish(bulletin(A, B))
    await world[B].publish(bulletin(B, A))
    await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) > done[0])
    await until(lambda: len(world[B].bodies(Kind.RECEIPT_RECORDED)) > done[1])


@pytest.mark.parametrize("old_lock", [True, False])
async def test_attack_06_a_restored_copy_is_refused_before_its_first_signature_row_18(
    tmp_path: Path, old_lock: bool
) -> None:
    world = World(tmp_path, (A, B))
    copies = []
    async with world.serving():
        for number in range(3):
            await exchanged(world)
            await world[A].stop()
            copies.append(shutil.copytree(world[A].home, tmp_path / f"copy-{number}"))
            await world[A].start()
        await exchanged(world)
        await world[A].stop()
        newest = shutil.copytree(world[A].home, tmp_path / "newest")
        for copy in copies:
            shutil.rmtree(world[A].home)
            shutil.copytree(copy, world[A].home)
            if not old_lock:
                shutil.copy(newest / "lock.db", world[A].home / "lock.db")
                with pytest.raises(Exception, match="is an older copy"):  # no network is needed to see that
                    world[A].open()
                continue
            node = world[A].open()
            signer = CountingSigner(node)
            running = await world[A].serve(node=node)
            with pytest.raises(RolledBackError, match=f"{B} holds our checkpoint of size .*, and this log ends at"):
                await running.ready()
            await running.drain(0.2)
            assert signer.signed == 0
            assert any((world[A].home / "evidence").iterdir())
        # Control: the newest copy goes on.
        shutil.rmtree(world[A].home)
        shutil.copytree(newest, world[A].home)
        await world[A].start()
        await exchanged(world)


def test_what_an_operator_reads_of_a_restored_copy_row_18() -> None:
    own = Checkpoint(origin="hk-immd.exercise.example/log/1", size=97, root=bytes(32))
    failure = failure_of(RolledBackError(B, replace(own, size=120), own))
    assert failure is not None
    assert failure.exit_code == 6
    assert failure.message.startswith("TH-DSI holds our checkpoint of size 120, and this log ends at 97")
    assert "exchange node recover --from-peers" in failure.hint


async def test_attack_06_control_without_the_question_a_restored_copy_forks_its_log_row_18(tmp_path: Path) -> None:
    """Control: what the question is for."""
    world = World(tmp_path, (A, B))
    async with world.serving():
        await exchanged(world)
        await world[A].stop()
        copy = shutil.copytree(world[A].home, tmp_path / "copy")
        await world[A].start()
        await exchanged(world)
        theirs = world[B].node.reads.peer_checkpoint(A)
        await world[A].stop()
    shutil.rmtree(world[A].home)
    shutil.copytree(copy, world[A].home)
    node = world[A].open()
    node.start()  # as a node without sockets does
    for _ in range(60):
        node.writer.run(lambda work: work.rows.set_meta("x", b"y"))
        node.writer.run(lambda work: node._enter_start(work))
    assert theirs is not None
    known = parse_note(theirs[1]).checkpoint
    assert node.log.size > known.size
    assert node.log.root(known.size) != known.root
    node.stop()


async def test_attack_07_of_two_live_copies_on_one_host_the_second_signs_nothing_row_18(tmp_path: Path) -> None:
    """The second one's swap finds the lock elsewhere."""
    world = World(tmp_path, (A, B))
    first, second = world[A].open(), world[A].open()
    first.start()
    signer = CountingSigner(second)
    with pytest.raises(UnavailableError):
        second.start()
    assert second.writer.failure is not None
    assert signer.signed == 0
    first.stop()
    second.stop()


async def test_attack_07_a_live_copy_on_another_host_is_refused_by_what_the_peers_hold_row_18(tmp_path: Path) -> None:
    """Both live, each with its own lock."""
    world = World(tmp_path, (A, B))
    async with world.serving():
        await exchanged(world)
        await world[A].stop()
        shutil.copytree(world[A].home, tmp_path / "clone")
        await world[A].start()
        await exchanged(world)
        clone = Member(world[A].agency, tmp_path / "clone", world[A].records, dict(world.endpoints), QUICK)
        node = clone.open()
        signer = CountingSigner(node)
        running = await clone.serve(node=node)
        with pytest.raises(RolledBackError):
            await running.ready()
        assert signer.signed == 0
        await running.drain(0.2)
        await exchanged(world)  # the first one goes on


async def test_until_somebody_has_answered_nothing_is_signed_and_lists_are_read_row_61(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=PATIENT)
    async with world.serving():
        await exchanged(world)
    running = await world[A].serve()
    signer = CountingSigner(world[A].node)
    before = world[A].node.reads.size()
    await asyncio.sleep(0.5)
    async with world[A].desk() as desk:
        assert len((await desk.Inbox(node_pb2.InboxRequest())).items) == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await desk.PublishOne(node_pb2.PublishOneRequest(statement=world[A].statement(bulletin(A, B)).to_message()))
        error = status.error_of(caught.value)
        assert isinstance(error, UnavailableError)
        assert "no other member has told" in str(error)
        item = (await desk.Inbox(node_pb2.InboxRequest())).items[0]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await desk.Read(node_pb2.ReadRequest(read=world[A].read_request(item).to_message()))
        assert isinstance(status.error_of(caught.value), UnavailableError)
    assert (signer.signed, world[A].node.reads.size()) == (0, before)
    await world[B].serve()  # each is asked while the other waits: "none" and a checkpoint alike are answers
    await asyncio.gather(running.ready(), world[B].running.ready())
    assert kinds_of(world[A].node)[before] == Kind.NODE_STARTED
    await exchanged(world)


async def test_health_says_that_nothing_serves_until_the_node_may_sign(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=PATIENT)
    async with world.serving():
        await exchanged(world)
    running = await world[B].serve()
    async with world[A].dial(world[B]) as opened:
        watched = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(service="exchange.v1.Lane"))
        assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not world[B].node.begun
        await world[A].serve()
        await asyncio.gather(running.ready(), world[A].running.ready())
        assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
        watched.cancel()
    await world[A].stop()
    await world[B].stop()


def test_the_status_of_a_home_tells_a_node_that_signs_from_one_that_asks_yet(tmp_path: Path) -> None:
    handle = occupy(tmp_path)
    assert (running_process(tmp_path), is_signing(tmp_path)) == (os.getpid(), False)
    say_signing(tmp_path)
    assert (running_process(tmp_path), is_signing(tmp_path)) == (os.getpid(), True)
    with pytest.raises(OccupiedError, match=f"process {os.getpid()}$"):
        occupy(tmp_path)
    os.close(handle)
    assert (running_process(tmp_path), is_signing(tmp_path)) == (None, False)


async def test_the_question_is_answered_before_the_answerers_own_start_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C), settings=PATIENT)
    async with world.serving():
        await exchanged(world)
        size = world[A].node.reads.size()
    running = await world[B].serve()
    assert not world[B].node.begun
    async with world[A].dial(world[B]) as opened:
        stub = node_pb2_grpc.AuditLogStub(opened)
        member = world[B].node.view.federation.roster.member(world[A].agency)
        assert member is not None
        answer = await stub.Checkpoint(node_pb2.CheckpointRequest(origin=member.origin(1)))
        assert 0 < parse_note(answer.note).checkpoint.size <= size
        assert abs(answer.time_ms / 1000 - time.time()) < 60
    assert not world[B].node.begun
    await running.drain(0.2)


async def test_a_federation_whose_members_have_never_met_starts_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C), settings=PATIENT, introduced=False)
    async with world.serving():
        await world.connected()
        assert all(Kind.STARTED_ALONE not in kinds_of(world[each].node) for each in (A, B, C))


async def test_an_operator_may_let_it_go_on_alone_and_every_verdict_says_so_row_61(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=replace(PATIENT, alone_seconds=ALONE_SECONDS))
    node, began = world[A].open(), time.monotonic()
    before = node.reads.size()
    running = await world[A].serve(node=node, alone=True)
    await running.ready()
    assert time.monotonic() - began >= ALONE_SECONDS  # not before the minute is over
    assert kinds_of(world[A].node)[before : before + 2] == [Kind.STARTED_ALONE, Kind.NODE_STARTED]
    key = world[A].node.vkey
    assert "started alone" in rules(world[A], key)
    await world[B].serve()
    await world.connected()
    await exchanged(world)
    assert "nobody has answered since" not in rules(world[A], key)


async def test_control_nobody_goes_on_alone_without_an_operator_row_61(tmp_path: Path) -> None:
    """Control of the test before."""
    world = World(tmp_path, (A, B), settings=replace(PATIENT, alone_seconds=0.0))
    running = await world[A].serve()
    await asyncio.sleep(0.5)
    assert not world[A].node.begun
    await running.drain(0.2)


def rules(member: Member, key: object) -> str:
    """Verify what is published, and give what the verdict says of the log's rules."""
    node = member.node
    node.files.publish_now()
    external = [ExternalCheckpoint(name="note", data=node.note.encode())]
    report = verify_log(node.paths.log, key=node.vkey, external=external)
    assert report.exit_code in (0, 7)
    return next(step.detail for step in report.steps if step.name == "rules")


@pytest.mark.parametrize("introduced", [True, False])
@pytest.mark.parametrize("pinned", [False, True])
async def test_an_answer_counts_only_under_the_leaf_that_the_peers_key_sheet_pins_row_61(
    tmp_path: Path, pinned: bool, introduced: bool
) -> None:
    """Whoever has a withdrawn leaf of B's must not say "none" in its place; B itself is the control."""
    world = World(tmp_path, (A, B), settings=PATIENT, introduced=introduced)
    keys, private = world[B].keys, new_private_key(os.urandom)
    if not pinned:
        leaf = make_node_leaf(keys.authority, private.public_key(), MADE_MS, os.urandom)
        (world[B].home / TLS_FILE).write_bytes(leaf)
    shown = keys.node if pinned else replace(keys.node, tls_private=private)
    peer = await running_node.serve(world[B].open(), shown, running_node.ServeOptions(settings=PATIENT))
    world.endpoints[B] = [f"127.0.0.1:{peer.peers_port}"]
    running = await world[A].serve()
    if pinned:
        await running.ready()
    else:
        await asyncio.sleep(0.6)
    assert world[A].node.begun is pinned
    await asyncio.gather(running.drain(0.2), peer.drain(0.2))


@pytest.mark.parametrize("wrong", [3600, -3600, 86_400, -86_400, 365 * 86_400])
async def test_a_clock_that_two_peers_contradict_signs_nothing_at_the_start_row_29(tmp_path: Path, wrong: int) -> None:
    world = World(tmp_path, (A, B, C), settings=PATIENT)
    await asyncio.gather(*(world[each].serve() for each in (B, C)))
    await asyncio.gather(*(world[each].running.ready() for each in (B, C)))
    node = world[A].open()
    signer = CountingSigner(node)
    shift = [wrong * 1_000_000]
    clock = NodeClock(lambda: time.time_ns() // 1000 + shift[0], lambda: time.monotonic_ns() // 1000)
    clock.start(node.log.time_us)
    node.clock = node.writer._clock = clock
    running = await world[A].serve(node=node)
    await until(lambda: '"clock-in-doubt"' in world[A].log.getvalue())
    # A clock set back is told by the log itself, and that is one entry; one set forward only by the others.
    entered = [kind for kind in kinds_of(node) if kind == Kind.CLOCK_STEPPED]
    assert signer.signed == len(entered) == (1 if wrong < 0 else 0)
    assert not node.begun
    shift[0] = 0
    await running.ready()  # control: with the clock set it goes on by itself
    assert node.begun
