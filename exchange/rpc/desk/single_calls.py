"""Publishing by calls of one statement each: those that come close together are checked and sealed together.

What is prepared many at a time costs a sixth less than one by one. A call alone is prepared at the loop's next turn;
with three callers or more the first waits for the others, by the rule that commit groups have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from exchange.node.departure import PATIENCE_SECONDS, Departure
from exchange.rpc.desk.publish_stream import Waiting, settled
from exchange.rpc.transport.caller import Caller
from exchange.v1 import node_pb2
from keys.v1 import signed_pb2

Enter = Callable[[Sequence[signed_pb2.SignedPayload], Caller], Awaitable[list[Waiting]]]


@dataclass(slots=True)
class _Call:
    """One call that has not been prepared yet; the future also tells how many were open when it was entered."""

    statement: signed_pb2.SignedPayload
    caller: Caller
    future: asyncio.Future[tuple[Waiting, int]]


class SingleCalls:
    """Gathers calls, and enters them as a batch.

    Args:
        enter: Prepares and submits the statements of one caller, and returns what becomes of each, in order.
    """

    def __init__(self, enter: Enter) -> None:
        self._enter = enter
        self._loop = asyncio.get_running_loop()
        self._arrived: list[_Call] = []
        self._open = 0  # calls without an answer
        self._departure = Departure()
        self._entering: set[asyncio.Task[None]] = set()

    async def publish(self, statement: signed_pb2.SignedPayload, caller: Caller) -> node_pb2.PublishResult:
        """Publish one statement; a refusal is an answer.

        Raises:
            UnavailableError: The node is stopping.
        """
        call = _Call(statement, caller, self._loop.create_future())
        self._arrived.append(call)
        self._open += 1
        try:
            if len(self._arrived) == 1:
                self._departure.plan(1, self._open, self._loop.time())
                self._loop.call_soon(self._depart)
            waiting, known = await call.future
            (result,) = await settled([waiting])
            self._departure.answered(known, self._loop.time())
            return result
        finally:
            self._open -= 1

    def _depart(self) -> None:
        if not self._departure.is_due(len(self._arrived), self._open, self._loop.time()):
            self._loop.call_later(PATIENCE_SECONDS, self._depart)
            return
        calls, self._arrived = self._arrived, []
        by_caller: dict[Caller, list[_Call]] = {}
        for call in calls:
            if not call.future.done():  # else it was cancelled: nothing of it has happened
                by_caller.setdefault(call.caller, []).append(call)
        for caller, of_one in by_caller.items():
            task = self._loop.create_task(self._enter_calls(caller, of_one, self._open))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter_calls(self, caller: Caller, calls: list[_Call], known: int) -> None:
        try:
            entered = await self._enter([call.statement for call in calls], caller)
        except Exception as error:  # noqa: BLE001 - each call ends with it, as if it had been alone
            for call in calls:
                if not call.future.done():
                    call.future.set_exception(error)
            return
        for call, waiting in zip(calls, entered, strict=True):
            if not call.future.done():
                call.future.set_result((waiting, known))
