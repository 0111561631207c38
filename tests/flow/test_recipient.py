"""A recipient that misbehaves: what the sender refuses of its starts and its receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from audit.entry.entry import Kind
from audit.note.checkpoint import Checkpoint, parse_note, sign_checkpoint
from audit.note.fork import parse_fork, verify_fork
from exchange.node.rollback_check import RolledBackError
from exchange.rpc.lane import encode
from exchange.rpc.transport import status
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.errors import IntegrityError, RefusedError
from tests.flow.world import FEDERATION, PATIENCE_SECONDS, World, bulletin, keys_of, until

A, B = "HK-IMMD", "TH-DSI"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Yield a sender with two deliveries for a recipient that has received and receipted them, and went away."""
    made = World(tmp_path, (A, B))
    async with made.serving():
        await made[A].publish(bulletin(A, B), bulletin(A, B))
        await until(lambda: len(made[A].bodies(Kind.RECEIPT_RECORDED)) == 2)
        await until(lambda: made[A].node.vouching.by_most(made[A].node.view))
        await made[B].stop()
        yield made


@asynccontextmanager
async def following(world: World) -> AsyncIterator[Any]:
    async with world[B].dial(world[A]) as opened:
        yield node_pb2_grpc.LaneStub(opened).Follow(timeout=PATIENCE_SECONDS)


async def ended(call: Any) -> str:
    """Read a stream to its end; say with which refusal."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as caught:
        error = status.error_of(caught)
        assert isinstance(error, RefusedError)
        return error.code
    return "ended in order"


def start(*lanes: node_pb2.LanePosition, **fields: Any) -> node_pb2.FollowRequest:
    return node_pb2.FollowRequest(start=node_pb2.FollowStart(lanes=lanes, **fields))


def digest_of(world: World, sequence: int) -> bytes:
    state = world[A].node.reads.lane(outgoing=True, peer=B, lane_class=2, epoch=1)
    assert state is not None
    return world[A].node.reads.outbound(state.row, sequence - 1, 1)[0].digest


def forged(agency: str) -> str:
    """Sign a checkpoint of an agency's log with another agency's log key."""
    other = keys_of(A if agency == B else B).node.log
    origin = f"{agency.lower()}.{FEDERATION}/log/1"
    return sign_checkpoint(Checkpoint(origin=origin, size=9, root=bytes(32)), other)


FORGED = forged(B)
STARTS = {
    "receipts first": (node_pb2.FollowRequest(receipts=node_pb2.ReceiptBatch()), "MALFORMED"),
    "nothing at all": (node_pb2.FollowRequest(), "MALFORMED"),
    "start and receipts": (
        node_pb2.FollowRequest(start=node_pb2.FollowStart(), receipts=node_pb2.ReceiptBatch()),
        "MALFORMED",
    ),
    "a lane twice": (start(encode.lane_position(2, 1, 0, b""), encode.lane_position(2, 1, 0, b"")), "MALFORMED"),
    "more than was ever sent": (start(encode.lane_position(2, 1, 3, bytes(32))), "LANE_FORK"),
    "another delivery than was sent": (start(encode.lane_position(2, 1, 1, bytes(32))), "LANE_FORK"),
    "an epoch that never was": (start(encode.lane_position(2, 7, 1, bytes(32))), "LANE_UNKNOWN"),
    "an echo that is no checkpoint": (start(echo="x"), "MALFORMED"),
    "a third log's checkpoint that is none": (start(seen=["x"]), "MALFORMED"),
    "a third log's checkpoint that it has not signed": (start(seen=[FORGED]), "SIGNER_UNKNOWN"),
    "more checkpoints than there are logs": (start(seen=["x"] * 3), "TOO_MANY"),
    "too many records": (start(records=[node_pb2.AdoptedRecord()] * 4097), "TOO_MANY"),
}


@pytest.mark.parametrize("what", STARTS)
async def test_a_start_is_refused(world: World, what: str) -> None:
    request, code = STARTS[what]
    async with following(world) as call:
        await call.write(request)
        assert await ended(call) == code


async def test_a_recipient_that_holds_less_is_sent_it_again(world: World) -> None:
    async with following(world) as call:
        await call.write(start(encode.lane_position(2, 1, 1, digest_of(world, 1))))
        started = await call.read()
        assert {encode.class_of(each): each.sequence for each in started.started.lanes} == {1: 0, 2: 2}
        answer = await call.read()
        while not answer.batch.parcels:
            answer = await call.read()
        assert len(answer.batch.parcels) == 1
        call.cancel()


def receipts(world: World) -> list[node_pb2.DeliveryReceipt]:
    """Return the receipts that the sender holds already, or spoilt ones."""
    state = world[A].node.reads.lane(outgoing=True, peer=B, lane_class=2, epoch=1)
    assert state is not None
    made = []
    for row in world[A].node.reads.outbound(state.row, 0, 2):
        each = node_pb2.DeliveryReceipt(sequence=row.sequence)
        each.receipt.ParseFromString(row.receipt)
        made.append(each)
    return made


def batch(world: World, given: list[node_pb2.DeliveryReceipt], lane_class: int = 2) -> node_pb2.FollowRequest:
    known = world[A].node.reads.peer_checkpoint(B)
    made = node_pb2.ReceiptBatch(receipts=given, consistency_from=known[0] if known else 0)
    setattr(made, "class", lane_class)
    return node_pb2.FollowRequest(receipts=made)


async def give(world: World, request: node_pb2.FollowRequest) -> str:
    async with following(world) as call:
        await call.write(start(encode.lane_position(2, 1, 2, digest_of(world, 2))))
        await call.write(request)
        return await ended(call)


async def test_receipts_are_refused(world: World) -> None:
    good = receipts(world)
    other = node_pb2.DeliveryReceipt(sequence=3, receipt=good[0].receipt)
    mixed = node_pb2.DeliveryReceipt(sequence=3, receipt=good[0].receipt)
    mixed.receipt.proof = mixed.receipt.proof.rstrip("\n") + "x\n"
    before = world[A].entered()
    assert await give(world, batch(world, [])) == "MALFORMED"
    assert await give(world, batch(world, good[:1], lane_class=9)) == "MALFORMED"
    assert await give(world, batch(world, good[:1], lane_class=1)) == "LANE_UNKNOWN"
    assert await give(world, batch(world, [good[0], mixed])) == "RECEIPT_INVALID"
    assert await give(world, batch(world, [other])) == "RECEIPT_INVALID"  # for what was never sent
    assert await give(world, start()) == "MALFORMED"  # a second start
    assert world[A].entered() == before


async def test_receipts_that_are_shared_wrongly_are_refused(world: World) -> None:
    first, second = (each.receipt for each in receipts(world))
    before = world[A].entered()
    for entries, sequences, hashes, code in (
        ([first.entry, second.entry], [1, 2], [], "RECEIPT_INVALID"),  # too few
        ([first.entry, second.entry], [1, 2], [bytes(32)] * 60, "RECEIPT_INVALID"),
        ([second.entry, first.entry], [1, 2], [bytes(32)] * 3, "RECEIPT_INVALID"),  # not in the order of the log
        ([first.entry, second.entry], [2, 1], [bytes(32)] * 3, "RECEIPT_INVALID"),
        ([first.entry], [1, 2], [bytes(32)] * 3, "RECEIPT_INVALID"),
        ([first.entry] * 1001, range(1, 1002), [], "TOO_MANY"),
    ):
        made = batch(world, [])
        shared = made.receipts.shared
        shared.note = first.proof.partition("\n\n")[2]
        shared.entries.extend(entries)
        shared.sequences.extend(sequences)
        shared.hashes.extend(hashes)
        assert await give(world, made) == code
    assert world[A].entered() == before


async def test_a_receipt_for_another_delivery_or_with_an_altered_entry_is_refused(world: World) -> None:
    await world[A].publish(bulletin(A, B))
    good = receipts(world)[0].receipt
    altered = node_pb2.DeliveryReceipt(sequence=3, receipt=good)
    altered.receipt.entry = good.entry[:-1] + bytes([good.entry[-1] ^ 1])
    before = world[A].entered()
    for given in (node_pb2.DeliveryReceipt(sequence=3, receipt=good), altered):
        assert await give(world, batch(world, [given])) == "RECEIPT_INVALID"
    assert world[A].entered() == before
    state = world[A].node.reads.lane(outgoing=True, peer=B, lane_class=2, epoch=1)
    assert state is not None
    assert (state.sequence, state.taken) == (3, 2)


async def test_row_14_receipts_given_again_change_nothing_and_are_acknowledged(world: World) -> None:
    before = world[A].entered()
    async with following(world) as call:
        await call.write(start(encode.lane_position(2, 1, 2, digest_of(world, 2))))
        for _ in range(20):
            await call.write(batch(world, receipts(world)[-1:]))
            answer = await call.read()
            while not answer.HasField("taken"):
                answer = await call.read()
            assert answer.taken.lane.sequence == 2
        call.cancel()
    assert world[A].entered() == before


async def test_an_echo_signed_by_us_that_is_not_in_our_log_is_misuse_of_our_key(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other", (A, B))
    twin = other[A].open()  # the same keys on another log
    twin.start()
    note = twin.note
    twin.stop()
    for _ in range(2):  # the first pair is kept; it is not entered again
        async with following(world) as call:
            await call.write(start(echo=note))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert caught.value.code() is grpc.StatusCode.ABORTED
    (entered,) = world[A].bodies(Kind.OWN_KEY_MISUSE)
    shown = parse_note(note).checkpoint
    assert (entered.peer_size, entered.peer_root) == (shown.size, shown.root)
    assert '"own-key-misused"' in world[A].log.getvalue()
    assert world[A].node.writer.failure is None  # our log is sound, and most others cosigned what this run signed
    await until(lambda: any((world[A].home / "evidence").glob("*.fork")))
    (path,) = (world[A].home / "evidence").glob("*.fork")
    made = parse_fork(path.read_text())
    assert made.digest == entered.digest
    assert verify_fork(made, world[A].node.vkey).proven  # with nothing but the log's key


async def test_the_same_echo_stops_a_node_for_which_nobody_vouches(tmp_path: Path) -> None:
    """Control: nobody has cosigned anything of this run, so it may be the copy."""
    world = World(tmp_path / "world", (A, B))
    await world[A].start()
    other = World(tmp_path / "other", (A, B))
    twin = other[A].open()
    twin.start()
    note = twin.note
    twin.stop()
    async with following(world) as call:
        await call.write(start(echo=note))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert isinstance(world[A].node.writer.failure, RolledBackError)
    assert world[A].bodies(Kind.OWN_KEY_MISUSE) == []  # nothing is added to a history that may be the wrong one


async def test_a_node_that_may_sign_nothing_more_leaves_and_says_why(world: World) -> None:
    running = world[A].running
    assert running is not None
    ending = asyncio.create_task(running.run_until_signal())
    async with following(world) as call:
        await call.write(start())
        assert (await call.read()).HasField("started")
        world[A].node.writer.fail(IntegrityError("the disk returns other bytes than were written"))
        assert await ended(call) == "ended in order"
    with pytest.raises(IntegrityError, match="other bytes"):
        await asyncio.wait_for(ending, PATIENCE_SECONDS)
    assert '"signs-nothing-more"' in world[A].log.getvalue()
