"""Nodes with real sockets killed at random while bulletins cross between them: R1, tier A."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.entry import Kind
from tests.flow import served
from tests.flow.side import RECEIVER, SENDER
from tests.flow.test_kill import Child, Wire, _forkserver, rows
from tests.scale import SCALE

TOTAL, KILLS = 60 * SCALE, 10 * SCALE  # of each side
WAIT_SECONDS = 60

pytestmark = pytest.mark.usefixtures("_forkserver")
__all__ = ["_forkserver"]


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(
        Child(SENDER, tmp_path / SENDER, target=served.serve), Child(RECEIVER, tmp_path / RECEIVER, target=served.serve)
    )
    yield made
    made.sender.end()
    made.receiver.end()


def wait_for(child: Child, sequence: int) -> None:
    """Wait until the lane has come so far at one side."""
    end = time.monotonic() + WAIT_SECONDS
    while child.insist("position") < sequence:
        assert time.monotonic() < end, f"{child.agency} does not come to {sequence}"
        time.sleep(0.02)


def test_serving_nodes_killed_at_random_lose_and_double_nothing(wire: Wire) -> None:
    chance = random.Random(int(os.environ.get("EXCHANGE_TEST_SEED", "7")))
    statements = wire.sender.call("sign", range(1, TOTAL + 1))
    wire.receiver.start()
    doomed = set(chance.sample(range(TOTAL - 1), KILLS))
    falls = set(chance.sample(range(TOTAL - 1), KILLS))
    for number, signed in enumerate(statements):
        wire.publish(signed, kill_after=chance.uniform(0, 0.05) if number in doomed else None)
        if number in falls:
            time.sleep(chance.uniform(0, 0.05))  # anywhere in its intake
            wire.receiver.start()
            wire.receiver.kill()
            wire.receiver.gone()
            wait_for(wire.receiver, number)  # so that no delivery dies twice and is put into quarantine
    wait_for(wire.receiver, TOTAL)
    wait_for(wire.sender, TOTAL)
    assert wire.receiver.deaths == wire.sender.deaths == KILLS
    sent, got = wire.verify()
    assert len(rows(sent, Kind.RECEIPT_RECORDED)) == len(rows(got, Kind.RECEIVED)) == TOTAL
