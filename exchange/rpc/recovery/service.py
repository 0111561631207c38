"""Lane.Recover, both sides: a member whose node was lost asks back what it once gave.

The answerer gives the caller nothing but the caller's own: what that one sent, the receipts that one made, the newest
checkpoint of each epoch of its log. The answers to its deliveries are proved again, under our newest checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import grpc.aio

from audit.entry.entry import parse_body, parse_entry
from audit.note.checkpoint import parse_note
from audit.note.cosignature import add_lines
from audit.note.epochs import epoch_of_origin
from audit.record.dispatch import dispatch_digest, parse_dispatch
from audit.record.lane import parse_delivery
from audit.witness.request import format_request
from audit.witness.witness import WitnessRefusal
from exchange.acts.directory import RecordKind, digest_of
from exchange.acts.node_view import NodeView
from exchange.acts.reissue import OldEntry, renew
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.job import SUSPENDED_SECONDS
from exchange.node.node import Node, now_ms
from exchange.node.writer import Group
from exchange.records.receipt import Receipt, decode_receipt, receipt_from_message
from exchange.recovery.hand_back import is_given
from exchange.recovery.proven_answers import GivenReceipt, ProvenAnswer, SentDelivery
from exchange.rpc.audit.witness_transport import ask_peer
from exchange.rpc.transport import channel, status
from exchange.rpc.transport.caller import check_pin
from exchange.rpc.transport.channel import Identity
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.interceptor import caller
from exchange.store.rows import InboundRow, LaneState
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.certificate import node_name
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId

PAGE = 64  # deliveries of one message: about 4 KiB each, far below the limit of a message
MAX_ITEMS = 5_000_000  # of one answer: more than a lane of two years at a delivery a minute, and still bounded
ASK_SECONDS = 600.0  # for one member's whole answer

Prove = Callable[[int, int], list[bytes]]
"""Gives the consistency proof of our log between two sizes."""


class RecoveryService:
    """Answers a member that has lost its node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def recover(self, request: node_pb2.RecoverRequest, context: Context) -> None:
        """Write everything that the caller once gave us.

        Raises:
            UnavailableError: We have signed no checkpoint since our start, under which its answers could be proved.
        """
        if not self._node.begun:
            raise UnavailableError(f"this node signs nothing now: {self._node.writer.suspended}", SUSPENDED_SECONDS)
        peer = caller().agency
        await context.write(node_pb2.RecoverResponse(notes=self._notes(peer)))
        for lane in self._node.reads.lanes():
            if lane.peer != peer:
                continue
            pages = self._receipts(lane) if lane.outgoing else self._deliveries(lane)
            async for page in pages:
                await context.write(page)

    def _notes(self, peer: AgencyId) -> list[str]:
        """Return what we verified and what we cosigned: either may be the newer one."""
        view = self._node.view
        origins = {view.log_key(peer, each.epoch).name: each.epoch for each in view.epochs(peer)}
        found = [self._node.reads.peer_checkpoint(peer, epoch) for epoch in origins.values()]
        state = self._node.lock.witness_state()
        try:
            cosigned = [each.note for each in state.all_cosigned() if each.origin in origins]
        finally:
            state.close()
        return [known[1] for known in found if known is not None] + cosigned

    async def _receipts(self, lane: LaneState) -> AsyncIterator[node_pb2.RecoverResponse]:
        after = 0
        while rows := self._node.reads.outbound(lane.row, after, PAGE):
            after = rows[-1].sequence
            made = [
                node_pb2.RecoveredReceipt(
                    delivery=row.delivery,
                    receipt=decode_receipt(row.receipt).to_message(),
                    content=self._is_given(row.entry_index),
                )
                for row in rows
                if row.receipt
            ]
            yield node_pb2.RecoverResponse(receipts=made)

    async def _deliveries(self, lane: LaneState) -> AsyncIterator[node_pb2.RecoverResponse]:
        after = 0
        while rows := self._node.reads.inbound_after(lane.row, after, PAGE):
            after = rows[-1].sequence
            renewed = partial(_renewed, rows, self._node.old_entry)
            receipts = await self._node.writer.submit(renewed, self._prove)
            yield node_pb2.RecoverResponse(
                deliveries=[self._delivery(lane, row, each) for row, each in zip(rows, receipts, strict=True)]
            )

    def _is_given(self, entry_index: int) -> bool:
        content, view = self._node.reads.content(entry_index), self._node.view
        if content is None:
            return False
        dispatch = parse_dispatch(SignedPayload.decode(content.dispatch).payload)
        return is_given(self._node.reads, view.agency, dispatch.bulletin_id, now_ms())

    def _prove(self, positions: Sequence[int], group: Group) -> list[Receipt]:
        return [group.receipt(position, self._node.entry) for position in positions]

    def _delivery(self, lane: LaneState, row: InboundRow, receipt: Receipt) -> node_pb2.RecoveredDelivery:
        made = node_pb2.RecoveredDelivery(delivery=row.delivery, receipt=receipt.to_message())
        bulletin_id = parse_body(parse_entry(receipt.entry).body).bulletin_id
        stored = self._node.reads.find(lane.peer, bulletin_id) if bulletin_id else None
        content = self._node.reads.content(stored.entry_index) if stored is not None else None
        if stored is None or content is None:
            return made
        made.kind, made.number = stored.facts.kind, stored.facts.number
        made.content = is_given(self._node.reads, lane.peer, bulletin_id, now_ms())
        signed = SignedPayload.decode(content.dispatch)
        if dispatch_digest(signed.payload) == parse_delivery(row.delivery).dispatch_digest:
            made.dispatch.CopyFrom(signed.to_message())
        return made


def _renewed(rows: Sequence[InboundRow], old_entry: OldEntry, work: UnitOfWork) -> list[int]:
    return [renew(work, row.entry_index, old_entry) for row in rows]


# ------------------------------------------------------------------ the other side


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one member gave back: its answer, and the records that it holds."""

    answer: ProvenAnswer
    records: tuple[SignedPayload, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDial:
    """One member to be asked, where, and as whom."""

    peer: AgencyId
    address: str  # host:port
    view: NodeView  # the roster, and what else is known; its own epoch is not looked at
    identity: Identity  # what we show
    now_ms: int  # milliseconds UTC


async def ask(dial: PeerDial, *, seconds: float = ASK_SECONDS) -> Told:
    """Ask one member for everything, within so many seconds for the whole answer.

    Raises:
        RefusedError: The peer is not trusted, or what it says is malformed or too much.
        UnavailableError: It is not there.
        grpc.RpcError: It ended the call.
    """
    try:
        async with _dialled(dial) as opened, asyncio.timeout(seconds):
            records = await _records(opened, dial.view)
            return Told(answer=await _cosigned(await _answer(dial.peer, opened), opened), records=records)
    except TimeoutError as error:
        raise RefusedError("TOO_MANY", f"{dial.peer} did not come to an end in {seconds:g} s") from error


async def show(dial: PeerDial, *, note: str, prove: Prove) -> str:
    """Show one member our newest checkpoint, as a log shows it to a witness; return its signature lines.

    Args:
        dial: Whom.
        note: The checkpoint.
        prove: Returns the consistency proof from one size of our log to another.

    Raises:
        WitnessRefusal: It does not cosign that; and errors as ``ask``.
    """
    size = parse_note(note).checkpoint.size
    async with _dialled(dial) as opened:
        witness, old = ask_peer(_Opened(opened)), size
        try:
            return await witness(format_request(old, [], note))
        except WitnessRefusal as refusal:
            if refusal.status != status.ELSEWHERE or refusal.size is None or refusal.size > size:
                raise
            old = refusal.size
        return await witness(format_request(old, prove(old, size) if old else [], note))


@dataclass(frozen=True, slots=True)
class _Opened:
    channel: grpc.aio.Channel | None


@asynccontextmanager
async def _dialled(dial: PeerDial) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to a member's node, the one that its key sheet pins."""
    peer, view, identity, now_ms = dial.peer, dial.view, dial.identity, dial.now_ms
    member, name = view.federation.member(peer, now_ms), node_name(peer, view.federation.name)

    def check(leaf: bytes) -> None:
        if peer in view.federation.key_sheets:
            check_pin(leaf, peer, view.federation, now_ms)

    await channel.probe(dial.address, channel.probe_context(member.tls_ca), name, check)
    opened = channel.peer_channel(dial.address, member.tls_ca, identity.leaf, identity.private_pem, name)
    try:
        yield opened
    finally:
        await opened.close()


async def _records(opened: grpc.aio.Channel, view: NodeView) -> tuple[SignedPayload, ...]:
    """Fetch every manifest and key sheet of members that we do not hold in that version, manifests first."""
    stub = node_pb2_grpc.DirectoryStub(opened)
    told = await stub.Adopted(node_pb2.AdoptedRequest())
    known = {digest_of(RecordKind.MANIFEST, each.signed) for each in view.federation.manifests.values()}
    known |= {digest_of(RecordKind.KEY_SHEET, each.signed) for each in view.federation.key_sheets.values()}
    found = []
    for kind in (RecordKind.MANIFEST, RecordKind.KEY_SHEET):
        for each in told.records:
            if int(each.kind) == kind and each.digest not in known and view.federation.roster.member(each.agency):
                wanted = node_pb2.RecordRequest(kind=each.kind, agency=each.agency, version=each.version)
                found.append(SignedPayload.from_message((await stub.Record(wanted)).record))
    return tuple(found)


async def _answer(peer: AgencyId, opened: grpc.aio.Channel) -> ProvenAnswer:
    notes: list[str] = []
    deliveries: list[SentDelivery] = []
    receipts: list[GivenReceipt] = []
    async for message in node_pb2_grpc.LaneStub(opened).Recover(node_pb2.RecoverRequest()):
        notes.extend(message.notes)
        deliveries.extend(_sent(each) for each in message.deliveries)
        receipts.extend(
            GivenReceipt(delivery=each.delivery, receipt=receipt_from_message(each.receipt), content=each.content)
            for each in message.receipts
        )
        if len(deliveries) + len(receipts) + len(notes) > MAX_ITEMS:
            raise RefusedError("TOO_MANY", f"{peer} gives back more than {MAX_ITEMS} items")
    return ProvenAnswer(peer=peer, notes=tuple(notes), deliveries=tuple(deliveries), receipts=tuple(receipts))


async def _cosigned(answer: ProvenAnswer, opened: grpc.aio.Channel) -> ProvenAnswer:
    """Have the peer cosign the newest of its notes once more, for anybody who has not seen that one; if it will.

    It cosigns what it holds as a witness, which keeps no lines. Once it knows of the next epoch, it cosigns no more.
    """
    if not answer.notes:
        return answer
    newest = max(answer.notes, key=_age)
    body = format_request(parse_note(newest).checkpoint.size, [], newest)
    try:
        given = await node_pb2_grpc.AuditLogStub(opened).AddCheckpoint(node_pb2.AddCheckpointRequest(body=body))
    except grpc.RpcError:
        return answer  # it has verified it, but stands elsewhere as a witness
    return replace(answer, notes=(*answer.notes, add_lines(newest, given.signature_lines.decode(errors="replace"))))


def _age(note: str) -> tuple[int, int]:
    checkpoint = parse_note(note).checkpoint
    return epoch_of_origin(checkpoint.origin), checkpoint.size


def _sent(each: node_pb2.RecoveredDelivery) -> SentDelivery:
    return SentDelivery(
        delivery=each.delivery,
        dispatch=SignedPayload.from_message(each.dispatch) if each.HasField("dispatch") else None,
        receipt=receipt_from_message(each.receipt),
        kind=each.kind,
        number=each.number,
        content=each.content,
    )
