"""Nodes with real sockets killed at random while bulletins cross between them: R1, tier A."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from audit.entry.entry import Kind
from exchange.node.failpoint import NAMES
from exchange.rpc.admin.unix_socket import address_in, open_home
from exchange.v1 import admin_pb2, admin_pb2_grpc
from keys.dsse import SignedPayload
from tests.flow import served
from tests.flow.side import CANARY, RECEIVER, SENDER
from tests.flow.test_kill import Child, DiedError, Wire, _forkserver, in_the_clear, rows
from tests.support.scale import lengths

WAIT_SECONDS = 120

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


@pytest.mark.parametrize("kills", lengths(2, 10))  # of each side
def test_serving_nodes_killed_at_random_lose_and_double_nothing(wire: Wire, kills: int) -> None:
    total = 6 * kills
    chance = random.Random(int(os.environ.get("EXCHANGE_TEST_SEED", "7")))
    statements = wire.sender.call("sign", range(1, total + 1))
    wire.receiver.start()
    doomed = set(chance.sample(range(total - 1), kills))
    falls = set(chance.sample(range(total - 1), kills))
    for number, signed in enumerate(statements):
        wire.publish(signed, kill_after=chance.uniform(0, 0.05) if number in doomed else None)
        if number in falls:
            time.sleep(chance.uniform(0, 0.05))  # anywhere in its intake
            wire.receiver.start()
            wire.receiver.kill()
            wire.receiver.gone()
            wait_for(wire.receiver, number + 1)  # so that no delivery dies twice and is put into quarantine
    wait_for(wire.receiver, total)
    wait_for(wire.sender, total)
    assert wire.receiver.deaths == wire.sender.deaths == kills
    sent, got = wire.verify()
    assert len(rows(sent, Kind.RECEIPT_RECORDED)) == len(rows(got, Kind.RECEIVED)) == total


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_serving_node_killed_at_each_named_place_loses_and_doubles_nothing(wire: Wire, side: str) -> None:
    # The acknowledgement of receipts comes in where bulletins go out of; opening has its own test.
    names = [name for name in NAMES if name != "opened-committed" and (side, name) != ("sender", "peer-acknowledged")]
    doomed: Child = getattr(wire, side)
    statements = wire.sender.call("sign", range(1, 2 * len(names) + 1))
    wire.receiver.start()
    for number, name in enumerate(names):
        with suppress(DiedError):  # what still goes on in the background may pass the place at once
            doomed.call("arm", name)
        for signed in statements[2 * number : 2 * number + 2]:
            wire.publish(signed)
        died_at = until_death(doomed, number + 1)
        assert died_at == number + 1, f"{name} was not passed"
        wait_for(wire.receiver, 2 * number + 2)
    wait_for(wire.sender, len(statements))
    wire.verify()


def until_death(child: Child, count: int) -> int:
    """Wait until a process has died so often; whatever asks it next starts it again."""
    end = time.monotonic() + WAIT_SECONDS
    while child.deaths < count and time.monotonic() < end:
        with suppress(DiedError):
            child.call("position")
        time.sleep(0.02)
    return child.deaths


def test_a_serving_node_killed_between_the_opened_entry_and_the_opening_leaves_no_plaintext(wire: Wire) -> None:
    wire.publish(wire.sender.call("sign", range(1, 2))[0])
    wait_for(wire.receiver, 1)
    wire.receiver.call("arm", "opened-committed")
    with pytest.raises(DiedError):
        wire.receiver.call("read")
    assert not in_the_clear(wire.receiver.home)
    assert wire.receiver.call("read") == CANARY
    wait_for(wire.sender, 1)
    _, got = wire.verify()
    assert len(rows(got, Kind.OPENED)) == 2  # the one that opened nothing, and the one that did
    assert not in_the_clear(wire.receiver.home)


def test_a_node_killed_while_it_adopts_has_a_record_wholly_or_not_at_all(wire: Wire) -> None:
    for number, name in enumerate(("inside-transaction", "committed-before-receipt", "locked-before-signing"), start=2):
        wire.sender.start()
        wire.receiver.start()
        signed = SignedPayload.decode(wire.sender.call("sheet", number))
        with suppress(DiedError):
            wire.sender.call("arm", name)
        with suppress(grpc.RpcError):  # the answer is lost, or the node fell before it was asked
            told(wire.sender.home, signed)
        with suppress(DiedError):  # whatever else passes the place
            wire.sender.call("position")
            wire.sender.kill()
            wire.sender.gone()
        wire.sender.start()
        told(wire.sender.home, signed)  # asked again, as an operator does
        assert told(wire.sender.home, signed).known
        end = time.monotonic() + WAIT_SECONDS
        while wire.receiver.insist("sheet_version") < number:
            assert time.monotonic() < end, "the peer never has it"
            time.sleep(0.05)
    assert wire.sender.deaths == 3
    wire.verify()


def told(home: Path, record: SignedPayload) -> admin_pb2.AdoptResult:
    """Adopt a record through the socket of a node in another process."""
    opened = open_home(home)
    try:
        with grpc.insecure_channel(address_in(opened)) as channel:
            request = admin_pb2.AdoptRequest(records=[record.to_message()])
            answer = admin_pb2_grpc.AdminStub(channel).Adopt(request, timeout=30, wait_for_ready=True)
    finally:
        os.close(opened)
    (result,) = answer.results
    assert not result.HasField("refusal"), result.refusal
    return result
