"""Lane.HandBack, both sides: contents that a member has lost come back while it runs.

What is wanted stands in the store, so a round that is cut off is taken up by the next. A peer's refusal is for ever and
is written down; a peer that is not there is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import grpc
import grpc.aio

from exchange.acts.stored_bulletin import bring_back
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.job import SUSPENDED_SECONDS
from exchange.node.node import Node, now_ms
from exchange.recovery.hand_back import (
    DispatchedAgain,
    GivenContent,
    dispatch_again,
    enter_again,
    give,
    givers,
    is_back,
    living_content,
    reads_peer,
    take_back,
)
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.interceptor import caller
from exchange.rpc.transport.runtime import Runtime
from exchange.store.rows import DeliveryState, Wanted
from exchange.store.store import Transaction
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId

MOST = 64  # bulletins of one request
ASK_SECONDS = 120.0  # for one answer of at most 64 MiB
# These may pass: they are no word about the content.
PASSING = frozenset({"KEY_SHEET_EXPIRED", "TOO_MANY"})


class FollowedPeer(Protocol):
    """A peer that we follow, over whose channel it can be asked."""

    channel: grpc.aio.Channel | None

    @property
    def peer(self) -> AgencyId:
        """Return whose node it is."""


async def hand_back(node: Node, request: node_pb2.HandBackRequest, context: Context) -> None:
    """Answer a member that asks contents back, one message for each.

    Raises:
        RefusedError: TOO_MANY.
        UnavailableError: We sign nothing now.
    """
    peer = caller().agency
    if len(request.bulletins) > MOST:
        raise RefusedError("TOO_MANY", f"{len(request.bulletins)} bulletins in one request, at most {MOST}")
    if not node.begun:
        raise UnavailableError(f"this node signs nothing now: {node.writer.suspended}", SUSPENDED_SECONDS)
    for each in request.bulletins:
        await context.write(await _answer(node, peer, each))


async def _answer(node: Node, peer: AgencyId, asked: node_pb2.WantedBulletin) -> node_pb2.HandBackResponse:
    wanted = Wanted(sender=asked.sender, bulletin_id=asked.bulletin_id, statement_digest=asked.statement_digest)
    made = node_pb2.HandBackResponse(statement_digest=asked.statement_digest)
    try:
        given = give(wanted, peer, node.view, node.reads, now_ms())
    except RefusedError as refusal:
        made.refusal.CopyFrom(node_pb2.Refusal(code=refusal.code, message=str(refusal)))
        return made
    if isinstance(given, GivenContent):
        made.key_id, made.wrap, made.sealed_body = given.key_id, given.wrap, given.body
    elif given is not None:
        await node.writer.submit(partial(enter_again, again=given, view=node.view))
    return made


# ------------------------------------------------------------------ the side that has lost


async def ask_back(runtime: Runtime, followed: Sequence[FollowedPeer]) -> None:
    """Ask for whatever is wanted until cancelled, again and again where somebody was not there."""
    while True:
        try:
            back = sum([await _ask_peer(runtime, each) for each in followed])
            if back:
                runtime.log.write("handed-back", count=back)
        except Exception as error:  # noqa: BLE001 - what is still wanted is asked for again
            runtime.log.fault("hand-back", error)
        await asyncio.sleep(runtime.settings.hand_back_seconds)


async def _ask_peer(runtime: Runtime, followed: FollowedPeer) -> int:
    """Ask one peer for all that it may have; returns how many contents of ours came back."""
    node, back, after = runtime.node, 0, ("", b"")
    while followed.channel is not None and (page := node.reads.wanted(after, MOST)):
        after = page[-1].sender, page[-1].bulletin_id
        done = [each for each in page if is_back(each, node.reads)]
        if done:
            await node.writer.submit(lambda work, done=done: _unwant(work.rows, done))  # type: ignore[misc] # default
        asked = [each for each in page if each not in done and followed.peer in givers(each, node.view, node.reads)]
        if not asked:
            continue
        try:
            back += await _ask(runtime, followed, asked)
        except (grpc.RpcError, TimeoutError):
            return back  # not there now
    return back


async def _ask(runtime: Runtime, followed: FollowedPeer, asked: list[Wanted]) -> int:
    channel, node, back = followed.channel, runtime.node, 0
    if channel is None:
        return 0
    request = node_pb2.HandBackRequest(
        bulletins=[
            node_pb2.WantedBulletin(
                sender=each.sender, bulletin_id=each.bulletin_id, statement_digest=each.statement_digest
            )
            for each in asked
        ]
    )
    by_digest = {each.statement_digest: each for each in asked}
    async with asyncio.timeout(ASK_SECONDS):
        async for answer in node_pb2_grpc.LaneStub(channel).HandBack(request):
            wanted = by_digest.pop(answer.statement_digest, None)
            if wanted is None:
                break  # it says what was not asked
            if answer.HasField("refusal"):
                if answer.refusal.code not in PASSING:
                    await node.writer.submit(partial(_note_refused, wanted=wanted, peer=followed.peer))
            elif answer.sealed_body:
                back += await _take(runtime, wanted, followed.peer, answer)
    return back


async def _take(runtime: Runtime, wanted: Wanted, peer: AgencyId, answer: node_pb2.HandBackResponse) -> int:
    """Store what a recipient gave back of ours, and send it on to whoever of the recipients lacks it."""
    node = runtime.node
    stored = node.reads.find(wanted.sender, wanted.bulletin_id)
    if stored is None or wanted.sender != node.view.agency:
        return 0
    given = GivenContent(key_id=answer.key_id, wrap=answer.wrap, body=answer.sealed_body)
    try:
        back = take_back(stored, given, node.view, node.reads, node.random_bytes)
    except RefusedError as refusal:
        runtime.log.write("hand-back-refused", peer=peer, code=refusal.code)
        await node.writer.submit(partial(_note_refused, wanted=wanted, peer=peer))
        return 0
    await node.writer.submit(partial(bring_back, back=back))
    for again in _unserved(node, wanted):
        await node.writer.submit(partial(enter_again, again=again, view=node.view))
    return 1


def _unserved(node: Node, wanted: Wanted) -> list[DispatchedAgain]:
    """Make deliveries of a bulletin that came back for recipients whose own had to travel without content."""
    reads, view, at_ms = node.reads, node.view, now_ms()
    stored, content = living_content(reads, wanted.sender, wanted.bulletin_id, at_ms)
    newest = {reads_peer(reads, row): row.state for row in reads.outbound_of(stored.entry_index)}
    lacking = [peer for peer, state in newest.items() if state is DeliveryState.WITHDRAWN]
    keys = [view.federation.encryption_key(AgencyId(peer), at_ms) for peer in lacking]
    made = [dispatch_again(stored, content, key, view, reads, at_ms) for key in keys if key is not None]
    return [each for each in made if each is not None]


def _unwant(rows: Transaction, done: list[Wanted]) -> None:
    for each in done:
        rows.unwant(each.sender, each.bulletin_id)


def _note_refused(work: UnitOfWork, wanted: Wanted, peer: AgencyId) -> None:
    work.rows.want(replace(wanted, refused=tuple(sorted({*wanted.refused, peer}))))
