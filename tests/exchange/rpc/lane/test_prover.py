"""Proofs are asked for beside a stream, and the stream may be over by then."""

from __future__ import annotations

import asyncio

import grpc.aio
import pytest

from exchange.rpc.lane.session import prover
from keys.errors import UnavailableError


async def ask_after_closing() -> None:
    channel = grpc.aio.insecure_channel("127.0.0.1:9")
    prove = prover(channel, "hk-immd.pilot.example/log/1")
    await channel.close()
    await prove(1, 2)


def test_a_proof_asked_of_a_channel_that_was_closed_is_unavailable_and_no_fault() -> None:
    with pytest.raises(UnavailableError, match="has ended"):
        asyncio.run(ask_after_closing())
