"""What leaves a lane, and what its receipts prove: each numbered check against a peer that signs what it likes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Kind, Outcome
from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.record.lane import parse_delivery
from audit.record.statement import opening
from exchange.acts import delivery
from exchange.acts.delivery import check_ratchet
from exchange.acts.unit_of_work import UnitOfWork
from exchange.client.verifier import Verifier
from exchange.records.receipt import Receipt
from exchange.records.shared_receipts import MAX_RECEIPTS
from exchange.rpc.desk.items import lanes_by_row, outbox_item
from exchange.rules.catalogue import packaged_catalogue
from exchange.store.rows import DeliveryState, OutboundRow
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId
from tests.exchange.acts.forged_log import ForgedLog
from tests.exchange.acts.sent import PEER, check, lane, publish, received, serials
from tests.exchange.acts.test_hostile import spoilt
from tests.support.scale import SCALE
from tests.support.world import Desk, advisory, view_of


@pytest.fixture
def peer_log() -> ForgedLog:
    return ForgedLog(PEER)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """HK-IMMD, whose receipts from others these tests forge."""
    made = Desk("HK-IMMD", tmp_path_factory.mktemp("sender"))
    yield made
    made.close()


def invalid(desk: Desk, *receipts: tuple[int, Receipt, Receipt | None], code: str = "RECEIPT_INVALID") -> None:
    before = lane(desk)
    with pytest.raises(RefusedError) as raised:
        check(desk, *receipts)
    assert raised.value.code == code, raised.value
    assert lane(desk) == before


def test_a_receipt_settles_its_delivery_and_is_logged(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    index = peer_log.add(received(desk, row).encode())
    assert desk.settle([(row.sequence, peer_log.receipt(index), None)], PEER) == row.sequence
    [settled] = desk.node.reads.outbound(row.lane, row.sequence - 1, 1)
    assert (settled.state, settled.reason) == (DeliveryState.RECEIVED, 0)
    recorded = desk.bodies(Kind.RECEIPT_RECORDED)[-1]
    assert (recorded.delivery_digest, recorded.peer_index, recorded.refers_to) == (row.digest, index, row.queued_index)


def test_a_refusal_settles_with_its_reason(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    body = received(desk, row, kind=Kind.REFUSED, outcome=Outcome.RULES, opening=b"")
    desk.settle([(row.sequence, peer_log.receipt(peer_log.add(body.encode())), None)], PEER)
    [settled] = desk.node.reads.outbound(row.lane, row.sequence - 1, 1)
    assert (settled.state, settled.reason) == (DeliveryState.REFUSED, Outcome.RULES)


def test_1_more_receipts_than_a_message_may_hold_are_refused_even_if_all_are_known(
    desk: Desk, peer_log: ForgedLog
) -> None:
    [row] = publish(desk)
    receipt = peer_log.receipt(peer_log.add(received(desk, row).encode()))
    desk.settle([(row.sequence, receipt, None)], PEER)
    assert check(desk, *[(row.sequence, receipt, None)] * MAX_RECEIPTS) == []  # row 14: replayed, nothing changes
    invalid(desk, *[(row.sequence, receipt, None)] * (MAX_RECEIPTS + 1), code="TOO_MANY")


def test_2_receipts_out_of_order_are_refused(desk: Desk, peer_log: ForgedLog) -> None:
    one, two = publish(desk, count=2)
    indices = [peer_log.add(received(desk, row).encode()) for row in (one, two)]
    first, second = (
        (row.sequence, peer_log.receipt(index), None) for row, index in zip((one, two), indices, strict=True)
    )
    invalid(desk, second, first)
    invalid(desk, second)
    invalid(desk, first, first)
    assert len(check(desk, first, second)) == 2
    desk.settle([first, second], PEER)


def test_a_receipt_for_what_was_never_sent_is_refused(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    receipt = peer_log.receipt(peer_log.add(received(desk, row).encode()))
    invalid(desk, (row.sequence, receipt, None), (row.sequence + 1, receipt, None))
    desk.settle([(row.sequence, receipt, None)], PEER)


@pytest.mark.parametrize(
    "changes",
    [
        {"delivery_digest": bytes(range(32))},
        {"dispatch_digest": bytes(range(32))},
        {"peer": 4},
        {"opening": bytes(range(32))},
        {"opening": b""},
        {"kind": Kind.REFUSED, "outcome": Outcome.RULES},
        {"kind": Kind.REFUSED, "opening": b""},
        {"kind": Kind.QUEUED, "opening": b""},
    ],
    ids=["delivery", "dispatch", "peer", "opening", "no-opening", "opening-in-a-refusal", "no-reason", "no-answer"],
)
def test_3_a_receipt_that_does_not_say_exactly_what_it_must_is_refused(
    desk: Desk, peer_log: ForgedLog, changes: dict[str, object]
) -> None:
    [row] = publish(desk)
    index = peer_log.add(received(desk, row, **changes).encode())
    invalid(desk, (row.sequence, peer_log.receipt(index), None))


def test_3_a_receipt_from_another_members_log_is_refused_row_33(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    other = ForgedLog("TW-NHRC")
    invalid(desk, (row.sequence, other.receipt(other.add(received(desk, row).encode())), None))


def test_3_a_receipt_for_an_entry_that_is_not_in_the_tree_is_refused(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    peer_log.add(b"\x08\x02")
    index = peer_log.add(received(desk, row).encode())
    honest = peer_log.receipt(index)
    twin = ForgedLog(PEER)
    twin.add(b"\x08\x02")
    twin.add(received(desk, row, peer=2).encode())
    invalid(desk, (row.sequence, replace(honest, proof=twin.receipt(index).proof), None))


def test_4_a_receipt_in_the_place_of_genesis_is_refused_and_stops_nothing(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    empty = ForgedLog(PEER, filler=0)
    invalid(desk, (row.sequence, empty.receipt(empty.add(received(desk, row).encode())), None))


def redelivered(desk: Desk, row: OutboundRow) -> OutboundRow:
    """The same dispatch under one more number, as after a lane that began anew."""
    state = lane(desk)
    again = parse_delivery(row.delivery)
    encoded = replace(again, sequence=state.sequence + 1, previous=state.digest).encode()
    from audit.record.lane import delivery_digest

    digest = delivery_digest(encoded)
    second = replace(
        row,
        sequence=state.sequence + 1,
        delivery=encoded,
        digest=digest,
        opening=opening(bytes(32), digest),
        state=DeliveryState.WAITING,
        receipt=b"",
    )

    def act(work):  # type: ignore[no-untyped-def] # its types are those of what it stands in for
        work.rows.add_outbound([second])
        work.rows.move_lane(replace(state, sequence=state.sequence + 1, digest=digest))

    desk.node.writer.run(act)
    return second


def test_5_a_duplicate_counts_only_with_the_receipt_of_what_it_repeats(desk: Desk, peer_log: ForgedLog) -> None:
    first, unrelated = publish(desk, count=2)
    original = peer_log.add(received(desk, first).encode())
    other = peer_log.add(received(desk, unrelated).encode())
    refused = peer_log.add(received(desk, first, kind=Kind.REFUSED, outcome=Outcome.RULES, opening=b"").encode())
    desk.settle([(r.sequence, peer_log.receipt(i), None) for r, i in ((first, original), (unrelated, other))], PEER)
    second = redelivered(desk, first)

    def duplicate(refers_to: int) -> Receipt:
        body = received(desk, second, kind=Kind.DUPLICATE, refers_to=refers_to, opening=b"")
        return peer_log.receipt(peer_log.add(body.encode()))

    invalid(desk, (second.sequence, duplicate(original), None))
    invalid(desk, (second.sequence, duplicate(original), peer_log.receipt(other)))
    invalid(desk, (second.sequence, duplicate(other), peer_log.receipt(other)))
    invalid(desk, (second.sequence, duplicate(refused), peer_log.receipt(refused)))
    invalid(desk, (second.sequence, duplicate(other), peer_log.receipt(original)))
    desk.settle([(second.sequence, duplicate(original), peer_log.receipt(original))], PEER)
    [settled] = desk.node.reads.outbound(second.lane, second.sequence - 1, 1)
    assert settled.state == DeliveryState.DUPLICATE


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"kind": 99, "opening": b""}, ("not_understood", "")),
        ({"kind": Kind.REFUSED, "outcome": 4000, "opening": b""}, ("refused", "unknown-4000")),
    ],
)
def test_a_kind_or_reason_of_a_newer_program_is_recorded_and_stops_nothing_row_71(
    desk: Desk, peer_log: ForgedLog, body: dict[str, object], shown: tuple[str, str]
) -> None:
    [row] = publish(desk)
    index = peer_log.add(received(desk, row, **body).encode())
    assert desk.settle([(row.sequence, peer_log.receipt(index), None)], PEER) == row.sequence
    assert desk.bodies(Kind.RECEIPT_RECORDED)[-1].outcome == 0
    reads = desk.node.reads
    stored = reads.stored_since(row.entry_index - 1, 1, sent=True)[0]
    trust = Verifier(agency=desk.view.agency, federation=desk.view.federation, catalogue=packaged_catalogue())
    [state] = trust.check_states(outbox_item(stored, lanes_by_row(reads), desk.view, reads))
    assert (state.word, state.reason) == shown
    assert publish(desk) != []


def test_receipts_that_were_checked_before_the_lane_moved_are_checked_again(desk: Desk, peer_log: ForgedLog) -> None:
    [row] = publish(desk)
    receipt = peer_log.receipt(peer_log.add(received(desk, row).encode()))
    stale = lane(desk)
    settled = check(desk, (row.sequence, receipt, None))
    desk.settle([(row.sequence, receipt, None)], PEER)
    count = len(desk.bodies(Kind.RECEIPT_RECORDED))
    with pytest.raises(UnavailableError):
        desk.node.writer.run(
            lambda w: delivery.record_receipts(w, settled, None, lane=stale, peer=PEER, view=desk.view)
        )
    assert len(desk.bodies(Kind.RECEIPT_RECORDED)) == count


# the peer's checkpoints only go forward


def test_the_ratchet_takes_a_longer_log_that_extends_the_known_one(desk: Desk, peer_log: ForgedLog) -> None:
    def ratchet(log: ForgedLog, proof: list[bytes]):  # type: ignore[no-untyped-def] # its types are those of what it stands in for
        return check_ratchet(log.note(), proof, peer=PEER, view=desk.view, reads=desk.node.reads)

    for _ in range(4):
        peer_log.add(b"\x08\x02")
    assert ratchet(peer_log, []) == peer_log.checkpoint()
    old = len(peer_log.entries)
    keep(desk, peer_log)
    assert ratchet(peer_log, []) is None  # as new as ours
    peer_log.add(b"\x08\x02")
    assert ratchet(peer_log, peer_log.consistency(old)) == peer_log.checkpoint()
    shorter = ForgedLog(PEER)  # another history, and too short to be compared
    with pytest.raises(RefusedError):
        ratchet(shorter, [])
    forks = ForgedLog(PEER, filler=old)
    with pytest.raises(RefusedError):
        ratchet(forks, [])
    forks.add(b"\x08\x03")
    with pytest.raises(RefusedError):
        ratchet(forks, forks.consistency(old))
    with pytest.raises(RefusedError):
        ratchet(peer_log, [])


def test_the_ratchet_refuses_a_note_of_another_log(desk: Desk) -> None:
    with pytest.raises(RefusedError):
        check_ratchet(ForgedLog("TW-NHRC").note(), [], peer=PEER, view=desk.view, reads=desk.node.reads)


def keep(desk: Desk, log: ForgedLog) -> None:
    size, note = log.checkpoint().size, log.note()
    desk.node.writer.run(lambda w: w.rows.set_peer_checkpoint(PEER, size, note))


def test_spoilt_answers_of_a_peer_are_refused_or_kept_and_stop_nothing_row_37(desk: Desk) -> None:
    chance = random.Random(37)
    settled = 0
    [row] = publish(desk)
    for _ in range(80 * SCALE):
        log = ForgedLog(PEER)
        index = log.add(spoilt(received(desk, row).encode(), chance))
        try:
            desk.settle([(row.sequence, log.receipt(index), None)], PEER)
        except RefusedError as refusal:
            assert refusal.code == "RECEIPT_INVALID"  # noqa: PT017 - every case of the loop is looked at
        else:
            settled += 1
            [row] = publish(desk)
    assert desk.node.writer.failure is None
    assert settled < 40 * SCALE


@pytest.mark.parametrize("size", [1, (1 << 63) - 1])
def test_a_checkpoint_of_any_size_stops_nothing(desk: Desk, size: int) -> None:
    huge = Checkpoint(origin=view_of("TW-NHRC").origin, size=size, root=bytes(range(32)))
    note = sign_checkpoint(huge, view_of("TW-NHRC").log_signer)
    peer = AgencyId("TW-NHRC")
    try:
        newer = check_ratchet(note, [], peer=peer, view=desk.view, reads=desk.node.reads)
    except RefusedError:
        newer = None  # it does not extend the known one
    if newer is not None:
        desk.node.writer.run(lambda w: w.rows.set_peer_checkpoint(peer, newer.size, note))
    assert desk.node.writer.failure is None


@pytest.mark.parametrize("moved", [False, True])
def test_a_checkpoint_that_moved_after_its_proof_was_checked_is_not_overtaken(
    tmp_path: Path, peer_log: ForgedLog, moved: bool
) -> None:
    """A proof leads from the one known then; from another one it proves nothing."""
    own = Desk("HK-IMMD", tmp_path)
    own.publish(advisory("HK-IMMD", PEER, serial=next(serials)))
    note, state = peer_log.note(), lane(own)
    checkpoint = check_ratchet(note, [], peer=PEER, view=own.view, reads=own.node.reads)
    assert checkpoint is not None
    newer = delivery.NewerCheckpoint(checkpoint=checkpoint, note=note, proven_from=0)
    if moved:
        own.node.writer.run(lambda w: w.rows.set_peer_checkpoint(PEER, 9, "another"))

    def record(work: UnitOfWork) -> int:
        return delivery.record_receipts(work, [], newer, lane=state, peer=PEER, view=own.view)

    if moved:
        with pytest.raises(UnavailableError, match="moved meanwhile"):
            own.node.writer.run(record)
    else:
        own.node.writer.run(record)
    assert own.node.reads.peer_checkpoint(PEER) == ((9, "another") if moved else (1, note))
    own.close()
