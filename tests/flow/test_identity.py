"""Who may call what: the rows on certificates, names, pins, TLS versions and listeners, over real connections."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from audit.entry.entry import Outcome
from exchange.rpc.transport import channel, status
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.certificate import make_node_leaf, new_private_key, node_name, private_pem, to_pem
from keys.errors import RefusedError, UnavailableError
from tests.flow import forged
from tests.flow.world import FEDERATION, MADE_MS, PATIENCE_SECONDS, Member, World

HYBRID_GROUP = 0x11EC  # X25519MLKEM768


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, ("HK-IMMD", "TH-DSI"))
    async with made.serving():
        await made.connected()
        yield made


async def ask(opened: grpc.aio.Channel) -> dict[str, str]:
    """Try one method of each service; say what becomes of it."""
    calls = {
        "health": lambda: health_pb2_grpc.HealthStub(opened).Check(
            health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS
        ),
        "directory": lambda: node_pb2_grpc.DirectoryStub(opened).Adopted(
            node_pb2.AdoptedRequest(), timeout=PATIENCE_SECONDS
        ),
        "auditlog": lambda: node_pb2_grpc.AuditLogStub(opened).Checkpoint(
            node_pb2.CheckpointRequest(), timeout=PATIENCE_SECONDS
        ),
        "lane": lambda: follow(opened),
    }
    said = {}
    for name, call in calls.items():
        try:
            await call()
            said[name] = "answered"
        except grpc.aio.AioRpcError as error:
            made = status.error_of(error)
            said[name] = made.code if isinstance(made, RefusedError) else type(made).__name__
    return said


async def follow(opened: grpc.aio.Channel) -> None:
    call = node_pb2_grpc.LaneStub(opened).Follow(timeout=PATIENCE_SECONDS)
    await call.write(node_pb2.FollowRequest(start=node_pb2.FollowStart()))
    first = await call.read()
    if first is grpc.aio.EOF:
        raise grpc.aio.AioRpcError(
            await call.code(), grpc.aio.Metadata(), await call.trailing_metadata(), await call.details()
        )
    call.cancel()


def every(answer: str) -> dict[str, str]:
    return dict.fromkeys(("health", "directory", "auditlog", "lane"), answer)


def name_of(agency: str) -> x509.DNSName:
    return x509.DNSName(node_name(agency, FEDERATION))  # type: ignore[arg-type] # wrong or merged on purpose


async def test_a_member_with_its_pinned_leaf_is_answered(world: World) -> None:
    async with world["HK-IMMD"].dial(world["TH-DSI"]) as opened:
        assert await ask(opened) == every("answered")


NAMES: dict[str, Sequence[x509.GeneralName]] = {
    "a URI alone that names another node": [x509.UniformResourceIdentifier("spiffe://node.th-dsi.exercise.example")],
    "a URI alone that names its own node": [x509.UniformResourceIdentifier("spiffe://node.hk-immd.exercise.example")],
    "its own name and a URI": [name_of("HK-IMMD"), x509.UniformResourceIdentifier("spiffe://node.th-dsi.x")],
    "its own name twice over": [name_of("HK-IMMD"), x509.DNSName("other.hk-immd.exercise.example")],
    "a name below its own suffix that is no node": [x509.DNSName("mail.hk-immd.exercise.example")],
}


@pytest.mark.parametrize("names", NAMES)
async def test_row_23_a_leaf_of_a_members_own_ca_needs_exactly_its_nodes_name(world: World, names: str) -> None:
    leaf, pem = forged.leaf(world["HK-IMMD"].keys.authority, NAMES[names])
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=leaf, pem=pem) as opened:
        assert await ask(opened) == every("PEER_UNTRUSTED")


async def test_row_23_a_common_name_is_never_read(world: World) -> None:
    leaf, pem = forged.leaf(world["HK-IMMD"].keys.authority, [], common_name="HK-IMMD")
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=leaf, pem=pem) as opened:
        assert set((await ask(opened)).values()) <= {"PEER_UNTRUSTED", "UnavailableError"}


async def test_row_23_a_stolen_ca_cannot_speak_for_another_agency(world: World) -> None:
    leaf, pem = forged.leaf(world["HK-IMMD"].keys.authority, [name_of("TH-DSI")])
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=leaf, pem=pem) as opened:
        assert await ask(opened) == every("UnavailableError")  # TLS itself refuses: the name constraint


async def test_row_23_a_ca_that_is_not_in_the_roster_does_not_finish_the_handshake(world: World) -> None:
    leaf, pem = forged.leaf(forged.stranger("HK-IMMD", FEDERATION), [name_of("HK-IMMD")])
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=leaf, pem=pem) as opened:
        assert await ask(opened) == every("UnavailableError")


async def test_an_expired_leaf_does_not_finish_the_handshake(world: World) -> None:
    leaf, pem = forged.leaf(world["HK-IMMD"].keys.authority, [name_of("HK-IMMD")], days=-5)
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=leaf, pem=pem) as opened:
        assert await ask(opened) == every("UnavailableError")


async def test_a_right_leaf_without_a_pin_reaches_directory_and_nothing_else(world: World) -> None:
    private = new_private_key(os.urandom)
    leaf = make_node_leaf(world["HK-IMMD"].keys.authority, private.public_key(), MADE_MS, os.urandom)
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=leaf, pem=private_pem(private)) as opened:
        assert await ask(opened) == every("PEER_UNTRUSTED") | {"directory": "answered"}


async def test_row_74_an_officers_leaf_is_refused_by_the_peers_listener_on_every_method(world: World) -> None:
    officer = world["HK-IMMD"].person()
    pem = private_pem(officer.keys.tls_private)
    async with world["HK-IMMD"].dial(world["TH-DSI"], leaf=officer.tls_leaf, pem=pem) as opened:
        assert await ask(opened) == every("PEER_UNTRUSTED")
    async with world["TH-DSI"].dial(world["TH-DSI"], leaf=officer.tls_leaf, pem=pem) as opened:
        assert await ask(opened) == every("PEER_UNTRUSTED")


async def desk_says(member: Member, leaf: bytes, pem: bytes) -> str:
    assert member.running is not None
    address = f"127.0.0.1:{member.running.desk_port}"
    opened = channel.desk_channel(address, member.ca, leaf, pem, node_name(member.agency, FEDERATION))
    async with opened:
        try:
            await node_pb2_grpc.DeskStub(opened).Profile(node_pb2.ProfileRequest(), timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            made = status.error_of(error)
            return made.code if isinstance(made, RefusedError) else type(made).__name__
        return "answered"


async def test_row_74_a_peer_does_not_reach_desk(world: World) -> None:
    peer, own = world["HK-IMMD"].keys, world["TH-DSI"].keys
    assert await desk_says(world["TH-DSI"], peer.tls_leaf, private_pem(peer.node.tls_private)) == "UnavailableError"
    # The node's own leaf is of the own CA, so TLS lets it in; Desk does not.
    assert await desk_says(world["TH-DSI"], own.tls_leaf, private_pem(own.node.tls_private)) == "PEER_UNTRUSTED"


async def test_desk_knows_its_officers_and_systems_by_their_pins(world: World) -> None:
    for name in ("officer-1", "robot-1"):
        async with world["TH-DSI"].desk(name) as desk:
            assert (await desk.Profile(node_pb2.ProfileRequest())).owner == f"TH-DSI/{name}"


async def test_an_officer_of_another_agency_does_not_reach_desk(world: World) -> None:
    officer = world["HK-IMMD"].person()
    assert (
        await desk_says(world["TH-DSI"], officer.tls_leaf, private_pem(officer.keys.tls_private)) == "UnavailableError"
    )


async def test_a_method_that_is_not_there_is_refused(world: World) -> None:
    async with world["HK-IMMD"].dial(world["TH-DSI"]) as opened:
        for method in (
            "/exchange.v1.Desk/Profile",
            "/exchange.v1.Lane/Fetch",
            "/grpc.reflection.v1alpha.ServerReflection/X",
        ):
            call = opened.unary_unary(method)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_refusals_of_strangers_are_logged_once_a_minute_with_their_count(world: World) -> None:
    officer = world["HK-IMMD"].person()
    async with world["HK-IMMD"].dial(
        world["TH-DSI"], leaf=officer.tls_leaf, pem=private_pem(officer.keys.tls_private)
    ) as opened:
        for _ in range(5):
            await ask(opened)
    member = world["TH-DSI"]
    assert member.running is not None
    await member.running._refusals.flush()
    assert member.refused() == {(0, Outcome.PEER_UNTRUSTED): 20}


async def test_a_follower_who_is_cut_off_before_its_first_word_is_not_refused_and_one_who_says_nothing_is(
    world: World,
) -> None:
    member = world["TH-DSI"]
    assert member.running is not None
    for tenths in range(20):
        async with world["HK-IMMD"].dial(member) as opened:
            cut_off = node_pb2_grpc.LaneStub(opened).Follow()
            await asyncio.sleep(tenths / 1000)
            cut_off.cancel()
    async with world["HK-IMMD"].dial(member) as opened:
        silent = node_pb2_grpc.LaneStub(opened).Follow()
        await silent.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await silent.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await member.running._refusals.flush()
    assert member.refused() == {(1, Outcome.MALFORMED): 1}


def tls_version(port: int, member: Member, highest: ssl.TLSVersion) -> str | None:
    """Shake hands as a client that knows no newer TLS than *highest*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = highest
    context.set_ciphers("ALL:@SECLEVEL=1")
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=to_pem(member.ca).decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(to_pem(member.keys.tls_leaf) + private_pem(member.keys.node.tls_private))
        file.flush()
        context.load_cert_chain(file.name)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=node_name(member.agency, FEDERATION)) as secure:
                return secure.version()
        except (ssl.SSLError, ConnectionError):
            return None


async def test_row_25_both_listeners_refuse_tls_1_2_and_take_1_3(world: World) -> None:
    member = world["TH-DSI"]
    assert member.running is not None
    for port in (member.running.peers_port, member.running.desk_port):
        assert await asyncio.to_thread(tls_version, port, member, ssl.TLSVersion.TLSv1_2) is None
        assert await asyncio.to_thread(tls_version, port, member, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


def groups_of(hello: bytes) -> tuple[list[int], list[int]]:
    """Read supported groups and key shares from a captured ClientHello record."""
    assert hello[0] == 22, "a handshake record"
    assert hello[5] == 1, "a ClientHello"
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + struct.unpack_from(">H", hello, at)[0]
    at += 1 + hello[at]
    end = at + 2 + struct.unpack_from(">H", hello, at)[0]
    at += 2
    groups: list[int] = []
    shares: list[int] = []
    while at < end:
        kind, length = struct.unpack_from(">HH", hello, at)
        body = hello[at + 4 : at + 4 + length]
        if kind == 10:
            groups = [struct.unpack_from(">H", body, place)[0] for place in range(2, len(body), 2)]
        if kind == 51:
            place = 2
            while place < len(body):
                group, size = struct.unpack_from(">HH", body, place)
                shares.append(group)
                place += 4 + size
        at += 4 + length
    return groups, shares


async def test_row_25_a_dialling_node_offers_the_hybrid_group_first(world: World) -> None:
    caught: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(5)
        if not caught.done():
            caught.set_result(head + await reader.readexactly(struct.unpack(">H", head[3:])[0]))
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    keys = world["HK-IMMD"].keys
    opened = channel.peer_channel(
        f"127.0.0.1:{port}", keys.authority.der, keys.tls_leaf, private_pem(keys.node.tls_private), "node.x"
    )
    opened.get_state(try_to_connect=True)
    groups, shares = groups_of(await asyncio.wait_for(caught, PATIENCE_SECONDS))
    await opened.close()
    listener.close()
    assert groups[0] == HYBRID_GROUP
    assert shares[0] == HYBRID_GROUP


async def test_a_client_learns_whether_a_servers_leaf_is_pinned(world: World) -> None:
    member = world["TH-DSI"]
    assert member.running is not None
    seen: list[bytes] = []
    context, name = channel.probe_context(member.ca), node_name(member.agency, FEDERATION)
    await channel.probe(f"127.0.0.1:{member.running.peers_port}", context, name, seen.append)
    assert seen == [member.keys.tls_leaf]
    other = channel.probe_context(world["HK-IMMD"].ca)
    with pytest.raises(UnavailableError):
        await channel.probe(f"127.0.0.1:{member.running.peers_port}", other, name, seen.append)
