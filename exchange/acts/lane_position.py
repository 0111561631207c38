"""Where a lane stands: a peer's, also one that is only beginning, or beginning again after its log did; and ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from audit.record.lane import LaneClass, LaneHead, LaneId, lane_head_digest, parse_delivery
from exchange.acts.node_view import NodeView
from exchange.records.lane_rules import LaneStep, Position
from exchange.store.rows import LaneState
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId

AHEAD_MS = 3_600_000  # of a lane head; a sender's clock once that wrong holds its lane up so long, not for ever
REMEMBERED = 1000  # of an earlier epoch's newest deliveries: one of them is what a restored sender goes on from


def lane_id(state: LaneState, view: NodeView) -> LaneId:
    """Name a lane of ours."""
    return LaneId(
        federation_id=view.federation.federation_id,
        sender=view.agency,
        recipient=AgencyId(state.peer),
        lane_class=LaneClass(state.lane_class),
        epoch=state.epoch,
    )


def lane_of(claimed: LaneId, peer: AgencyId, view: NodeView) -> LaneId:
    """Name the lane that a message must be of: the peer's to us, in the class and epoch that its head claims."""
    view.check_epoch(peer, claimed.epoch)
    return replace(claimed, federation_id=view.federation.federation_id, sender=peer, recipient=view.agency)


def check_clock(head: LaneHead, now_ms: int) -> None:
    """Refuse a head from far ahead: once it is kept, no head of the present could follow it."""
    if head.time_ms > now_ms + AHEAD_MS:
        seconds = (head.time_ms - now_ms) // 1000
        raise RefusedError("CLOCK_DIFFERS", f"{head.lane}: its head is {seconds} s ahead of our clock")


def check_not_stopped(state: LaneState | None) -> None:
    """Refuse a lane that contradicts itself: LANE_STOPPED."""
    if state is not None and state.stopped:
        raise RefusedError("LANE_STOPPED", f"the lane from {state.peer} is stopped: it contradicts itself")


def attempts_at(reads: Reads, state: LaneState | None, steps: Sequence[LaneStep]) -> Mapping[int, int]:
    """Return how often an intake died on each of these deliveries, by sequence."""
    if state is None or not steps:
        return {}
    return reads.attempts(state.row, steps[0].delivery.sequence, steps[-1].delivery.sequence)


def stored_digest(reads: Reads, state: LaneState | None, sequence: int) -> bytes | None:
    """Return the digest of a delivery that we hold."""
    row = reads.inbound(state.row, sequence) if state is not None else None
    return row.digest if row is not None else None


def position_of(state: LaneState | None) -> Position:
    """Return where we stand in a lane."""
    if state is None:
        return Position()
    return Position(
        epoch=state.epoch,
        sequence=state.sequence,
        digest=state.digest,
        latest_head_time_ms=state.head_time_ms,
        head_digest=lane_head_digest(SignedPayload.decode(state.head).payload) if state.head else b"",
    )


def standing(
    reads: Reads, state: LaneState | None, peer: AgencyId, lane: LaneId, deliveries: Sequence[bytes]
) -> Position:
    """Return where we stand in a lane that may only be beginning, or beginning again after the sender's log did.

    The first delivery of a later epoch follows the last one of the epoch before that we have receipted. A sender that
    came back from a copy without asking us may remember an earlier one: that is one we hold too, and hides nothing.
    """
    if state is not None and state.sequence:
        return position_of(state)
    earlier = _earlier(reads, peer, lane)
    if earlier is None:
        return position_of(state)
    digest = earlier.digest
    if deliveries:
        named = parse_delivery(deliveries[0]).previous
        after = max(0, earlier.sequence - REMEMBERED)
        if named in {row.digest for row in reads.inbound_after(earlier.row, after, REMEMBERED)}:
            digest = named
    if state is None:
        return Position(epoch=earlier.epoch, sequence=earlier.sequence, digest=digest)
    return replace(position_of(state), digest=digest)


def _earlier(reads: Reads, peer: AgencyId, lane: LaneId) -> LaneState | None:
    """Find the newest earlier epoch of a lane in which anything came."""
    earlier = [
        each
        for each in reads.lanes()  # what we hold bounds it, not the number that the peer gives its epoch
        if not each.outgoing
        and (each.peer, each.lane_class) == (peer, int(lane.lane_class))
        and each.epoch < lane.epoch
        and each.sequence
    ]
    return max(earlier, key=lambda each: each.epoch, default=None)


def check_peer_position(reads: Reads, state: LaneState | None, sequence: int, digest: bytes) -> None:
    """Refuse a recipient that holds more of a lane than we do, or other deliveries: we were rolled back, or it lies.

    Raises:
        RefusedError: LANE_FORK.
    """
    if sequence == 0:
        return
    ours = b""
    if state is not None and sequence == state.sequence:
        ours = state.digest
    elif state is not None and sequence < state.sequence:
        rows = reads.outbound(state.row, sequence - 1, 1)
        ours = rows[0].digest if rows else b""
    if ours != digest:
        sent = state.sequence if state is not None else 0
        raise RefusedError("LANE_FORK", f"the peer holds delivery {sequence} as another; we sent {sent}")
