"""Recovery: what peers give back to a node that was lost, judged and entered into the first group of a new epoch.

Nothing is believed on a peer's word. What it says we sent is bound by its own log's proof to the delivery that we
numbered, and by our own key to the dispatch; what it says we answered is an entry of our own log under our own key. The
new log says first what it goes on from (GENESIS, RESTORED), then what was given back, so that a bulletin's id is never
used twice and every receipt that anybody holds has its counterpart here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from audit.entry.entry import Kind
from audit.entry.grammar import ANSWERS
from audit.note.checkpoint import Checkpoint, parse_note, verify_note
from audit.record.dispatch import dispatch_digest
from audit.record.lane import Delivery, LaneId, delivery_digest, parse_delivery
from exchange.acts.node_view import NodeView
from exchange.records.receipt import Receipt, VerifiedReceipt, origin_of, verify_receipt
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.signer import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SentDelivery:
    """One delivery of ours as a peer gives it back, with the proof of its answer; nothing of it is verified."""

    delivery: bytes
    dispatch: SignedPayload | None  # None where the peer did not keep it
    receipt: Receipt
    kind: str = ""  # the peer's word
    number: str = ""
    content: bool = False  # the peer's word: it would give the content back


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenReceipt:
    """One receipt that we gave, as the peer gives it back; nothing of it is verified."""

    delivery: bytes
    receipt: Receipt
    content: bool = False  # the peer's word: it would dispatch the bulletin again


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenAnswer:
    """What one peer gives back."""

    peer: AgencyId
    notes: tuple[str, ...]
    deliveries: tuple[SentDelivery, ...]
    receipts: tuple[GivenReceipt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenDelivery:
    """A delivery of ours that the peer's own log answers."""

    lane: LaneId
    sequence: int
    delivery: bytes
    digest: bytes  # 32 bytes
    previous: bytes  # 32 bytes
    dispatch_digest: bytes  # 32 bytes
    dispatch: SignedPayload | None  # signed by an operations key of ours
    receipt: Receipt
    proven: VerifiedReceipt
    kind: str
    number: str
    content: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenReceipt:
    """An entry of our own lost log that answered a delivery of the peer's."""

    lane: LaneId
    sequence: int
    digest: bytes  # 32 bytes, of the delivery
    receipt: Receipt
    proven: VerifiedReceipt
    content: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """One peer's answer, verified."""

    peer: AgencyId
    notes: tuple[tuple[str, Checkpoint], ...]  # of our log, by epoch
    deliveries: tuple[ProvenDelivery, ...]  # ascending by class, epoch, sequence; each lane without gaps
    receipts: tuple[ProvenReceipt, ...]  # the same

    @property
    def newest(self) -> Checkpoint | None:
        """The newest checkpoint of ours that this peer holds."""
        checkpoints = [checkpoint for _, checkpoint in self.notes]
        return max(checkpoints, key=_order, default=None)

    @property
    def count(self) -> int:
        """How many entries of the two logs it gives back."""
        return len(self.deliveries) + len(self.receipts)


def check_answer(answer: ProvenAnswer, view: NodeView) -> Recovered:
    """Verify what a peer gives back.

    1. Each note is signed by our log's key of its epoch. 2. Each delivery is ours to this peer; 3. the peer's log
    answers this very delivery of ours; 4. its dispatch is the one that it names, signed by an operations key of ours;
    5. each lane is dense and chained. 6. Each receipt is an entry of our log, under our key, about a delivery of the
    peer's to us.

    Args:
        answer: As received.
        view: Ours: rosters, manifests, who we are.

    Raises:
        RefusedError: RECEIPT_INVALID and those of notes, deliveries and dispatches; nothing of the answer is used.
    """
    notes = tuple((note, _own_note(note, view)) for note in answer.notes)  # 1
    deliveries = tuple(_check_delivery(each, answer.peer, view) for each in answer.deliveries)
    receipts = tuple(_check_receipt(each, answer.peer, view) for each in answer.receipts)
    deliveries = tuple(sorted(deliveries, key=_lane_order))
    for _, lane in groupby(deliveries, key=lambda each: each.lane):
        _check_chain(list(lane))  # 5
    return Recovered(
        peer=answer.peer, notes=notes, deliveries=deliveries, receipts=tuple(sorted(receipts, key=_lane_order))
    )


def _own_note(note: str, view: NodeView) -> Checkpoint:
    origin = parse_note(note).checkpoint.origin
    return verify_note(note, view.key_of(view.agency, origin))


def _check_delivery(given: SentDelivery, peer: AgencyId, view: NodeView) -> ProvenDelivery:
    delivery = parse_delivery(given.delivery)
    _check_lane(delivery, view.agency, peer, view)  # 2
    digest = delivery_digest(given.delivery)
    proven = verify_receipt(given.receipt, view.key_of(peer, origin_of(given.receipt)))  # 3
    _check_about(proven, digest, delivery.dispatch_digest, view.number, peer)
    if proven.body.understood and proven.body.kind not in ANSWERS:
        raise RefusedError("RECEIPT_INVALID", f"{peer}: {Kind(proven.body.kind).name} answers no delivery")
    if given.dispatch is not None:  # 4
        _check_dispatch(given.dispatch, delivery, peer, view)
    return ProvenDelivery(
        lane=delivery.lane,
        sequence=delivery.sequence,
        delivery=given.delivery,
        digest=digest,
        previous=delivery.previous,
        dispatch_digest=delivery.dispatch_digest,
        dispatch=given.dispatch,
        receipt=given.receipt,
        proven=proven,
        kind=given.kind[:64],
        number=given.number[:64],
        content=given.content,
    )


def _check_lane(delivery: Delivery, sender: str, recipient: str, view: NodeView) -> None:
    lane = delivery.lane
    if (lane.federation_id, lane.sender, lane.recipient) != (view.federation.federation_id, sender, recipient):
        raise RefusedError("RECEIPT_INVALID", f"given back: a delivery of {lane}, not from {sender} to {recipient}")


def _check_about(proven: VerifiedReceipt, digest: bytes, dispatch: bytes, number: int, peer: str) -> None:
    body = proven.body
    if (body.delivery_digest, body.dispatch_digest, body.peer) != (digest, dispatch, number):
        raise RefusedError("RECEIPT_INVALID", f"{peer}: entry {proven.entry.index} is not about {short(digest)}")


def _check_dispatch(signed: SignedPayload, delivery: Delivery, peer: str, view: NodeView) -> None:
    if dispatch_digest(signed.payload) != delivery.dispatch_digest:
        raise RefusedError("RECEIPT_INVALID", f"{peer}: another dispatch than {short(delivery.dispatch_digest)}")
    verify(signed, "dispatch", lambda key_id: _operations_key(key_id, view))


def _operations_key(key_id: bytes, view: NodeView) -> PublicKey | None:
    """Find an operations key of ours, whether it still may sign or not: it signed when it could."""
    manifest = view.federation.manifests.get(view.agency)
    found = manifest.record.operations_by_id.get(key_id) if manifest is not None else None
    if found is not None:
        return found.public
    return view.operations.key if view.operations.key.key_id == key_id else None


def _check_chain(lane: Sequence[ProvenDelivery]) -> None:
    if lane[0].sequence != 1:
        raise RefusedError("RECEIPT_INVALID", f"{lane[0].lane}: given back from {lane[0].sequence} on, not from 1")
    for before, after in pairwise(lane):
        if after.sequence != before.sequence + 1 or after.previous != before.digest:
            raise RefusedError("RECEIPT_INVALID", f"{after.lane}: {after.sequence} does not follow {before.sequence}")


def _check_receipt(given: GivenReceipt, peer: AgencyId, view: NodeView) -> ProvenReceipt:
    delivery = parse_delivery(given.delivery)
    _check_lane(delivery, peer, view.agency, view)  # 6
    digest = delivery_digest(given.delivery)
    proven = verify_receipt(given.receipt, view.key_of(view.agency, origin_of(given.receipt)))
    _check_about(proven, digest, delivery.dispatch_digest, view.member_number(peer), peer)
    return ProvenReceipt(
        lane=delivery.lane,
        sequence=delivery.sequence,
        digest=digest,
        receipt=given.receipt,
        proven=proven,
        content=given.content,
    )


def last_seen(recovered: Iterable[Recovered], origin: str) -> tuple[str, Checkpoint] | None:
    """Choose the checkpoint at which an epoch of ours ended: the largest that any peer holds.

    Not the largest that a quorum has cosigned: whoever has seen more would rightly refuse what hides it. Signature
    lines of the same checkpoint, from several peers, are put together by the caller.

    Args:
        recovered: All answers.
        origin: Of the epoch that was lost.

    Raises:
        RefusedError: EQUIVOCATION; two of one size with different roots, both under our key: it signs elsewhere.
    """
    found: dict[int, tuple[str, Checkpoint]] = {}
    for answer in recovered:
        for note, checkpoint in answer.notes:
            if checkpoint.origin != origin:
                continue
            before = found.setdefault(checkpoint.size, (note, checkpoint))
            if before[1].root != checkpoint.root:
                raise RefusedError(
                    "EQUIVOCATION",
                    f"{origin} has two histories of size {checkpoint.size}, {short(before[1].root)} and"
                    f" {short(checkpoint.root)}; {answer.peer} holds the second: our log's key signs elsewhere",
                )
    return found[max(found)] if found else None


def _order(checkpoint: Checkpoint) -> tuple[int, int]:
    return int(checkpoint.origin.rpartition("/")[2]), checkpoint.size


def _lane_order(each: ProvenDelivery | ProvenReceipt) -> tuple[int, int, int]:
    return int(each.lane.lane_class), each.lane.epoch, each.sequence
