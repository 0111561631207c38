"""Calls of one statement each: who is entered together, who alone, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from exchange.node.departure import FULL_GROUP
from exchange.rpc.desk.publish_stream import Waiting
from exchange.rpc.desk.single_calls import SingleCalls
from exchange.rpc.transport.caller import Caller
from exchange.v1 import node_pb2
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.v1 import signed_pb2

SYSTEM, OFFICER = (Caller(AgencyId("HK-SB"), f"HK-SB/{each}", 3) for each in ("gateway", "duty-1"))


class Entered:
    """Takes batches; what is durable is answered when the test says so."""

    def __init__(self) -> None:
        self.batches: list[tuple[Caller, list[bytes]]] = []
        self.futures: list[asyncio.Future[node_pb2.PublishResult]] = []

    async def enter(self, statements: Sequence[signed_pb2.SignedPayload], caller: Caller) -> list[Waiting]:
        self.batches.append((caller, [each.payload for each in statements]))
        loop, waiting = asyncio.get_running_loop(), list[Waiting]()
        for each in statements:
            if each.payload == b"broken":
                raise ValueError("a fault of ours")
            if each.payload == b"refused":
                waiting.append(node_pb2.PublishResult(refusal=node_pb2.Refusal(code="RULES")))
                continue
            future = loop.create_future()
            self.futures.append(future)
            waiting.append((each.payload, future))
        return waiting

    def answer(self) -> None:
        for place, each in enumerate(self.futures):
            each.set_result(node_pb2.PublishResult(statement_digest=bytes([place])))
        self.futures.clear()


def call(calls: SingleCalls, payload: bytes, caller: Caller = SYSTEM) -> asyncio.Task[node_pb2.PublishResult]:
    return asyncio.get_running_loop().create_task(calls.publish(signed_pb2.SignedPayload(payload=payload), caller))


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def busy(calls: SingleCalls, entered: Entered, number: int = 3) -> list[asyncio.Task[Any]]:
    """Leave so many calls without an answer."""
    waiting = [call(calls, b"before") for _ in range(number)]
    while sum(len(payloads) for _, payloads in entered.batches) < number:
        await asyncio.sleep(0)
    entered.batches.clear()
    return waiting


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def test_a_call_alone_is_entered_at_the_next_turn() -> None:
    async def work() -> None:
        entered = Entered()
        alone = call(SingleCalls(entered.enter), b"one")
        await turns(3)  # the call, the departure, the task that enters
        assert entered.batches == [(SYSTEM, [b"one"])]
        entered.answer()
        assert (await alone).statement_digest == b"\0"

    run(work())


def test_calls_that_come_while_others_are_open_are_entered_together_and_answered_each() -> None:
    async def work() -> None:
        entered = Entered()
        calls = SingleCalls(entered.enter)
        before = await busy(calls, entered)
        later = []
        for place in range(5):
            later.append(call(calls, bytes([place])))
            await turns(2)
        while not entered.batches:
            await asyncio.sleep(0)
        assert entered.batches == [(SYSTEM, [bytes([place]) for place in range(5)])]
        entered.answer()
        answers = await asyncio.gather(*before, *later)
        assert [each.statement_digest for each in answers] == [bytes([place]) for place in range(8)]

    run(work())


def test_a_full_batch_waits_for_no_further_call() -> None:
    async def work() -> None:
        entered = Entered()
        calls = SingleCalls(entered.enter)
        full = [call(calls, b"each") for _ in range(FULL_GROUP)]
        await turns(3)
        assert [len(payloads) for _, payloads in entered.batches] == [FULL_GROUP]
        entered.answer()
        await asyncio.gather(*full)

    run(work())


def test_each_caller_has_a_batch_of_his_own() -> None:
    async def work() -> None:
        entered = Entered()
        calls = SingleCalls(entered.enter)
        tasks = [call(calls, b"a"), call(calls, b"b", OFFICER), call(calls, b"c")]
        while len(entered.batches) < 2:
            await asyncio.sleep(0)
        assert entered.batches == [(SYSTEM, [b"a", b"c"]), (OFFICER, [b"b"])]
        entered.answer()
        await asyncio.gather(*tasks)

    run(work())


def test_a_call_that_was_cancelled_before_is_not_entered() -> None:
    async def work() -> None:
        entered = Entered()
        calls = SingleCalls(entered.enter)
        before = await busy(calls, entered)
        gone, stays = call(calls, b"gone"), call(calls, b"stays")
        await turns(1)
        gone.cancel()
        while not entered.batches:
            await asyncio.sleep(0)
        assert entered.batches == [(SYSTEM, [b"stays"])]
        entered.answer()
        await asyncio.gather(*before, stays)
        assert gone.cancelled()

    run(work())


def test_a_refusal_is_the_answer_of_its_own_call_alone() -> None:
    async def work() -> None:
        entered = Entered()
        calls = SingleCalls(entered.enter)
        tasks = [call(calls, each) for each in (b"refused", b"good", b"late")]
        while not entered.futures:
            await asyncio.sleep(0)
        entered.futures.pop().set_exception(RefusedError("EQUIVOCATION", "another statement has this id"))
        entered.answer()
        refused, good, late = await asyncio.gather(*tasks)
        assert (refused.refusal.code, good.HasField("refusal")) == ("RULES", False)
        assert late.refusal.code == "EQUIVOCATION"

    run(work())


def test_a_fault_ends_every_call_that_was_entered_with_it_and_none_after() -> None:
    async def work() -> None:
        entered = Entered()
        calls = SingleCalls(entered.enter)
        tasks = [call(calls, each) for each in (b"good", b"broken")]
        with pytest.raises(ValueError, match="a fault of ours"):
            await tasks[0]
        with pytest.raises(ValueError, match="a fault of ours"):
            await tasks[1]
        entered.futures.clear()
        after = call(calls, b"after")
        while not entered.futures:
            await asyncio.sleep(0)
        entered.answer()
        assert not (await after).HasField("refusal")

    run(work())
