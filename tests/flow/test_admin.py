"""The operator's socket of a running node: records are adopted without a passphrase, wholly or not at all."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import grpc.aio
import pytest

from audit.entry.entry import Kind
from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.acts.unit_of_work import RecordsMovedError
from exchange.node.node import now_ms
from exchange.rpc.admin.unix_socket import SOCKET, AdminSocket, address_in, open_home
from exchange.rpc.desk.publish_stream import PublishStream, settled
from exchange.rpc.transport.caller import Caller
from exchange.v1 import admin_pb2, admin_pb2_grpc
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.flow.test_records import sheet
from tests.flow.world import Member, World, bulletin, runtime, until

A, B = "HK-IMMD", "TH-DSI"


async def adopt(member: Member, *records: SignedPayload) -> list[admin_pb2.AdoptResult]:
    home = open_home(member.home)
    try:
        async with grpc.aio.insecure_channel(address_in(home)) as opened:
            request = admin_pb2.AdoptRequest(records=[each.to_message() for each in records])
            return list((await admin_pb2_grpc.AdminStub(opened).Adopt(request)).results)
    finally:
        os.close(home)


async def status(member: Member) -> admin_pb2.StatusResponse:
    home = open_home(member.home)
    try:
        async with grpc.aio.insecure_channel(address_in(home)) as opened:
            answer: admin_pb2.StatusResponse = await admin_pb2_grpc.AdminStub(opened).Status(admin_pb2.StatusRequest())
            return answer
    finally:
        os.close(home)


def sheet_version(member: Member, agency: str) -> int:
    return member.node.view.federation.key_sheets[agency].record.version


async def test_a_running_node_adopts_its_own_record_and_its_peers_have_it_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        (result,) = await adopt(world[A], sheet(world[A], 2))
        assert (result.known, result.told, result.HasField("refusal")) == (False, 1, False)
        assert sheet_version(world[A], A) == 2
        await until(lambda: sheet_version(world[B], A) == 2, 30)
        (again,) = await adopt(world[A], sheet(world[A], 2))
        assert again.known
        assert again.told == 0


async def test_each_record_is_judged_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        forged = sheet(world[B], 2)
        forged = SignedPayload(payload=forged.payload + b"\x00", signatures=forged.signatures)
        roster = world[A].records.roster
        results = await adopt(world[A], forged, roster, sheet(world[B], 3), sheet(world[B], 2))
        codes = [each.refusal.code for each in results]
        assert codes == ["MALFORMED", "NOT_UNDERSTOOD", "", "REPLAYED"]
        assert sheet_version(world[A], B) == 3


async def test_the_socket_is_the_operators_alone_and_goes_when_the_node_stops(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        mode = (world[A].home / SOCKET).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        await world.connected()
        told = await status(world[A])
        assert [each.agency for each in told.peers] == [B]
        assert told.peers[0].follows_since_ms >= told.started_ms
        assert told.peers[0].followed_since_ms >= told.started_ms
    assert not (world[A].home / SOCKET).exists()


async def test_the_socket_of_a_killed_node_is_replaced_in_a_home_with_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    world = World(deep, (A, B))
    async with world.serving():
        await world.connected()
        left = await asyncio.create_subprocess_exec(
            "python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).bind({SOCKET!r})", cwd=world[B].home.parent
        )
        await left.wait()
        assert (await status(world[A])).peers
    os.link(world[B].home.parent / SOCKET, world[B].home / SOCKET)
    async with world.serving():
        assert (await status(world[B])).started_ms
    assert len(str(world[B].home)) > 200


async def test_another_user_is_refused_as_long_as_he_is_connected(tmp_path: Path) -> None:
    made = AdminSocket(tmp_path)
    server = grpc.aio.server()
    made.bind(server)
    await server.start()
    made.check_callers(os.geteuid() + 1)  # nobody is connected
    home = open_home(tmp_path)
    async with grpc.aio.insecure_channel(address_in(home)) as opened:
        await opened.channel_ready()
        made.check_callers(os.geteuid())
        with pytest.raises(RefusedError, match=f"user {os.geteuid()} is connected"):
            made.check_callers(os.geteuid() + 1)
    os.close(home)
    await server.stop(0)
    made.close()
    assert not (tmp_path / SOCKET).exists()


async def test_what_was_sealed_before_a_record_came_into_force_is_judged_once_more(tmp_path: Path) -> None:
    """Its entry stands behind the adoption, and so it must name what is in force there."""
    world = World(tmp_path, (A, B))
    async with world.serving():
        node = world[A].node
        stream = PublishStream(runtime(node, now_ms))
        adopting = asyncio.ensure_future(node.adopt(RecordKind.KEY_SHEET, sheet(world[A], 2)))
        await asyncio.sleep(0)  # it waits for the writer, and what is sealed now joins its group
        statement = world[A].statement(bulletin(A, B))
        waiting = await stream.enter([statement.to_message()], Caller(AgencyId(A), f"{A}/officer-1", 1))
        (result,) = await settled(waiting)
        await adopting
        assert isinstance(waiting[0], tuple)
        assert isinstance(waiting[0][1].exception(), RecordsMovedError)  # the control: it was judged before
        assert not result.HasField("refusal")
        [published] = world[A].bodies(Kind.PUBLISHED)
        assert published.records == node.view.records[A] == directory.records_of(node.reads, A)
