"""One open stream from a peer that we follow: messages in, receipts out.

A message is judged in the loop and entered by the writer; nothing is answered before it is durable. What is wrong with
a message ends the stream, and the next one begins where we stand.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from audit.record.lane import LaneClass
from exchange.acts import intake
from exchange.acts.delivery import known_checkpoint
from exchange.acts.intake import DeliveryAnswer, Handling, Message
from exchange.acts.judgement import Parcel
from exchange.acts.stop_lane import stop_lane
from exchange.records.lane_rules import EquivocationError
from exchange.rpc.lane import encode
from exchange.rpc.lane.inflight_marker import Marker, enter_deaths
from exchange.rpc.lane.receipts import ReceiptGiver
from exchange.rpc.lane.records import known_records, record_messages
from exchange.rpc.transport.grpc_types import FollowCall
from exchange.rpc.transport.runtime import Runtime
from exchange.store.rows import LaneState
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId

DAMAGED_TIMES = 3  # then it is refused, so that one broken delivery cannot stop a lane
ATTEMPTS = 3  # at entering a message while the lane moves under it


class LaneReceiver:
    """What we know of one peer's lanes beyond single streams, and how its messages are taken."""

    def __init__(self, runtime: Runtime, peer: AgencyId) -> None:
        self._node, self.peer = runtime.node, peer
        self._now_ms, self._refusals, self._log = runtime.now_ms, runtime.refusals, runtime.log
        self._damaged: Counter[tuple[int, int]] = Counter()
        self._marker = Marker(runtime.node.paths.home, peer)
        self.heard = time.monotonic()

    def close(self) -> None:
        """Let the marker go."""
        self._marker.close()

    def start(self) -> node_pb2.FollowRequest:
        """Return where we stand."""
        known = known_checkpoint(self._node.reads, self.peer, self._node.view)
        lanes = [
            encode.lane_position(lane_class, state.epoch, state.sequence, state.digest)
            for lane_class in LaneClass
            if (state := self._lane(lane_class)) is not None
        ]
        return node_pb2.FollowRequest(
            start=node_pb2.FollowStart(
                lanes=lanes,
                records=record_messages(known_records(self._node.view)),
                echo=known[1] if known is not None else "",
            )
        )

    def giver(self, started: node_pb2.FollowStarted, peer_size: int) -> ReceiptGiver:
        """Begin the way back: what the sender lacks is due first.

        Raises:
            RefusedError: MALFORMED; LANE_FORK where the sender claims receipts for what we do not hold, and did not
                hold when our log's epoch began. That is its word alone: had we been rolled back, its echo, which we
                signed, would have said so before.
        """
        giver = ReceiptGiver(self._node, self.peer, peer_size)
        for taken in started.lanes:
            number = encode.class_of(taken)
            if number not in LaneClass.__members__.values():
                raise RefusedError("MALFORMED", "a lane of no class")
            state = self._present(LaneClass(number))
            position = state.sequence if state is not None else 0
            known = max(position, state.taken if state is not None else 0)  # what it had when we were restored
            if taken.sequence > known:
                self._log.alarm("receipts-never-given", peer=self.peer, sequence=taken.sequence)
                raise RefusedError(
                    "LANE_FORK", f"{self.peer} claims receipts up to {taken.sequence}, we hold {position}"
                )
            if state is not None:
                giver.resume(LaneClass(number), taken.sequence, state.row, position)
        return giver

    async def take(self, batch: node_pb2.LaneBatch, giver: ReceiptGiver) -> None:
        """Take one message of a lane.

        Raises:
            RefusedError: What ends the stream.
        """
        self.heard = time.monotonic()
        message = _message(batch)
        try:
            lane_class, answers = await self._enter(message)
        except EquivocationError as found:
            await self._stop_lane(message, found)
            return
        except RefusedError as refusal:
            if refusal.code == "LANE_STOPPED":
                self._refusals.count(self._number(), refusal.code)
                return  # the peer's other lane goes on
            self._note_damage(refusal)
            raise
        giver.answered(lane_class, answers)
        self._report(lane_class, answers)

    def _handling(self) -> Handling:
        given_up = [position for position, times in self._damaged.items() if times >= DAMAGED_TIMES]
        return Handling(random_bytes=self._node.random_bytes, given_up=given_up, on_open=self._marker.opening)

    async def _enter(self, message: Message) -> tuple[LaneClass, list[DeliveryAnswer]]:
        for attempt in range(ATTEMPTS):
            view = self._node.view
            try:
                checked = intake.check_message(
                    message,
                    peer=self.peer,
                    view=view,
                    reads=self._node.reads,
                    now_ms=self._now_ms(),
                    handling=self._handling(),
                )
            except (RefusedError, UnavailableError, IntegrityError):
                raise
            except Exception:
                await self._count_death()
                raise
            finally:
                self._marker.clear()
            try:
                answers = await self._node.writer.submit(
                    partial(
                        intake.take_message,
                        checked=checked,
                        peer=self.peer,
                        view=view,
                        old_entry=self._node.old_entry,
                    ),
                )
            except UnavailableError:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            return checked.lane.lane_class, answers
        raise AssertionError("the last attempt returns or raises")

    async def _count_death(self) -> None:
        """Count a fault of ours on a delivery as a death on it: it must not hold up the lane for ever (row 69)."""
        if self._marker.at is not None:
            found = [(self.peer, *self._marker.at)]
            await self._node.writer.submit(lambda work: enter_deaths(work, found))

    def _note_damage(self, refusal: RefusedError) -> None:
        if isinstance(refusal, intake.DamagedError):
            self._damaged[refusal.delivery] += 1

    async def _stop_lane(self, message: Message, found: EquivocationError) -> None:
        view = self._node.view
        await self._node.writer.submit(lambda work: stop_lane(work, message, found, peer=self.peer, view=view))
        self._log.alarm("lane-contradicts-itself", peer=self.peer, sequence=found.sequence)

    def _report(self, lane_class: LaneClass, answers: list[DeliveryAnswer]) -> None:
        fresh = [each for each in answers if each.new]
        if not fresh:
            return
        self._log.write("received", peer=self.peer, lane=lane_class.name.lower(), count=len(fresh))
        refused = Counter(each.refusal.code for each in fresh if each.refusal is not None)
        for code, count in sorted(refused.items()):
            self._log.write("refused", peer=self.peer, code=code, count=count)

    def _lane(self, lane_class: LaneClass) -> LaneState | None:
        """Return the newest epoch of a lane of the peer's."""
        lanes = [
            each
            for each in self._node.reads.lanes()
            if not each.outgoing and each.peer == self.peer and each.lane_class == lane_class
        ]
        return max(lanes, key=lambda each: each.epoch, default=None)

    def _present(self, lane_class: LaneClass) -> LaneState | None:
        """Return a lane of the peer's in the epoch in which its log is now."""
        epoch = self._node.view.newest_epoch(self.peer)
        return self._node.reads.lane(outgoing=False, peer=self.peer, lane_class=lane_class, epoch=epoch)

    def _number(self) -> int:
        member = self._node.view.federation.roster.member(self.peer)
        return member.number if member is not None else 0


async def converse(
    call: FollowCall, receiver: LaneReceiver, giver: ReceiptGiver, announce: Callable[[Any], Any]
) -> None:
    """Read a stream to its end, and send receipts beside it.

    Raises:
        RefusedError: What ended it on our side.
        grpc.RpcError: What ended it on the other.
    """
    sending = asyncio.create_task(giver.run(call))
    sending.add_done_callback(lambda task: _end_with(task, call))
    try:
        await _read(call, receiver, giver, announce)
    except asyncio.CancelledError:
        # gRPC says so too where the call alone was cancelled, by us, because the way back failed or the peer is silent.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        if sending.done() and not sending.cancelled():
            sending.result()
        raise UnavailableError(f"{receiver.peer} said nothing for too long") from None
    finally:
        sending.cancel()


async def _read(call: FollowCall, receiver: LaneReceiver, giver: ReceiptGiver, announce: Callable[[Any], Any]) -> None:
    while isinstance(response := await call.read(), node_pb2.FollowResponse):
        if response.HasField("batch"):
            await receiver.take(response.batch, giver)
        elif response.HasField("taken"):
            receiver.heard = time.monotonic()
            giver.acknowledged(response.taken)
        elif response.records:
            await announce(response.records)
        else:
            raise RefusedError("MALFORMED", "a message of a lane that says nothing")


def _end_with(task: asyncio.Task[None], call: FollowCall) -> None:
    if not task.cancelled() and task.exception() is not None:
        call.cancel()


def _message(batch: node_pb2.LaneBatch) -> Message:
    return Message(
        parcels=tuple(
            Parcel(
                delivery=each.delivery,
                dispatch=SignedPayload.from_message(each.dispatch),
                wrap=each.wrap,
                body=each.sealed_body,
            )
            for each in batch.parcels
        ),
        head=SignedPayload.from_message(batch.head),
    )
