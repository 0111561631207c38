"""Manifests and key sheets on their way: learnt, renewed, contradicted; and what happens to open streams."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from audit.entry.entry import Kind, Outcome
from exchange.acts.directory import RecordKind
from exchange.node.node import now_ms
from exchange.node.rollback_check import KeyMisuseError, RolledBackError
from exchange.rpc.lane.records import RecordAdoption
from exchange.rpc.transport import status
from exchange.rpc.transport.program_log import ProgramLog
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.ceremony import RecordHead, make_key_sheet, window_keys
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import federation_id
from keys.key_sheet import TlsPin, key_sheet_digest, parse_key_sheet
from keys.roster import load_signed
from tests.flow.world import CALM, NEVER_SECONDS, Member, World, bulletin, until

A, B, C = "HK-IMMD", "TH-DSI", "TW-NHRC"


def sheet(
    member: Member,
    version: int,
    *,
    pins: tuple[TlsPin, ...] | None = None,
    shift: int = 0,
    valid_ms: int | None = None,
) -> SignedPayload:
    """Sign a further key sheet of a member."""
    first = parse_key_sheet(member.records.key_sheets[member.agency].payload)
    return make_key_sheet(
        member.keys.node.operations,
        RecordHead(
            agency=member.agency,
            federation=federation_id(member.records.roster.payload),
            now_ms=first.issued_ms + shift,
            version=version,
            valid_ms=valid_ms,
        ),
        encryption=window_keys(member.keys.node),
        pins=first.pins if pins is None else pins,
    )


def version(member: Member, of: str) -> int:
    known = member.node.view.federation.key_sheets.get(of)  # type: ignore[call-overload] # a plain text stands for the code
    return known.record.version if known is not None else 0


async def test_nodes_that_know_only_each_others_addresses_learn_the_rest(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), introduced=False)
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) == 1)


async def test_a_new_key_sheet_reaches_every_follower_while_its_stream_is_open(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C), settings=CALM)
    async with world.serving():
        await world.connected()
        before = world[B].log.getvalue().count('"following"')
        await world[A].node.adopt(RecordKind.KEY_SHEET, sheet(world[A], 2))
        await until(lambda: version(world[B], A) == version(world[C], A) == 2)
        assert world[B].log.getvalue().count('"following"') == before


async def test_row_24_a_stream_ends_at_once_when_its_peers_pin_is_withdrawn(tmp_path: Path) -> None:
    # Nothing is looked at in turn: only the adoption itself can have ended the stream.
    world = World(tmp_path, (A, B), settings=replace(CALM, recheck_seconds=NEVER_SECONDS))
    async with world.serving():
        await world.connected()
        people = tuple(pin for pin in parse_key_sheet(world[B].records.key_sheets[B].payload).pins if pin.owner != B)
        await world[B].node.adopt(RecordKind.KEY_SHEET, sheet(world[B], 2, pins=people))
        running = world[A].running
        assert running is not None
        await until(lambda: running.following == 0)
        await world[A].publish(bulletin(A, B))
        await until(lambda: "PEER_UNTRUSTED" in world[B].log.getvalue())
        assert world[B].bodies(Kind.RECEIVED) == []


async def test_row_24_a_follower_leaves_a_server_whose_pin_is_withdrawn(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        running = world[B].running
        assert running is not None
        people = tuple(pin for pin in parse_key_sheet(world[A].records.key_sheets[A].payload).pins if pin.owner != A)
        await world[A].node.adopt(RecordKind.KEY_SHEET, sheet(world[A], 2, pins=people))
        await until(lambda: running.followed == 0)
        await world[A].publish(bulletin(A, B))
        await asyncio.sleep(1)
        assert world[B].bodies(Kind.RECEIVED) == []


async def stopped(member: Member) -> BaseException:
    """Wait until a node signs nothing more; return why."""
    node = member.node
    await until(lambda: node.writer.failure is not None)
    assert node.writer.failure is not None
    return node.writer.failure


async def test_a_key_sheet_of_our_own_that_we_did_not_make_stops_the_node(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        forged = sheet(world[B], 9)  # whoever stole B's operations key made it, and has shown it to A
        await world[A].node.adopt(RecordKind.KEY_SHEET, forged)
        why = await stopped(world[B])
        assert isinstance(why, KeyMisuseError)
        assert "HK-IMMD holds key sheet 1.9 of TH-DSI" in str(why)
        assert "is stolen" in why.hint
        (entry,) = world[B].bodies(Kind.OWN_KEY_MISUSE)
        assert (entry.peer, entry.count, entry.digest) == (1, 9, key_sheet_digest(forged))
        assert version(world[B], B) == 1
        assert '"own-key-misused"' in world[B].log.getvalue()
        await world[B].stop()
        (file,) = (world[B].home / "evidence").glob("own-key-sheet-*")
        assert load_signed(file) == forged
        again = world[B].open()
        again.open()
        with pytest.raises(KeyMisuseError, match="there is key sheet"):
            again.begin()  # and so it stays, until somebody has looked
        again.stop()
        ours = world[B].open()
        ours.adopt_now(RecordKind.KEY_SHEET, load_signed(file))  # the agency had made it by hand
        ours.stop()
        after = world[B].open()
        after.start()
        after.stop()


async def test_an_older_key_sheet_of_our_own_that_a_peer_still_has_stops_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    for one, shown in ((A, 2), (B, 3)):
        node = world[one].open()
        node.start()
        node.adopt_now(RecordKind.KEY_SHEET, sheet(world[B], shown))
        node.stop()
    async with world.serving():
        await world.connected()
        await until(lambda: version(world[A], B) == 3)
        assert world[B].bodies(Kind.OWN_KEY_MISUSE) == []


async def test_another_key_sheet_of_our_own_at_the_same_place_stops_the_node(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    for one, shift in ((A, 0), (B, 1000)):
        node = world[one].open()
        node.start()
        node.adopt_now(RecordKind.KEY_SHEET, sheet(world[B], 2, shift=shift))
        node.stop()
    await world[A].start()
    await world[B].serve()
    assert isinstance(await stopped(world[B]), KeyMisuseError)


async def test_row_60_two_key_sheets_of_one_version_are_kept_and_stop_adoption(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    one, two = sheet(world[C], 2, shift=0), sheet(world[C], 2, shift=1000)
    for agency, signed in ((A, one), (B, two)):
        node = world[agency].open()
        node.start()
        node.adopt_now(RecordKind.KEY_SHEET, signed)
        node.stop()
    await world[A].start()
    await world[B].start()
    await until(lambda: all('"two-records-one-version"' in world[each].log.getvalue() for each in (A, B)))
    for agency in (A, B):
        refused = [body for body in world[agency].bodies(Kind.REFUSED) if body.digest]
        assert [body.outcome for body in refused] == [Outcome.EQUIVOCATION]
        ((_, what, _),) = world[agency].node.store.evidence()
        assert what == f"key-sheet {C}"
    await world[A].node.adopt(RecordKind.KEY_SHEET, sheet(world[C], 3))  # its operator has looked
    await world[B].stop()
    await world[B].start()
    await until(lambda: world[B].running is not None and world[B].running.followed == 1)
    assert version(world[B], C) == 2  # B's operator has not


async def test_a_record_that_nobody_signed_is_not_adopted(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        forged = sheet(world[A], 2)
        with pytest.raises(RefusedError):
            await world[B].node.adopt(
                RecordKind.KEY_SHEET, SignedPayload(payload=forged.payload + b"\x00", signatures=forged.signatures)
            )
        assert version(world[B], A) == 1


async def refusal(call: grpc.aio.UnaryUnaryCall) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = status.error_of(caught.value)
    assert isinstance(error, RefusedError)
    return error.code


async def test_a_third_agencys_expired_record_parts_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        old = sheet(
            world[C], 2, shift=-2 * 86_400_000, valid_ms=86_400_000
        )  # somebody adopted it in time; we were away
        told = node_pb2.AdoptedRecord(
            kind=node_pb2.RECORD_KIND_KEY_SHEET, agency=C, version=2, digest=bytes(32), rank=(1 << 32) + 2
        )

        async def fetch(wanted: node_pb2.AdoptedRecord) -> SignedPayload:
            return old

        adoption = RecordAdoption(world[A].node, ProgramLog(world[A].log, A), now_ms)
        await adoption.compare([told], fetch, B)
        assert "KEY_SHEET_EXPIRED" in world[A].log.getvalue()
        assert version(world[A], C) == 1


async def test_row_65_peers_get_hashes_and_no_entries(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        await world[B].publish(bulletin(B, A))
        await until(lambda: len(world[B].bodies(Kind.RECEIPT_RECORDED)) == 1)  # its last entry: what follows stands
        await until(lambda: world[B].node.files.published[0] == world[B].node.reads.size())
        size = world[B].node.log.size
        async with world[A].dial(world[B]) as opened:
            stub = node_pb2_grpc.AuditLogStub(opened)
            for path in (f"tile/entries/000.p/{size}", "tile/entries/000", "tile/entries/x001/000"):
                assert await refusal(stub.Tile(node_pb2.TileRequest(path=path))) == "NOT_ALLOWED"
            for path in ("", "../node.db", "tile/../../node.db", "tile/0/000/", "checkpoint", "tile/0/0"):
                assert await refusal(stub.Tile(node_pb2.TileRequest(path=path))) == "MALFORMED"
            assert await refusal(stub.Tile(node_pb2.TileRequest(path="tile/0/x999/000"))) == "NO_SUCH_BULLETIN"
            tile = await stub.Tile(node_pb2.TileRequest(path=f"tile/0/000.p/{size}"))
            assert len(tile.content) == 32 * size


async def test_auditlog_gives_own_and_the_askers_checkpoints_and_no_third_ones(tmp_path: Path) -> None:
    from audit.note.checkpoint import verify_note
    from audit.tree.proof import verify_consistency

    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        async with world[A].dial(world[B]) as opened:
            stub = node_pb2_grpc.AuditLogStub(opened)
            old = await stub.Checkpoint(node_pb2.CheckpointRequest())
            await world[B].publish(bulletin(B, A))
            new = await stub.Checkpoint(node_pb2.CheckpointRequest(origin=world[B].node.view.origin))
            notes = [verify_note(each.note, world[B].node.vkey) for each in (old, new)]
            sizes = {"old_size": notes[0].size, "new_size": notes[1].size}
            proof = await stub.Consistency(node_pb2.ConsistencyRequest(**sizes))
            verify_consistency(notes[0], notes[1], list(proof.hashes))
            await until(lambda: world[B].node.reads.peer_checkpoint(A) is not None)
            mine = await stub.Checkpoint(node_pb2.CheckpointRequest(origin=world[A].node.view.origin))
            assert verify_note(mine.note, world[A].node.vkey).size > 0
            third = node_pb2.CheckpointRequest(origin=world[C].node.view.origin)
            assert await refusal(stub.Checkpoint(third)) == "NOT_ALLOWED"
            beyond = node_pb2.ConsistencyRequest(old_size=1, new_size=10_000)
            assert await refusal(stub.Consistency(beyond)) == "MALFORMED"
            other = node_pb2.ConsistencyRequest(origin=world[C].node.view.origin, old_size=1, new_size=2)
            assert await refusal(stub.Consistency(other)) == "NOT_ALLOWED"


async def test_directory_gives_records_and_catalogues_by_their_names(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving(), world[A].dial(world[B]) as opened:
        stub = node_pb2_grpc.DirectoryStub(opened)
        told = (await stub.Adopted(node_pb2.AdoptedRequest())).records
        assert [(each.kind, each.agency) for each in told] == [(1, ""), (2, A), (2, B), (3, A), (3, B)]
        for each in told:
            wanted = node_pb2.RecordRequest(kind=each.kind, agency=each.agency, version=each.version)
            assert (await stub.Record(wanted)).record.payload
        roster = world[A].node.view.federation.roster
        files = (await stub.Catalogue(node_pb2.CatalogueRequest(digest=roster.catalogue_digest))).files
        assert "policy.yaml" in [each.name for each in files]
        assert await refusal(stub.Catalogue(node_pb2.CatalogueRequest(digest=bytes(32)))) == "ROSTER_UNKNOWN"
        missing = node_pb2.RecordRequest(kind=node_pb2.RECORD_KIND_MANIFEST, agency=A, version=9)
        assert await refusal(stub.Record(missing)) == "ROSTER_UNKNOWN"


async def test_a_node_whose_log_a_peer_knows_better_signs_nothing_more(tmp_path: Path) -> None:
    import shutil

    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
    shutil.copytree(world[A].home, tmp_path / "snapshot")
    async with world.serving():
        await world[A].publish(bulletin(A, B))
        await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) == 1)
        await world[B].publish(bulletin(B, A))
        await until(lambda: len(world[B].bodies(Kind.RECEIPT_RECORDED)) == 1)
    shutil.rmtree(world[A].home)
    shutil.copytree(tmp_path / "snapshot", world[A].home)  # database, lock and log: an old image of the whole disk
    with pytest.raises(RolledBackError, match=f"{B} holds our checkpoint of size"):
        async with world.serving():
            raise AssertionError("it serves")
    assert '"rolled-back"' in world[A].log.getvalue()
