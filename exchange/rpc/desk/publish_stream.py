"""Publishing in batches: statements are checked and sealed in the loop, entered by the writer, answered in order.

The next batch is sealed while the one before is being committed. No task for each statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

from audit.record.statement import statement_digest
from exchange.acts import publishing
from exchange.acts.node_view import NodeView
from exchange.acts.publishing import Arrival, Prepared, PublishOutcome, admit_all
from exchange.acts.reissue import OldEntry, renew
from exchange.acts.unit_of_work import RecordsMovedError, UnitOfWork
from exchange.node.writer import Group
from exchange.rpc.transport.caller import Caller
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.limits import MAX_STATEMENTS, MAX_STATEMENTS_BYTES
from exchange.rpc.transport.runtime import Runtime
from exchange.rules.complaint import RulesError
from exchange.store.rows import StoredBulletin
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.v1 import signed_pb2

IN_FLIGHT = 4  # batches of one stream being committed
AT_ONCE = 16  # statements checked and sealed together; about 12 ms
TURNS = 4  # of the loop that others get between: to accept a call, or to end a group, takes so many

Again = Callable[[], Awaitable[node_pb2.PublishResult]]
Waiting = (  # payload, what becomes of it, what judges it once more where a record was adopted meanwhile
    tuple[bytes, asyncio.Future[node_pb2.PublishResult]]
    | tuple[bytes, asyncio.Future[node_pb2.PublishResult], Again]
    | node_pb2.PublishResult
)


class PublishStream:
    """Takes statements for a node."""

    def __init__(self, runtime: Runtime) -> None:
        self._node, self._refusals, self._now_ms = runtime.node, runtime.refusals, runtime.now_ms

    async def stream(self, requests: AsyncIterator[node_pb2.PublishRequest], context: Context, caller: Caller) -> None:
        """Take batches until the client ends.

        Raises:
            RefusedError: TOO_MANY, TOO_LARGE for a whole message; refused statements are answers.
        """
        waiting: asyncio.Queue[list[Waiting] | None] = asyncio.Queue(IN_FLIGHT)
        answers = asyncio.create_task(_answer(waiting, context))
        taking = asyncio.create_task(self._take(requests, waiting, caller))
        try:
            await asyncio.wait((answers, taking), return_when=asyncio.FIRST_EXCEPTION)
            for task in (taking, answers):
                if task.done():
                    task.result()
        finally:
            answers.cancel()
            taking.cancel()

    async def _take(
        self,
        requests: AsyncIterator[node_pb2.PublishRequest],
        waiting: asyncio.Queue[list[Waiting] | None],
        caller: Caller,
    ) -> None:
        async for request in requests:
            check_batch(request)
            await waiting.put(await self.enter(request.statements, caller))
            await _let_others()
        await waiting.put(None)

    async def enter(self, statements: Sequence[signed_pb2.SignedPayload], caller: Caller) -> list[Waiting]:
        """Check, seal and submit statements of one caller; return what becomes of each, in order."""
        waiting: list[Waiting] = []
        for some in slices(statements):
            if waiting:
                await _let_others()
            waiting += self._enter_some(some, caller)
        return waiting

    def _enter_some(self, messages: Sequence[signed_pb2.SignedPayload], caller: Caller) -> list[Waiting]:
        view = self._node.view
        arrival = Arrival(
            caller=caller.owner,
            view=view,
            reads=self._node.reads,
            now_ms=self._now_ms(),
            random_bytes=self._node.random_bytes,
        )
        signed = [_decoded(message) for message in messages]
        outcomes = iter(admit_all([each for each in signed if isinstance(each, SignedPayload)], arrival))
        return [
            self._refused(message.payload, outcome, caller)
            if isinstance(outcome, RefusedError)
            else (message.payload, self._submit(outcome, view), partial(self._enter_again, message, caller))
            for message, each in zip(messages, signed, strict=True)
            for outcome in (each if isinstance(each, RefusedError) else next(outcomes),)
        ]

    async def _enter_again(self, message: signed_pb2.SignedPayload, caller: Caller) -> node_pb2.PublishResult:
        (result,) = await settled(self._enter_some([message], caller))
        return result

    def _submit(self, prepared: Prepared | StoredBulletin, view: NodeView) -> asyncio.Future[node_pb2.PublishResult]:
        finish = partial(self._finish, prepared, view)
        if isinstance(prepared, StoredBulletin):
            again = partial(_again, stored=prepared, old_entry=self._node.old_entry)
            return self._node.writer.submit(again, finish)
        return self._node.writer.submit(partial(publishing.publish, prepared=prepared, view=view), finish)

    def _finish(
        self, prepared: Prepared | StoredBulletin, view: NodeView, published: PublishOutcome, group: Group
    ) -> node_pb2.PublishResult:
        """Make the answer, once it is durable and signed for."""
        if isinstance(prepared, StoredBulletin) or not published.queued:
            # It was published before, perhaps in this very group: what travels is the dispatch of that time.
            stored = prepared if isinstance(prepared, StoredBulletin) else published
            content = self._node.reads.content(stored.entry_index)
            dispatch = SignedPayload.decode(content.dispatch).to_message() if content is not None else None
            manifest = self._node.reads.records_at(view.agency, stored.entry_index).digests[1]
        else:
            dispatch = prepared.sealed.dispatch.to_message()
            manifest = view.federation.manifests[view.agency].digest
        return node_pb2.PublishResult(
            statement_digest=published.statement_digest,
            receipt=group.receipt(published.entry_index, self._node.entry).to_message(),
            dispatch=dispatch,
            manifest=manifest,
        )

    def _refused(self, payload: bytes, refusal: RefusedError, caller: Caller) -> node_pb2.PublishResult:
        self._refusals.count(caller.number, refusal.code)
        return refused_result(payload, refusal)


def slices(statements: Sequence[signed_pb2.SignedPayload]) -> Iterator[list[signed_pb2.SignedPayload]]:
    """Divide statements into those that are sealed in one turn of the loop: not many, and not large."""
    some: list[signed_pb2.SignedPayload] = []
    room = MAX_STATEMENTS_BYTES
    for each in statements:
        size = len(each.payload)
        if some and (len(some) == AT_ONCE or size > room):
            yield some
            some, room = [], MAX_STATEMENTS_BYTES
        some.append(each)
        room -= size
    yield some


async def _let_others() -> None:
    """Give the others in the loop their turns."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _decoded(message: signed_pb2.SignedPayload) -> SignedPayload | RefusedError:
    try:
        return SignedPayload.from_message(message)
    except RefusedError as refusal:
        return refusal


def refused_result(payload: bytes, refusal: RefusedError) -> node_pb2.PublishResult:
    """Return why a statement was refused, with every complaint."""
    complaints = refusal.complaints if isinstance(refusal, RulesError) else ()
    return node_pb2.PublishResult(
        statement_digest=statement_digest(payload),
        refusal=node_pb2.Refusal(
            code=refusal.code,
            message=str(refusal),
            complaints=[
                node_pb2.Complaint(code=each.code, path=each.path, message=each.message, hint=each.hint or "")
                for each in complaints
            ],
        ),
    )


def check_batch(request: node_pb2.PublishRequest) -> None:
    """Refuse a message beyond its limits; one statement alone may exceed the bytes."""
    if not 1 <= len(request.statements) <= MAX_STATEMENTS:
        raise RefusedError("TOO_MANY", f"{len(request.statements)} statements in a message, at most {MAX_STATEMENTS}")
    if len(request.statements) > 1 and request.ByteSize() > MAX_STATEMENTS_BYTES:
        raise RefusedError("TOO_LARGE", f"a message of {request.ByteSize()} bytes, at most {MAX_STATEMENTS_BYTES}")


async def _answer(waiting: asyncio.Queue[list[Waiting] | None], context: Context) -> None:
    while (batch := await waiting.get()) is not None:
        await context.write(node_pb2.PublishResponse(results=await settled(batch)))


async def settled(batch: list[Waiting]) -> list[node_pb2.PublishResult]:
    """Wait for a batch; what the transaction refused is an answer too."""
    results = []
    for each in batch:
        if isinstance(each, node_pb2.PublishResult):
            results.append(each)
            continue
        payload, future, *again = each
        try:
            results.append(await future)
        except RefusedError as refusal:
            results.append(refused_result(payload, refusal))
        except RecordsMovedError:
            if not again:
                raise
            results.append(await again[0]())
    return results


def _again(work: UnitOfWork, *, stored: StoredBulletin, old_entry: OldEntry) -> PublishOutcome:
    position = renew(work, stored.entry_index, old_entry)
    return PublishOutcome(entry_index=position, statement_digest=stored.statement_digest, queued=())
