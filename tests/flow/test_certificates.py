"""Certificates of running nodes: renewed by the issuing key or by the root, shown without a start, and no stream ends."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio

from exchange.acts.directory import RecordKind
from exchange.node.node import now_ms
from exchange.rpc.serve.own_certificates import OwnCertificates
from exchange.rpc.transport import channel
from exchange.rpc.transport.caller import check_pin
from exchange.rpc.transport.channel import Identity
from exchange.rpc.transport.program_log import ProgramLog
from exchange.v1 import node_pb2
from keys import certificate, dsse
from keys.agency import TLS_FILE
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.key_files import officer_folder
from keys.node_certificates import REQUEST_FILE, renew_leaf
from keys.renewal import following_manifest, parse_request, renew, sign_following
from tests.flow.test_admin import adopt
from tests.flow.test_identity import ask, every
from tests.flow.world import FEDERATION, Member, World, bulletin, until

A, B = "HK-IMMD", "TH-DSI"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, (A, B))
    async with made.serving():
        await made.connected()
        yield made


async def shown(member: Member) -> bytes:
    """Return the leaf that a node shows in a handshake, after its pin was checked as a peer does."""
    assert member.running is not None
    seen: list[bytes] = []

    def check(leaf: bytes) -> None:
        check_pin(leaf, member.agency, member.node.view.federation, now_ms())
        seen.append(leaf)

    name = certificate.node_name(member.agency, FEDERATION)
    await channel.probe(f"127.0.0.1:{member.running.peers_port}", channel.probe_context(member.ca), name, check)
    return seen[0]


async def renewed(member: Member, *, issuing: bool = True) -> SignedPayload:
    """Have the node ask, and its root answer."""
    assert member.running is not None
    request = parse_request((await member.running._certificates.request()).payload)
    root, ca = member.keys.root, member.keys.authority
    made = following_manifest(request, now_ms())
    manifest = sign_following(request, root, ca, made, issuing=issuing, random_bytes=os.urandom)
    return renew(request, root, ca, manifest, now_ms(), os.urandom)


async def test_a_leaf_of_the_issuing_key_is_shown_from_the_next_handshake_on(world: World) -> None:
    member, other = world[A], world[B]
    assert member.running is not None
    assert other.running is not None
    before = await shown(member)
    assert renew_leaf(member.home, member.node.view, member.keys.node, now_ms(), os.urandom)
    assert member.running._certificates.show()
    after = await shown(member)
    assert after == (member.home / TLS_FILE).read_bytes() != before
    assert certificate.spki_sha256(after) == certificate.spki_sha256(before)
    assert member.running.followed == other.running.followed == 1, "no stream ended"
    async with member.dial(other, leaf=member.running._dial_settings.identity.leaf) as opened:
        assert await ask(opened) == every("answered")
    async with member.desk() as desk:  # the officer's client trusts the CA alone
        assert (await desk.Profile(node_pb2.ProfileRequest())).agency == A
    await member.publish(bulletin(A, B))


async def test_a_leaf_of_a_withdrawn_issuing_key_is_refused_by_every_method(world: World) -> None:
    member, other = world[A], world[B]
    assert member.running is not None
    renew_leaf(member.home, member.node.view, member.keys.node, now_ms(), os.urandom)
    member.running._certificates.show()
    chain = member.running._dial_settings.identity.leaf
    known = other.node.view.federation.manifests[member.agency].record
    payload = replace(known, version=2, issuing=b"").encode()
    await other.node.adopt(RecordKind.MANIFEST, dsse.sign(payload, ("manifest", member.keys.root.root)))
    async with member.dial(other, leaf=chain) as opened:
        assert await ask(opened) == every("PEER_UNTRUSTED")
    async with member.dial(other) as opened:
        assert await ask(opened) == every("answered")


async def test_what_the_root_gives_back_is_in_force_at_once_here_and_at_the_peers(world: World) -> None:
    member, other = world[A], world[B]
    assert member.running is not None
    before = await shown(member)
    (member.home / REQUEST_FILE).write_bytes(b"waits")
    (result,) = await adopt(member, await renewed(member))
    assert (result.refusal.code, result.known, result.told) == ("", False, 1)
    assert await shown(member) == (member.home / TLS_FILE).read_bytes() != before
    assert not (member.home / REQUEST_FILE).exists()
    await until(lambda: other.node.view.federation.manifests[member.agency].record.version == 2)
    await member.publish(bulletin(A, B))
    (again,) = await adopt(member, await renewed(other))
    assert again.refusal.code == "WRONG_MAKER"


async def test_an_older_renewal_changes_nothing(world: World) -> None:
    member = world[A]
    older = await renewed(member)
    (first,) = await adopt(member, older)
    assert not first.refusal.code
    await adopt(member, await renewed(member))
    kept = (member.home / TLS_FILE).read_bytes()
    (again,) = await adopt(member, older)
    assert again.refusal.code == "REPLAYED"
    assert (member.home / TLS_FILE).read_bytes() == kept


async def test_an_officer_s_new_leaf_waits_at_the_desk(world: World) -> None:
    member = world[A]
    person = member.person()
    async with member.desk() as desk:
        profile = await desk.Profile(node_pb2.ProfileRequest())
        assert not profile.leaf
    path = officer_folder(member.home, person.entry.id) / TLS_FILE
    assert path.read_bytes() == person.tls_leaf, "the desk has noted what was shown to it"
    await adopt(member, await renewed(member))
    async with member.desk() as desk:
        profile = await desk.Profile(node_pb2.ProfileRequest())
    assert profile.leaf == path.read_bytes() != person.tls_leaf
    assert certificate.spki_sha256(profile.leaf) == certificate.spki_sha256(person.tls_leaf)
    assert profile.node_leaf_ends_ms == certificate.ends_ms((member.home / TLS_FILE).read_bytes())


def expired_leaf(member: Member) -> bytes:
    """Issue the node's leaf as it was 400 days ago."""
    long_ago, public = now_ms() - 400 * DAY_MS, member.keys.node.tls_private.public_key()
    return certificate.make_node_leaf(member.keys.authority, public, long_ago, os.urandom)


async def test_a_node_whose_certificate_ended_while_it_was_down_renews_it_before_it_asks_anybody(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, (A, B))
    (world[A].home / TLS_FILE).write_bytes(expired_leaf(world[A]))
    async with world.serving():
        await world.connected()
        assert '"certificate"' in world[A].log.getvalue()


async def test_without_an_issuing_key_it_says_that_its_certificate_has_expired(tmp_path: Path) -> None:
    member = World(tmp_path, (A, B))[A]
    leaf = expired_leaf(member)
    (member.home / TLS_FILE).write_bytes(leaf)
    node, written = member.open(), io.StringIO()
    keys, identity = replace(member.keys.node, issuing_private=None), Identity(leaf=leaf, private_pem=b"")
    await OwnCertificates(node, keys, identity, now_ms, ProgramLog(written, A)).revive()
    assert '"certificate-expired"' in written.getvalue()
    assert (member.home / TLS_FILE).read_bytes() == leaf
    node.stop()
