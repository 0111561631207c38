"""A connection whose key exchange is classical: refused by both listeners, taken by the desk where its operator says so.

Our own programs always offer ML-KEM first. The client here is this Python's TLS library, told to know P-256 alone,
with as much of HTTP/2 as one call takes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from keys.agency import MadeOfficer
from keys.certificate import node_name, private_pem, to_pem
from tests.flow.world import FEDERATION, PATIENCE_SECONDS, Member, World

DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, ("HK-IMMD", "TH-DSI"))
    made["HK-IMMD"].desk_classical_tls = True
    async with made.serving():
        yield made


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header(name: bytes, value: bytes) -> bytes:
    """Write a header without any table (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call(method: str, server: str) -> bytes:
    """Write one call with an empty message."""
    pairs = {
        ":method": "POST",
        ":scheme": "https",
        ":path": method,
        ":authority": server,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    headers = b"".join(header(name.encode(), value.encode()) for name, value in pairs.items())
    message = frame(DATA, END_STREAM, 1, bytes(5))
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0, b"")
        + frame(HEADERS, END_HEADERS, 1, headers)
        + message
    )


def say(port: int, member: Member, leaf: bytes, pem: bytes, method: str) -> bytes:
    """Call a method over P-256, which every OpenSSL takes by this name; return what came back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=to_pem(member.ca).decode())
    context.set_alpn_protocols(["h2"])
    context.set_ecdh_curve("prime256v1")
    server, came = node_name(member.agency, FEDERATION), b""
    with tempfile.NamedTemporaryFile() as file:
        file.write(to_pem(leaf) + pem)
        file.flush()
        context.load_cert_chain(file.name)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=server) as secure,
    ):
        secure.sendall(call(method, server))
        while b"grpc-status" not in came and (more := secure.recv(4096)):
            came += more
    return came


def at_desk(member: Member, officer: MadeOfficer) -> bytes:
    assert member.running is not None
    pem = private_pem(officer.keys.tls_private)
    return say(member.running.desk_port, member, officer.tls_leaf, pem, "/grpc.health.v1.Health/Check")


async def test_row_25_a_peer_without_ml_kem_is_refused_whatever_the_desk_takes(world: World) -> None:
    member, other = world["HK-IMMD"], world["TH-DSI"]
    assert member.running is not None
    pem = private_pem(other.keys.node.tls_private)
    method = "/exchange.v1.Directory/Adopted"
    came = await asyncio.to_thread(say, member.running.peers_port, member, other.keys.tls_leaf, pem, method)
    assert b"the connection agreed on " in came
    assert b"; it takes X25519MLKEM768" in came
    assert b"desk_classical_tls" not in came


async def test_row_25_an_officer_without_ml_kem_is_refused_unless_the_desk_takes_it(world: World) -> None:
    strict, lenient = world["TH-DSI"], world["HK-IMMD"]
    refused = await asyncio.to_thread(at_desk, strict, strict.person())
    assert b"the connection agreed on " in refused
    assert b"; it takes X25519MLKEM768, or desk_classical_tls" in refused
    answered = await asyncio.to_thread(at_desk, lenient, lenient.person())
    assert b"ML-KEM" not in answered
    assert b"grpc-status\x010" in answered
