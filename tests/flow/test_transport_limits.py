"""The limits of a listener at L-1, L and L+1, and what it refuses to decompress (rows 36 and 38)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from exchange.rpc.transport import status
from exchange.rpc.transport.limits import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_STATEMENTS, MAX_STATEMENTS_BYTES
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.errors import RefusedError
from keys.v1 import signed_pb2
from tests.flow.world import World


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, ("HK-IMMD", "TH-DSI"))
    async with made.serving():
        yield made


async def code_of(call: grpc.aio.UnaryUnaryCall) -> grpc.StatusCode:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call
    return await call.code()


def unlimited(world: World, **options: object) -> grpc.aio.Channel:
    """Open a channel that sends whatever it is told to."""
    from exchange.rpc.transport.channel import _credentials, channel_options
    from keys.certificate import node_name, private_pem

    member, other = world["HK-IMMD"], world["TH-DSI"]
    assert other.running is not None
    name = node_name(other.agency, "exercise.example")
    kept = [
        option
        for option in channel_options(name)
        if option[0] not in ("grpc.max_send_message_length", "grpc.compression_enabled_algorithms_bitset")
    ]
    return grpc.aio.secure_channel(
        f"127.0.0.1:{other.running.peers_port}",
        _credentials(other.ca, member.keys.tls_leaf, private_pem(member.keys.node.tls_private)),
        options=[*kept, ("grpc.max_send_message_length", -1)],
        **options,  # type: ignore[arg-type] # wrong or merged on purpose
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (MAX_MESSAGE_BYTES - 1, grpc.StatusCode.OK),
        (MAX_MESSAGE_BYTES, grpc.StatusCode.OK),
        (MAX_MESSAGE_BYTES + 1, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_row_38_a_message_beyond_two_mebibytes_is_refused(
    world: World, size: int, expected: grpc.StatusCode
) -> None:
    async with unlimited(world) as opened:
        call = opened.unary_unary("/exchange.v1.Directory/Adopted")(_padding(size))
        assert await code_of(call) is expected


def _padding(size: int) -> bytes:
    """Make a message of exactly this size: one unknown field, as a newer program might send."""
    length = size - 1 - 4  # tag and a four-byte length, which holds for our sizes
    encoded = bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21))
    return b"\x7a" + encoded + bytes(length)


async def test_row_38_metadata_beyond_eight_kibibytes_is_refused(world: World) -> None:
    async with unlimited(world) as opened:
        base = await _fits(opened, 1) and await _largest(opened)
        # What gRPC itself sends along is part of the eight kibibytes; ours begins where that ends.
        assert MAX_METADATA_BYTES - 1024 < base < MAX_METADATA_BYTES
        assert await _fits(opened, base - 1)
        assert await _fits(opened, base)
        assert not await _fits(opened, base + 1)


async def _fits(opened: grpc.aio.Channel, size: int) -> bool:
    call = opened.unary_unary("/exchange.v1.Directory/Adopted")(b"", metadata=(("x-fill", "a" * size),))
    return await code_of(call) is grpc.StatusCode.OK


async def _largest(opened: grpc.aio.Channel) -> int:
    low, high = 1, MAX_METADATA_BYTES + 1
    while high - low > 1:
        middle = (low + high) // 2
        if await _fits(opened, middle):
            low = middle
        else:
            high = middle
    return low


async def test_row_36_a_compressed_message_is_refused_unopened(world: World) -> None:
    async with unlimited(world, compression=grpc.Compression.Gzip) as opened:
        call = opened.unary_unary("/exchange.v1.Directory/Adopted")(bytes(1 << 20))
        assert await code_of(call) is grpc.StatusCode.UNIMPLEMENTED


async def test_answers_are_not_compressed(world: World) -> None:
    async with unlimited(world) as opened:
        call = node_pb2_grpc.DirectoryStub(opened).Adopted(node_pb2.AdoptedRequest())
        await call
        encodings = [value for key, value in await call.initial_metadata() if key == "grpc-encoding"]
        assert encodings in ([], ["identity"])


@pytest.mark.parametrize(
    ("count", "size", "code"),
    [
        (MAX_STATEMENTS - 1, 1, "OK"),
        (MAX_STATEMENTS, 1, "OK"),
        (MAX_STATEMENTS + 1, 1, "TOO_MANY"),
        (0, 0, "TOO_MANY"),
        (2, MAX_STATEMENTS_BYTES // 2 - 12, "OK"),
        (2, MAX_STATEMENTS_BYTES // 2 + 12, "TOO_LARGE"),
        (1, MAX_STATEMENTS_BYTES + 1, "OK"),
    ],
)
async def test_row_38_a_batch_of_statements_has_its_limits(world: World, count: int, size: int, code: str) -> None:
    statements = [signed_pb2.SignedPayload(payload=bytes(size)) for _ in range(count)]
    async with world["TH-DSI"].desk() as desk:
        call = desk.Publish()
        await call.write(node_pb2.PublishRequest(statements=statements))
        if code == "OK":
            answer = await call.read()
            assert isinstance(answer, node_pb2.PublishResponse)
            assert [each.refusal.code for each in answer.results] == ["MALFORMED"] * count or size > 1
            call.cancel()
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        made = status.error_of(caught.value)
        assert isinstance(made, RefusedError)
        assert made.code == code


async def test_a_peer_that_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.flow.world import QUICK

    made = World(tmp_path, ("HK-IMMD", "TH-DSI"), settings=replace(QUICK, calls_per_second=0.001, calls_burst=30))
    async with made.serving():
        async with made["HK-IMMD"].dial(made["TH-DSI"]) as opened:
            stub = node_pb2_grpc.DirectoryStub(opened)
            calls = [stub.Adopted(node_pb2.AdoptedRequest()) for _ in range(31)]
            await asyncio.wait([asyncio.ensure_future(code_of(call)) for call in calls])
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Adopted(node_pb2.AdoptedRequest())
        refused = status.error_of(caught.value)
        assert isinstance(refused, status.TooManyError)
        assert refused.retry_after_seconds > 1


@pytest.mark.parametrize(("first", "code"), [("grpc", 3), ("exchange", 0)])
def test_nothing_is_opened_where_grpc_was_imported_before_us_and_offers_tls_1_2_row_25(first: str, code: int) -> None:
    program = (
        f"import {first}, sys\n"
        "from exchange.rpc.transport.limits import Settings\n"
        "from exchange.rpc.serve.listeners import new_server\n"
        "from keys.errors import IntegrityError\n"
        "import asyncio\n"
        "async def make(): new_server(Settings(), None)\n"
        "try: asyncio.run(make())\n"
        "except IntegrityError as error: print(error); sys.exit(3)\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "GRPC_SSL_CIPHER_SUITES"}
    done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=False)
    assert (done.returncode, "TLS 1.2 is open" in done.stdout) == (code, code == 3), done.stderr
