"""Lane, the sender's side: a recipient dials, says where it stands, and is sent what follows against its receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

from audit.record.lane import LaneClass, LaneId
from audit.tree.proof import ConsistencyError
from exchange.acts import delivery
from exchange.acts.lane_position import check_peer_position
from exchange.acts.node_view import NodeView
from exchange.node.job import SUSPENDED_SECONDS
from exchange.node.writer import Group
from exchange.rpc.audit.gossip import third_notes
from exchange.rpc.audit.peer_checkpoints import Checkpoints
from exchange.rpc.lane import encode
from exchange.rpc.lane.headtimes import HeadTimes
from exchange.rpc.lane.receipt_batch import GivenReceipt, given_receipts, one_note
from exchange.rpc.lane.records import check_number, known_records, record_messages
from exchange.rpc.lane.sender import LaneSender, Outlet
from exchange.rpc.recovery.hand_back import hand_back
from exchange.rpc.recovery.service import RecoveryService
from exchange.rpc.transport.fanout import Fanout, Queue
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.interceptor import Gate, caller
from exchange.rpc.transport.runtime import Runtime
from exchange.store.rows import LaneState
from exchange.v1 import node_pb2
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId

Requests = AsyncIterator[node_pb2.FollowRequest]
ATTEMPTS = 3  # at entering receipts while the lane moves under them
CUT_OFF_SECONDS = 0.2  # so soon gRPC has told that a stream which ended was cut off


class LaneService:
    """The servicer of ``exchange.v1.Lane``."""

    def __init__(self, runtime: Runtime, fanout: Fanout, gate: Gate, checkpoints: Checkpoints) -> None:
        node = runtime.node
        self._node, self._fanout, self._gate, self._checkpoints = node, fanout, gate, checkpoints
        self._settings, self._now_ms, self._log = runtime.settings, runtime.now_ms, runtime.log
        self._connections = runtime.connections
        self._times = HeadTimes(node, runtime.now_ms)
        self._streams: dict[str, LaneSender] = {}
        self._told = known_records(node.view)
        self._stopping = False
        node.on_view.append(self._adopted)

    async def Follow(self, requests: Requests, context: Context) -> None:
        """Send deliveries from where the peer stands, and take its receipts.

        1 the first message says where it stands; 2 it holds no more than we sent, and the same; then both directions
        go on until one side ends.

        Raises:
            RefusedError: MALFORMED, LANE_FORK, LANE_UNKNOWN, and those of receipts.
            UnavailableError: We may sign no lane head now.
        """
        peer = caller().agency
        if self._node.writer.suspended:
            raise UnavailableError(f"this node signs nothing now: {self._node.writer.suspended}", SUSPENDED_SECONDS)
        start = await _first(requests)  # 1
        stream = LaneSender(
            self._node,
            peer,
            [self._outlet(peer, lane_class, start) for lane_class in LaneClass],  # 2
            self._settings,
            self._times,
            lambda: self._check(context, peer),
        )
        self._enter(stream)
        reading = None
        try:
            await self._checkpoints.check_echo(peer, start.echo)
            await self._checkpoints.gossip.hear(peer, start.seen)
            await context.write(self._started(peer))
            reading = asyncio.create_task(self._read(stream, requests))
            await stream.run(context)
        finally:
            if reading is not None:
                reading.cancel()
            self._leave(stream)

    async def Recover(self, request: node_pb2.RecoverRequest, context: Context) -> None:
        """Return to a member that lost its node what it once gave us (``exchange.rpc.recovery.service``)."""
        await RecoveryService(self._node).recover(request, context)

    async def HandBack(self, request: node_pb2.HandBackRequest, context: Context) -> None:
        """Give a member that lost its node the contents that are its own (``exchange.rpc.recovery.hand_back``)."""
        await hand_back(self._node, request, context)

    def stop(self) -> None:
        """End every stream in order, and take no new ones."""
        self._stopping = True
        for stream in self._streams.values():
            stream.stop()

    @property
    def following(self) -> int:
        """Count the peers that follow us now."""
        return len(self._streams)

    def _enter(self, stream: LaneSender) -> None:
        if self._stopping:
            raise UnavailableError("the node is stopping", 5)
        before = self._streams.get(stream.peer)
        if before is not None:
            before.stop()  # the peer has begun again; its old stream may not know yet
        self._streams[stream.peer] = stream
        for lane_class, outlet in stream.outlets.items():
            outlet.queue.wake = stream.wake.set
            self._fanout.follow(stream.peer, lane_class, outlet.queue)
        self._connections.follows(stream.peer)
        self._log.write("followed", peer=stream.peer)

    def _leave(self, stream: LaneSender) -> None:
        stream.close()
        for lane_class, outlet in stream.outlets.items():
            self._fanout.leave(stream.peer, lane_class, outlet.queue)
        if self._streams.get(stream.peer) is stream:
            del self._streams[stream.peer]
            self._connections.left(stream.peer)

    def _outlet(self, peer: AgencyId, lane_class: LaneClass, start: node_pb2.FollowStart) -> Outlet:
        """Begin one lane where the peer stands."""
        view = self._node.view
        found = [each for each in start.lanes if encode.class_of(each) == lane_class]
        if len(found) > 1:
            raise RefusedError("MALFORMED", "a lane stands twice in a follower's start")
        position = found[0] if found else node_pb2.LanePosition()
        if position.epoch > view.epoch:
            raise RefusedError("LANE_UNKNOWN", f"the peer holds epoch {position.epoch}, ours is {view.epoch}")
        state = self._state(peer, lane_class)
        # What it holds of an epoch before stays true; of this one it has nothing, and its first delivery says after what.
        sequence = position.sequence if position.epoch == view.epoch else 0
        digest = position.delivery_digest if sequence else bytes(32)
        check_peer_position(self._node.reads, state, sequence, digest)
        return Outlet(
            lane=_lane_id(view, peer, lane_class),
            queue=Queue(self._settings.queue_bytes, state.sequence if state else 0, _asleep),
            sequence=sequence,
            digest=digest,
            next_head=time.monotonic() + self._settings.head_seconds,
        )

    def _state(self, peer: AgencyId, lane_class: LaneClass) -> LaneState | None:
        epoch = self._node.view.epoch
        return self._node.reads.lane(outgoing=True, peer=peer, lane_class=lane_class, epoch=epoch)

    def _started(self, peer: AgencyId) -> node_pb2.FollowResponse:
        taken = []
        for lane_class in LaneClass:
            state = self._state(peer, lane_class)
            taken.append(encode.lane_taken(lane_class, state.taken if state else 0))
        known = delivery.known_checkpoint(self._node.reads, peer, self._node.view)
        return node_pb2.FollowResponse(
            started=node_pb2.FollowStarted(
                lanes=taken,
                records=record_messages(known_records(self._node.view)),
                echo=known[1] if known else "",
                seen=third_notes(self._node, peer),
            )
        )

    def _check(self, context: Context, peer: AgencyId) -> None:
        if self._gate.identities.of(context).agency != peer:
            raise RefusedError("PEER_UNTRUSTED", f"the certificate is not {peer}'s any more")

    def _adopted(self, view: NodeView) -> None:
        """Send the followers what has come into force, and check each of them again."""
        known = known_records(view)
        fresh = {key: value for key, value in known.items() if self._told.get(key) != value}
        self._told = known
        for stream in self._streams.values():
            stream.recheck()
            stream.announce(fresh)

    async def _read(self, stream: LaneSender, requests: Requests) -> None:
        """Take a stream's receipts until it ends; an error ends the whole stream."""
        try:
            async for request in requests:
                self._gate.spend(request.ByteSize())
                if not request.HasField("receipts"):
                    raise RefusedError("MALFORMED", "a follower's later messages are receipts")
                await self._take(stream, request.receipts)
            stream.stop()
        except Exception as error:  # noqa: BLE001 - handed to the writer of the stream, which raises it
            stream.fail(error)

    async def _take(self, stream: LaneSender, batch: node_pb2.ReceiptBatch) -> None:
        """Check and enter one batch of receipts; acknowledge what is durable."""
        lane_class = _class(batch)
        receipts = given_receipts(batch)
        note = one_note(receipts)
        await self._checkpoints.check_echo(stream.peer, batch.echo)
        await self._checkpoints.gossip.hear(stream.peer, batch.seen)
        for attempt in range(ATTEMPTS):
            try:
                taken = await self._enter_receipts(stream.peer, lane_class, receipts, note, batch)
                break
            except UnavailableError:
                if attempt == ATTEMPTS - 1:
                    raise
        known = delivery.known_checkpoint(self._node.reads, stream.peer, self._node.view)
        stream.taken(lane_class, taken, known[0] if known else 0)
        self._checkpoints.seen(stream.peer)

    async def _enter_receipts(
        self,
        peer: AgencyId,
        lane_class: LaneClass,
        receipts: list[GivenReceipt],
        note: str,
        batch: node_pb2.ReceiptBatch,
    ) -> int:
        view, reads = self._node.view, self._node.reads
        state = self._state(peer, lane_class)
        if state is None:
            raise RefusedError("LANE_UNKNOWN", f"no lane {lane_class.name} to {peer} has begun")
        known = delivery.known_checkpoint(reads, peer, view)
        if known is not None and known[0] != batch.consistency_from:
            return state.taken  # it proves from a checkpoint that is not our newest: told so, it proves again
        settled = delivery.check_receipts(receipts, lane=state, peer=peer, view=view, reads=reads)
        if not settled:
            return state.taken  # all known: nothing is recorded, so nothing is proved
        try:
            checkpoint = delivery.check_ratchet(note, batch.consistency, peer=peer, view=view, reads=reads)
        except ConsistencyError:
            if known is not None:
                await self._checkpoints.contradicted(peer, known[1], note, batch.consistency)
            raise
        newer = None
        if checkpoint is not None:
            proven_from = known[0] if known is not None else 0
            newer = delivery.NewerCheckpoint(checkpoint=checkpoint, note=note, proven_from=proven_from)
        return await self._node.writer.submit(
            partial(delivery.record_receipts, settled=settled, newer=newer, lane=state, peer=peer, view=view), _value
        )


async def _first(requests: Requests) -> node_pb2.FollowStart:
    """Read where a follower stands. One who was cut off before that word has said nothing wrong."""
    async for request in requests:
        if not request.HasField("start") or request.HasField("receipts"):
            raise RefusedError("MALFORMED", "a follower's first message is its start, and only that")
        check_number(request.start.records)
        return request.start
    await asyncio.sleep(CUT_OFF_SECONDS)  # of a call that was cut off this one is cancelled here
    raise RefusedError("MALFORMED", "a follower said nothing")


def _lane_id(view: NodeView, peer: AgencyId, lane_class: LaneClass) -> LaneId:
    return LaneId(
        federation_id=view.federation.federation_id,
        sender=view.agency,
        recipient=peer,
        lane_class=lane_class,
        epoch=view.epoch,
    )


def _class(batch: node_pb2.ReceiptBatch) -> LaneClass:
    number = encode.class_of(batch)
    if number not in LaneClass.__members__.values():
        raise RefusedError("MALFORMED", "receipts of no lane")
    return LaneClass(number)


def _asleep() -> None:
    return None


def _value(value: int, group: Group) -> int:
    return value
