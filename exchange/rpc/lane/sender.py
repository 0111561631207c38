"""One open stream to a peer that follows us: what leaves, in which order, and how much of it at once.

Urgent leaves before routine, each as batches that end in a signed lane head; a head alone is sent while nothing else
is. At most ``credit_bytes`` of a lane are on their way unreceipted, so the recipient sets the pace and urgent never
waits behind more than that (row 57).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from audit.record.lane import LaneClass, LaneId, Withdrawn
from exchange.acts import delivery
from exchange.acts.delivery import MAX_BATCH_BYTES, MAX_BATCH_COUNT
from exchange.acts.publishing import Queued
from exchange.node.node import Node
from exchange.rpc.lane import encode
from exchange.rpc.lane.headtimes import HeadTimes
from exchange.rpc.lane.records import Known, record_messages
from exchange.rpc.transport.fanout import Queue
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.limits import Settings
from exchange.v1 import node_pb2
from keys.identity import AgencyId


@dataclass(slots=True)
class Outlet:
    """One lane of the stream."""

    lane: LaneId
    queue: Queue
    sequence: int  # last sent, or known to the peer
    digest: bytes
    next_head: float  # monotonic seconds
    flight: deque[tuple[int, int]] = field(default_factory=deque)  # sequence of a message's last, bytes
    flying: int = 0

    def sent(self, sequence: int, digest: bytes, size: int) -> None:
        """Note what is on its way."""
        self.sequence, self.digest = sequence, digest
        self.flight.append((sequence, size))
        self.flying += size

    def receipted(self, sequence: int) -> None:
        """Note what has arrived."""
        while self.flight and self.flight[0][0] <= sequence:
            self.flying -= self.flight.popleft()[1]


class LaneSender:
    """Writes one stream; the only one who does."""

    def __init__(
        self,
        node: Node,
        peer: AgencyId,
        outlets: Sequence[Outlet],
        settings: Settings,
        times: HeadTimes,
        check: Callable[[], None],
    ) -> None:
        self._node, self.peer, self._settings, self._times = node, peer, settings, times
        self._check = check  # that the peer is still who it was; raises
        self.outlets = {outlet.lane.lane_class: outlet for outlet in outlets}
        self.wake = asyncio.Event()
        self.stopping = False
        self.error: Exception | None = None  # set by whoever reads the stream
        self._taken: dict[int, node_pb2.ReceiptsTaken] = {}
        self._records: Known = {}
        self._next_check = time.monotonic() + settings.recheck_seconds
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(settings.head_seconds, self._tick)

    def close(self) -> None:
        """End the timer."""
        self._timer.cancel()

    def recheck(self) -> None:
        """Check the peer again at once: something new was adopted."""
        self._next_check = 0.0
        self.wake.set()

    def announce(self, records: Known) -> None:
        """Send the peer what was adopted."""
        self._records.update(records)
        self.wake.set()

    def stop(self) -> None:
        """End the stream in order: the peer follows again from where it stands."""
        self.stopping = True
        self.wake.set()

    def fail(self, error: Exception) -> None:
        """End the stream with an error."""
        self.error = error
        self.wake.set()

    def taken(self, lane_class: LaneClass, sequence: int, peer_size: int) -> None:
        """Acknowledge receipts: they are durable here."""
        self.outlets[lane_class].receipted(sequence)
        self._taken[lane_class] = node_pb2.ReceiptsTaken(
            lane=encode.lane_taken(lane_class, sequence), peer_size=peer_size
        )
        self.wake.set()

    async def run(self, context: Context) -> None:
        """Send until told to stop.

        Raises:
            RefusedError: What ended it.
        """
        while True:
            self.wake.clear()
            if self.error is not None:
                raise self.error
            writer = self._node.writer
            if self.stopping or writer.failure is not None or writer.suspended:  # a head is a signature
                return
            if time.monotonic() >= self._next_check:
                self._check()
                self._next_check = time.monotonic() + self._settings.recheck_seconds
            message = self._next()
            if message is None:
                await self.wake.wait()
            else:
                await context.write(message)

    def _next(self) -> bytes | node_pb2.FollowResponse | None:
        """Return what leaves next: acknowledgements, what was adopted, urgent, routine, heads."""
        if self._taken:
            return node_pb2.FollowResponse(taken=self._taken.pop(min(self._taken)))
        if self._records:
            records, self._records = self._records, {}
            return node_pb2.FollowResponse(records=record_messages(records))
        for lane_class in LaneClass:
            message = self._batch(self.outlets[lane_class])
            if message is not None:
                return message
        now = time.monotonic()
        for outlet in self.outlets.values():
            if now >= outlet.next_head:
                return self._head(outlet, [], [])
        return None

    def _batch(self, outlet: Outlet) -> bytes | None:
        if outlet.sequence >= outlet.queue.latest or outlet.flying >= self._settings.credit_bytes:
            return None
        parcels: list[bytes] = []
        withdrawn: list[Withdrawn] = []
        size, last = self._from_queue(outlet, parcels)
        if last is None:
            size, last = self._from_store(outlet, parcels, withdrawn)
        if last is None:
            return None
        outlet.sent(last[0], last[1], size)
        return self._head(outlet, parcels, withdrawn)

    def _from_queue(self, outlet: Outlet, parcels: list[bytes]) -> tuple[int, tuple[int, bytes] | None]:
        size, at, last = 0, outlet.sequence, None
        room = min(MAX_BATCH_BYTES, self._settings.credit_bytes - outlet.flying)
        while len(parcels) < MAX_BATCH_COUNT:
            item: Queued | None = outlet.queue.take(at)
            if item is None:
                break
            made = encode.parcel(item.row.delivery, item.dispatch, item.row.wrap, item.body)
            if parcels and size + len(made) > room:
                outlet.queue.put_back(item)
                break
            parcels.append(made)
            size, at = size + len(made), item.row.sequence
            last = (item.row.sequence, item.row.digest)
        return size, last

    def _from_store(
        self, outlet: Outlet, parcels: list[bytes], withdrawn: list[Withdrawn]
    ) -> tuple[int, tuple[int, bytes] | None]:
        reads, lane = self._node.reads, outlet.lane
        state = reads.lane(outgoing=True, peer=lane.recipient, lane_class=lane.lane_class, epoch=lane.epoch)
        if state is None:
            return 0, None
        size, last = 0, None
        for item in delivery.outgoing_after(reads, state, outlet.sequence, self._times.now_ms()):
            parcels.append(encode.parcel(item.delivery, item.dispatch, item.wrap, item.body))
            if item.withdrawn is not None:
                withdrawn.append(Withdrawn(sequence=item.sequence, reason=item.withdrawn))
            size, last = size + item.size, (item.sequence, item.digest)
        return size, last

    def _head(self, outlet: Outlet, parcels: list[bytes], withdrawn: list[Withdrawn]) -> bytes:
        outlet.next_head = time.monotonic() + self._settings.head_seconds
        head = delivery.sign_head(
            outlet.lane,
            (outlet.sequence, outlet.digest),
            max(outlet.queue.latest, outlet.sequence),
            withdrawn,
            self._node.view,
            self._times.next(outlet.lane),
        )
        return encode.batch(parcels, head.encode())

    def _tick(self) -> None:
        self.wake.set()
        pause = min(self._settings.head_seconds, self._settings.recheck_seconds) / 2
        self._timer = self._loop.call_later(pause, self._tick)
