"""A member that misbehaves: its own certificate and its own keys, and a Lane that does what the test says."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from audit.record.lane import LaneClass, LaneId
from exchange.acts import delivery, publishing
from exchange.acts.publishing import Arrival
from exchange.node.node import Node, now_ms
from exchange.rpc.audit.be_witness import WitnessService
from exchange.rpc.audit.service import AuditLog
from exchange.rpc.lane import encode
from exchange.rpc.lane.directory_service import Directory
from exchange.rpc.lane.receipt_batch import given_receipts
from exchange.rpc.lane.records import RecordAdoption, known_records, record_messages
from exchange.rpc.serve import listeners
from exchange.rpc.transport.caller import Identities
from exchange.rpc.transport.channel import Identity
from exchange.rpc.transport.interceptor import Gate
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.refusal_counts import Refusals
from exchange.v1 import node_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys.certificate import private_pem
from keys.dsse import SignedPayload
from tests.flow.world import Member

Script = Callable[["Rogue", AsyncIterator[node_pb2.FollowRequest], Any], Awaitable[None]]


class Rogue:
    """Stands where a member's node would."""

    def __init__(self, member: Member, script: Script) -> None:
        self.member, self._script = member, script
        self.node: Node = member.open()
        self.follows = 0
        self.starts: list[node_pb2.FollowStart] = []
        self.receipts: list[node_pb2.ReceiptBatch] = []
        self.claims: list[node_pb2.LaneTaken] = []  # up to where it says that it has receipts
        self._clock = itertools.count(time.time_ns() // 1_000_000)

    def heads_after(self, other: Rogue) -> None:
        """Date lane heads later than another one's until now: a recipient takes no head that is not later."""
        self._clock = itertools.count(next(other._clock) + 1000)

    async def Recover(self, request: node_pb2.RecoverRequest, context: Any) -> None:
        """Give nothing back."""

    async def HandBack(self, request: node_pb2.HandBackRequest, context: Any) -> None:
        """Give nothing back."""

    async def Follow(self, requests: AsyncIterator[node_pb2.FollowRequest], context: Any) -> None:
        """Take the start, answer it, and go on by the script."""
        self.follows += 1
        async for request in requests:
            self.starts.append(request.start)
            break
        await context.write(
            node_pb2.FollowResponse(
                started=node_pb2.FollowStarted(
                    lanes=self.claims, records=record_messages(known_records(self.node.view))
                )
            )
        )
        await self._script(self, requests, context)

    def publish(self, message: Bulletin) -> None:
        """Publish in its own log and lanes, without any Desk."""
        self.member.running = None
        signed = self._statement(message)
        prepared = publishing.admit(
            signed,
            Arrival(
                caller=f"{self.member.agency}/officer-1",
                view=self.node.view,
                reads=self.node.reads,
                now_ms=now_ms(),
                random_bytes=os.urandom,
            ),
        )
        assert isinstance(prepared, publishing.Prepared)
        self.node.writer.run(lambda w: publishing.publish(w, prepared, self.node.view))

    def _statement(self, message: Bulletin) -> SignedPayload:
        return self.member.sign_statement(message, self.node.view)

    def lane(self, peer: str, lane_class: LaneClass = LaneClass.ROUTINE) -> LaneId:
        """Name a lane of its own."""
        return LaneId(
            federation_id=self.node.view.federation.federation_id,
            sender=self.node.view.agency,
            recipient=peer,  # type: ignore[arg-type] # wrong or merged on purpose
            lane_class=lane_class,
            epoch=1,
        )

    def outgoing(self, peer: str, after: int = 0, lane_class: LaneClass = LaneClass.ROUTINE) -> list[delivery.Outgoing]:
        """Read its deliveries to a peer."""
        state = self.node.reads.lane(outgoing=True, peer=peer, lane_class=int(lane_class), epoch=1)
        assert state is not None
        return delivery.outgoing_after(self.node.reads, state, after, now_ms())

    def message(
        self,
        items: list[delivery.Outgoing],
        peer: str,
        *,
        latest: int = 0,
        view: Any = None,
        change: Callable[[delivery.Outgoing], delivery.Outgoing] = lambda item: item,
        lane_class: LaneClass = LaneClass.ROUTINE,
    ) -> bytes:
        """Make a message of these deliveries, signed as its node would sign, or with another house's key."""
        head = delivery.sign_head(
            self.lane(peer, lane_class),
            (items[-1].sequence, items[-1].digest),
            latest or items[-1].sequence,
            (),
            view or self.node.view,
            next(self._clock),
        )
        parcels = [encode.parcel(each.delivery, each.dispatch, each.wrap, each.body) for each in map(change, items)]
        return encode.batch(parcels, head.encode())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Rogue]:
        """Listen where the member's node would."""
        self.node.start()
        log = ProgramLog(None, self.member.agency)
        view = lambda: self.node.view  # noqa: E731 - one line says it
        gate = Gate(Identities(view, now_ms, desk=False), Refusals(self.node), None, log)
        made = listeners.new_server(self.member.settings, gate)
        witness = WitnessService(self.node, self.member.keys.node, log)
        listeners.add_peer_services(
            made, self, Directory(self.node, RecordAdoption(self.node, log, now_ms)), AuditLog(self.node, witness)
        )  # type: ignore[arg-type] # wrong or merged on purpose
        keys = self.member.keys
        identity = Identity(leaf=keys.tls_leaf, private_pem=private_pem(keys.node.tls_private))
        port = listeners.bind(made, "127.0.0.1:0", listeners.credentials(view, identity, listeners.peers_roots))
        await made.start()
        self.member.endpoints[self.member.agency] = [f"127.0.0.1:{port}"]
        try:
            yield self
        finally:
            await made.stop(0)
            self.node.stop()


async def take_receipts(rogue: Rogue, requests: AsyncIterator[node_pb2.FollowRequest], context: Any) -> None:
    """Read receipts and acknowledge them, until the stream ends."""
    async for request in requests:
        rogue.receipts.append(request.receipts)
        last = given_receipts(request.receipts)[-1][0]
        taken = node_pb2.ReceiptsTaken(lane=encode.lane_taken(encode.class_of(request.receipts), last))
        await context.write(node_pb2.FollowResponse(taken=taken))
