"""What each verdict on a delivery leaves behind: its entry, its receipt, the proof of a fork, a bulletin's standing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Kind, Outcome, parse_entry
from audit.record.dispatch import parse_dispatch
from audit.record.lane import Delivery, Withdrawn, WithdrawnReason, delivery_digest
from audit.record.statement import opening, statement_digest
from exchange.acts.intake import AT_ONCE, QUARANTINE_AFTER, Message
from exchange.acts.stop_lane import stop_lane
from exchange.acts.unit_of_work import UnitOfWork
from exchange.records.bulletin import uuid7
from exchange.records.equivocation import parse_equivocation, verify_equivocation
from exchange.records.lane_rules import EquivocationError
from exchange.records.receipt import ExpectedAnswer, check_exchange_receipt, verify_receipt
from exchange.store.rows import InboundRow
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.seal import WindowOpener
from tests.exchange.acts.forge import Forger
from tests.exchange.acts.messages import code_of
from tests.exchange.acts.parcels import note, serials
from tests.support.world import NOW_MS, Desk, bulletin, view_of

# what a verdict leaves


def test_a_received_bulletin_gets_one_entry_whose_receipt_proves_that_it_was_opened_row_32(
    spare: Desk, forger: Forger
) -> None:
    made = forger.seal(note())
    message = forger.deliver(spare, made)
    [(answer, receipt)] = spare.receive(message, "HK-IMMD")
    digest = delivery_digest(message.parcels[0].delivery)
    proven = check_exchange_receipt(
        receipt,
        view_of("HK-IMMD").log_key(AgencyId("TH-DSI")),
        ExpectedAnswer(
            dispatch_digest=parse_entry_body(spare, answer.entry_index).dispatch_digest,
            delivery_digest=digest,
            expected_opening=opening(made.statement.salt, digest),
            peer_number=view_of("HK-IMMD").number,
        ),
    )
    assert proven.body.kind == Kind.RECEIVED


def parse_entry_body(desk: Desk, index: int):  # type: ignore[no-untyped-def] # the body of one entry
    from audit.entry.entry import parse_body

    return parse_body(parse_entry(desk.node.entry(index)).body)


def test_a_refused_bulletin_gets_one_entry_with_the_reason_and_moves_the_lane(spare: Desk, forger: Forger) -> None:
    bad = note()
    bad.header.subject[0].text = "bidi \u202e override"
    before, _ = forger.position(spare)
    answers = spare.receive(forger.deliver(spare, forger.seal(bad), forger.seal(note())), "HK-IMMD")
    bodies = [parse_entry_body(spare, answer.entry_index) for answer, _ in answers]
    assert [(body.kind, body.outcome) for body in bodies] == [(Kind.REFUSED, Outcome.RULES), (Kind.RECEIVED, 0)]
    assert forger.position(spare)[0] == before + 2
    stored = spare.node.reads.find("HK-IMMD", b"".join([bodies[0].bulletin_id]))
    assert stored is None


def test_the_same_statement_by_another_delivery_is_a_duplicate_of_the_received(spare: Desk, forger: Forger) -> None:
    message = note()
    made = forger.seal(message)
    [(first, original)] = spare.receive(forger.deliver(spare, made), "HK-IMMD")
    [(again, receipt)] = spare.receive(forger.deliver(spare, forger.seal(message, signed=made.signed)), "HK-IMMD")
    assert again.original_index == first.entry_index
    body = parse_entry_body(spare, again.entry_index)
    assert (body.kind, body.refers_to, body.opening) == (Kind.DUPLICATE, first.entry_index, b"")
    key = spare.view.log_key(AgencyId("TH-DSI"))
    assert verify_receipt(receipt, key).body.delivery_digest != verify_receipt(original, key).body.delivery_digest


def test_the_same_statement_twice_in_one_message_is_received_once(spare: Desk, forger: Forger) -> None:
    message = note()
    made = forger.seal(message)
    (one, _), (two, _) = spare.receive(forger.deliver(spare, made, made), "HK-IMMD")
    assert (one.original_index, two.original_index) == (0, one.entry_index)


def test_the_same_dispatch_twice_in_one_message_is_opened_and_judged_once(spare: Desk, forger: Forger) -> None:
    made, before = forger.seal(note()), forger.position(spare)[0]
    message, opened = forger.deliver(spare, made, made), []
    verdicts = spare.check(message, "HK-IMMD", on_open=lambda *which: opened.append(which[2])).verdicts
    assert set(opened) == {before + 1}  # before each step on it
    assert [verdict.accepted is None for verdict in verdicts] == [False, True]
    (one, _), (two, _) = spare.receive(message, "HK-IMMD")
    assert parse_entry_body(spare, two.entry_index).kind == Kind.DUPLICATE
    assert two.original_index == one.entry_index


class FailingKey:
    """A window key that fails, in a way that no rule foresees, when it opens its second wrap."""

    def __init__(self, key: WindowOpener) -> None:
        self.public, self._key, self._opened = key.public, key, 0

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        return self._key.unwrap(wrapped, info)

    def try_unwrap(self, wrapped: bytes, info: bytes) -> bytes | None:
        self._opened += 1
        if self._opened == 2:
            raise ZeroDivisionError
        return self._key.try_unwrap(wrapped, info)


def test_of_deliveries_judged_together_the_one_that_kills_is_the_last_that_was_noted_row_69(
    spare: Desk, forger: Forger
) -> None:
    before, _ = forger.position(spare)
    message, noted = forger.deliver(spare, *(forger.seal(note()) for _ in range(5))), []
    sound = spare.node.view
    spare.node.view = replace(sound, encryption={each: FailingKey(key) for each, key in sound.encryption.items()})
    with pytest.raises(ZeroDivisionError):
        spare.check(message, "HK-IMMD", on_open=lambda *which: noted.append(which))
    assert noted[-1] == (2, 1, before + 2)
    spare.node.view = sound
    assert len(spare.receive(message, "HK-IMMD")) == 5


def test_more_deliveries_than_are_judged_together_keep_their_order_and_their_own_verdicts(
    spare: Desk, forger: Forger
) -> None:
    bad = note()
    bad.header.subject[0].text = "bidi \u202e override"
    again = forger.seal(note())
    made = [forger.seal(note()) for _ in range(2 * AT_ONCE)]
    made[3], made[5], made[6], made[-1] = forger.seal(bad), again, again, forger.seal(bad)
    answers = spare.receive(forger.deliver(spare, *made), "HK-IMMD")
    kinds = [parse_entry_body(spare, answer.entry_index).kind for answer, _ in answers]
    expected = [Kind.RECEIVED] * len(made)
    expected[3], expected[6], expected[-1] = Kind.REFUSED, Kind.DUPLICATE, Kind.REFUSED
    assert kinds == expected


def test_two_statements_of_one_id_in_one_message_the_second_is_refused_and_kept_row_66(
    spare: Desk, forger: Forger
) -> None:
    message = note()
    one, two = forger.seal(message), forger.seal(message)
    (_, _), (refused, _) = spare.receive(forger.deliver(spare, one, two), "HK-IMMD")
    assert refused.refusal.code == "EQUIVOCATION"
    kept = [content for index, what, content in spare.node.store.evidence() if index == refused.entry_index]
    assert kept == [two.dispatch.encode()]


@pytest.mark.parametrize("reason", list(WithdrawnReason))
def test_a_delivery_whose_content_was_withdrawn_is_receipted_as_that(
    spare: Desk, forger: Forger, reason: WithdrawnReason
) -> None:
    made = replace(forger.seal(note()), body=b"", wraps={})
    gone = Withdrawn(sequence=forger.position(spare)[0] + 1, reason=reason)
    [(answer, _)] = spare.receive(forger.deliver(spare, made, withdrawn=[gone]), "HK-IMMD")
    assert parse_entry_body(spare, answer.entry_index).kind == Kind.WITHDRAWN
    missing = forger.deliver(spare, made)
    assert code_of(spare, missing) == "DAMAGED"  # without the head's word it is simply missing


def test_an_intake_that_died_twice_on_a_delivery_refuses_it_unopened_row_69(spare: Desk, forger: Forger) -> None:
    spare.receive(forger.deliver(spare, forger.seal(note())), "HK-IMMD")
    message = forger.deliver(spare, forger.seal(note()))
    state = spare.node.reads.lane(outgoing=False, peer="HK-IMMD", lane_class=2, epoch=1)
    for deaths in range(QUARANTINE_AFTER):
        assert spare.check(message, "HK-IMMD").verdicts[0].accepted is not None, deaths
        spare.node.writer.run(lambda w: w.rows.add_attempts([(state.row, state.sequence + 1)]))
    [(answer, _)] = spare.receive(message, "HK-IMMD")
    assert answer.refusal.code == "QUARANTINED"
    assert spare.receive(forger.deliver(spare, forger.seal(note())), "HK-IMMD")[0][0].refusal is None


# equivocation


def test_two_deliveries_under_one_number_are_kept_as_proof_and_stop_the_lane_row_16(
    tmp_path: Path, forger: Forger
) -> None:
    desk = Desk("TH-DSI", tmp_path / "home")
    try:
        start = forger.position(desk)
        for _ in range(3):
            desk.receive(forger.deliver(desk, forger.seal(note())), "HK-IMMD")
        other = forger.deliver(desk, forger.seal(note()), at=start)
        waiting = desk.check(forger.deliver(desk, forger.seal(note())), "HK-IMMD")
        index = stop(desk, other)
        assert_proven(desk, index, forger, sequence=1)
        body = parse_entry_body(desk, index)
        assert (body.kind, body.outcome) == (Kind.REFUSED, Outcome.EQUIVOCATION)
        good = forger.deliver(desk, forger.seal(note()))
        assert code_of(desk, good) == "LANE_STOPPED"  # check 4
        with pytest.raises(RefusedError) as raised:
            desk.take(waiting, "HK-IMMD")  # it was judged before the lane was stopped
        assert raised.value.code == "LANE_STOPPED"
        urgent = note(urgency=2)
        assert desk.receive(forger.deliver(desk, forger.seal(urgent), lane_class=1), "HK-IMMD")[0][0].refusal is None
    finally:
        desk.close()


def test_a_head_that_contradicts_what_is_known_is_proof_enough_row_16(tmp_path: Path, forger: Forger) -> None:
    desk = Desk("TH-DSI", tmp_path / "home")
    try:
        for _ in range(2):
            desk.receive(forger.deliver(desk, forger.seal(note())), "HK-IMMD")
        head = forger.head(forger.lane("TH-DSI"), 1, bytes(range(32)), latest=2)
        assert_proven(desk, stop(desk, Message(parcels=(), head=head)), forger, sequence=1)
    finally:
        desk.close()


def test_a_sender_cannot_spoil_the_proof_by_signing_an_older_number_later_row_16(
    tmp_path: Path, forger: Forger
) -> None:
    desk = Desk("TH-DSI", tmp_path / "home")
    try:
        start = forger.position(desk)
        one = forger.deliver(desk, forger.seal(note()))
        desk.receive(one, "HK-IMMD")
        stored = forger.position(desk)
        desk.receive(forger.deliver(desk, forger.seal(note())), "HK-IMMD")
        later = forger.head(forger.lane("TH-DSI"), stored[0], stored[1], latest=2)
        desk.receive(Message(parcels=(), head=later), "HK-IMMD")
        other = forger.deliver(desk, forger.seal(note()), at=stored)
        assert start == (0, bytes(32))
        assert_proven(desk, stop(desk, other), forger, sequence=2)
    finally:
        desk.close()


def test_a_contradiction_far_back_in_a_lane_is_proved_by_all_that_lies_between_row_16(
    tmp_path: Path, forger: Forger
) -> None:
    """The lane has gone on for 16,000 deliveries, two megabytes, when its first number is given to another one."""
    desk = Desk("TH-DSI", tmp_path / "home")
    lane, last = forger.lane("TH-DSI"), 16_001
    try:
        desk.receive(forger.deliver(desk, forger.seal(note())), "HK-IMMD")

        def go_on(work: UnitOfWork) -> None:
            state = work.rows.open_lane(outgoing=False, peer="HK-IMMD", lane_class=2, epoch=1)
            digest = state.digest
            for sequence in range(state.sequence + 1, last + 1):
                made = Delivery(
                    lane=lane, sequence=sequence, previous=digest, dispatch_digest=bytes(31) + b"\1", time_ms=NOW_MS
                ).encode()
                digest = delivery_digest(made)
                row = InboundRow(lane=state.row, sequence=sequence, delivery=made, digest=digest, entry_index=1)
                work.rows.add_inbound(row)
            head = forger.head(lane, last, digest, latest=last)
            work.rows.move_lane(replace(state, sequence=last, digest=digest, head=head.encode()))

        desk.node.writer.run(go_on)
        other = forger.head(lane, 1, bytes(range(32)), latest=last)
        assert_proven(desk, stop(desk, Message(parcels=(), head=other)), forger, sequence=1)
    finally:
        desk.close()


def stop(desk: Desk, message: Message) -> int:
    """Do what the lane's service does when a peer contradicts itself."""
    with pytest.raises(EquivocationError) as raised:
        desk.check(message, "HK-IMMD")
    return desk.node.writer.run(
        lambda w: stop_lane(w, message, raised.value, peer=AgencyId("HK-IMMD"), view=desk.view),
    )


def assert_proven(desk: Desk, index: int, forger: Forger, *, sequence: int) -> None:
    """A third party that has the sender's key alone verifies the evidence."""
    [content] = [content for at, what, content in desk.node.store.evidence() if at == index and what == "lane"]
    lane, number = verify_equivocation(parse_equivocation(content), forger.view.operations.key)
    assert (lane, number) == (forger.lane("TH-DSI"), sequence)


# corrections and recalls, in either order


def recall(of: Bulletin, statement: bytes, relation: int = bulletin_pb2.RELATION_TYPE_RECALLS) -> Bulletin:
    message = bulletin("22-recall")
    header = message.header
    header.originator, header.number = "HK-IMMD", f"HK-IMMD/RCL/2025/{next(serials):06d}"
    header.issued_at.CopyFrom(of.header.issued_at)
    header.bulletin_id = uuid7(header.issued_at.ToMilliseconds(), os.urandom(10))
    header.ClearField("case")
    header.ClearField("expires_at")
    header.marking.CopyFrom(of.header.marking)
    del header.relations[:]
    header.relations.add(type=relation, bulletin_id=of.header.bulletin_id, statement_digest=statement)
    del header.addressees[:]
    header.addressees.add(agency="TH-DSI", role=1)
    return message


@pytest.mark.parametrize("recall_first", [False, True])
def test_a_recall_applies_whether_its_bulletin_came_before_or_comes_after(
    tmp_path: Path, forger: Forger, recall_first: bool
) -> None:
    desk = Desk("TH-DSI", tmp_path / "home")
    try:
        message = note()
        made = forger.seal(message)
        called_back = recall(message, statement_digest(made.signed.payload))
        urgent = 1 if called_back.header.urgency <= 2 else 2
        in_order = [(made, 2), (forger.seal(called_back), urgent)]
        for each, lane_class in reversed(in_order) if recall_first else in_order:
            [(answer, _)] = desk.receive(forger.deliver(desk, each, lane_class=lane_class), "HK-IMMD")
            assert answer.refusal is None, answer.refusal
        [entry] = desk.bodies(Kind.RECALLED)
        stored = desk.node.reads.find("HK-IMMD", parse_dispatch(made.dispatch.payload).bulletin_id)
        assert (entry.bulletin_id, entry.refers_to) == (stored.bulletin_id, stored.entry_index)
    finally:
        desk.close()


def test_a_member_cannot_recall_anothers_bulletin(tmp_path: Path, forger: Forger, thief: Forger) -> None:
    desk = Desk("TH-DSI", tmp_path / "home")
    try:
        message = note()
        made = forger.seal(message)
        desk.receive(forger.deliver(desk, made), "HK-IMMD")
        hostile = recall(message, statement_digest(made.signed.payload))
        hostile.header.originator = "TW-NHRC"
        hostile.header.number = "TW-NHRC/RCL/2025/000001"
        lane_class = 1 if hostile.header.urgency <= 2 else 2
        desk.receive(thief.deliver(desk, thief.seal(hostile), lane_class=lane_class), "TW-NHRC")
        assert desk.bodies(Kind.RECALLED) == []
        stored = desk.node.reads.find("HK-IMMD", parse_dispatch(made.dispatch.payload).bulletin_id)
        assert desk.node.reads.notices(stored.sender, stored.bulletin_id) == []
    finally:
        desk.close()
