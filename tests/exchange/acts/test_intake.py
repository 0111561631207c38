"""A message of a lane at its recipient: its own checks, the lane's rules, and what each verdict leaves in the log."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Outcome
from exchange.acts import intake
from exchange.acts.intake import Message
from exchange.acts.judgement import MAX_PARCEL_BYTES, MAX_PARCELS
from exchange.acts.lane_position import AHEAD_MS
from exchange.records.lane_rules import LaneGapError
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.exchange.acts.forge import Forger, Made
from tests.exchange.acts.messages import code_of
from tests.exchange.acts.parcels import note
from tests.support.scale import SCALE
from tests.support.world import NOW_MS, Desk

# 1 to 3: the message


def test_1_more_deliveries_than_a_message_may_hold_are_refused(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    full = forger.deliver(receiver, *[made] * MAX_PARCELS)
    assert len(receiver.check(full, "HK-IMMD").verdicts) == MAX_PARCELS
    assert code_of(receiver, forger.deliver(receiver, *[made] * (MAX_PARCELS + 1))) == "TOO_LARGE"


def test_1_a_delivery_with_more_bytes_than_the_largest_bulletin_is_refused(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    message = forger.deliver(receiver, made)
    [parcel] = message.parcels
    rest = len(parcel.delivery) + len(parcel.dispatch.payload) + len(parcel.wrap)
    for surplus, code in ((0, "DAMAGED"), (1, "TOO_LARGE")):
        large = replace(parcel, body=bytes(MAX_PARCEL_BYTES - rest + surplus))
        assert code_of(receiver, replace(message, parcels=(large,))) == code


def test_2_a_head_signed_by_another_member_is_refused_row_59(receiver: Desk, forger: Forger, thief: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    forged = dsse.sign(message.head.payload, ("lane-head", thief.view.operations))
    assert code_of(receiver, replace(message, head=forged)) == "SIGNER_UNKNOWN"


def test_2_a_head_with_a_bad_signature_is_refused_and_stops_nothing_row_59(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    [signature] = message.head.signatures
    bad = replace(signature, signature=bytes(64))
    assert code_of(receiver, replace(message, head=replace(message.head, signatures=(bad,)))) == "SIGNATURE_INVALID"
    assert receiver.receive(message, "HK-IMMD")[0][0].new


def test_2_a_head_for_another_lane_is_refused_row_58(receiver: Desk, forger: Forger) -> None:
    empty = Message(parcels=(), head=forger.head(forger.lane("HK-SB"), 0, bytes(32)))
    assert code_of(receiver, empty) == "LANE_HEAD_INVALID"


def test_2_a_head_of_another_federation_is_refused_row_6(receiver: Desk, forger: Forger) -> None:
    lane = replace(forger.lane("TH-DSI"), federation_id=bytes(range(32)))
    assert code_of(receiver, Message(parcels=(), head=forger.head(lane, 0, bytes(32)))) == "LANE_HEAD_INVALID"


def test_2_a_lane_of_an_epoch_that_the_roster_does_not_know_is_refused(receiver: Desk, forger: Forger) -> None:
    head = forger.head(forger.lane("TH-DSI", epoch=2), 0, bytes(32))
    assert code_of(receiver, Message(parcels=(), head=head)) == "LANE_UNKNOWN"


def test_2_a_peer_whose_manifest_has_expired_is_not_heard(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    year = 366 * 86_400_000
    assert code_of(receiver, message, now_ms=NOW_MS + year) == "MANIFEST_EXPIRED"


def test_a_message_of_garbage_is_refused(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    for payload in (b"\xff", b"\x0a\x00", os.urandom(64)):
        head = dsse.sign(payload, ("lane-head", forger.view.operations))
        assert code_of(receiver, replace(message, head=head)) in {"MALFORMED", "NOT_UNDERSTOOD"}


# the lane's rules, as the act applies them


def test_dropping_any_one_delivery_is_seen_at_once_row_15(receiver: Desk, forger: Forger) -> None:
    made = [forger.seal(note()) for _ in range(8)]
    whole = forger.deliver(receiver, *made)
    for index in range(len(made)):
        holed = replace(whole, parcels=whole.parcels[:index] + whole.parcels[index + 1 :])
        assert code_of(receiver, holed) in {"LANE_HEAD_INVALID", "LANE_GAP"}
    assert len(receiver.check(whole, "HK-IMMD").verdicts) == len(made)


def test_any_one_of_a_thousand_left_out_by_the_sender_itself_is_a_gap_row_15(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    sequence, digest = forger.position(receiver)
    for skipped in range(1, 101 * SCALE):
        with pytest.raises(LaneGapError) as raised:
            receiver.check(forger.deliver(receiver, made, at=(sequence + skipped, digest)), "HK-IMMD")
        assert raised.value.expected == sequence + 1


def test_what_the_head_calls_latest_and_does_not_send_is_known_to_be_missing_row_15(
    receiver: Desk, forger: Forger
) -> None:
    sequence, digest = forger.position(receiver)
    silent = Message(parcels=(), head=forger.head(forger.lane("TH-DSI"), sequence, digest, latest=sequence + 3))
    assert receiver.check(silent, "HK-IMMD").head.latest == sequence + 3


def test_a_delivery_that_follows_another_than_the_stored_one_is_a_fork(receiver: Desk, forger: Forger) -> None:
    sequence, _ = forger.position(receiver)
    message = forger.deliver(receiver, forger.seal(note()), at=(sequence, bytes(range(32))))
    assert code_of(receiver, message) == "LANE_FORK"


def test_ten_thousand_replays_change_nothing_and_get_the_same_receipt_row_14(spare: Desk, forger: Forger) -> None:
    message = forger.deliver(spare, forger.seal(note()))
    [(first, receipt)] = spare.receive(message, "HK-IMMD")
    size, note_before = spare.node.reads.size(), spare.node.note
    state = spare.node.reads.lane(outgoing=False, peer="HK-IMMD", lane_class=2, epoch=1)
    checked = spare.check(message, "HK-IMMD")
    for _ in range(10 * SCALE):
        answers = spare.node.writer.run(
            lambda w: [
                intake.take_message(w, spare.check(message, "HK-IMMD"), peer=AgencyId("HK-IMMD"), view=spare.view)
                for _ in range(100)
            ],
            lambda value, group: [(a, group.receipt(a.entry_index, spare.node.entry)) for [a] in value],
        )
        assert {(a.entry_index, a.new, r) for a, r in answers} == {(first.entry_index, False, receipt)}
    for _ in range(9 * SCALE):
        spare.node.writer.run(
            lambda w: [intake.take_message(w, checked, peer=AgencyId("HK-IMMD"), view=spare.view) for _ in range(1000)],
        )
    assert spare.node.reads.size() == size
    assert spare.node.note == note_before
    assert spare.node.reads.lane(outgoing=False, peer="HK-IMMD", lane_class=2, epoch=1) == state


def test_surreptitious_forwarding_is_refused_in_a_thousand_random_cases_row_1(
    receiver: Desk, forger: Forger, thief: Forger
) -> None:
    chance = random.Random(1)
    honest = [(m, forger.seal(m)) for m in (note("TW-NHRC"), note("TW-NHRC", "HK-SB"), note("HK-SB", "TW-NHRC"))]
    found: dict[str, int] = {}
    for _ in range(1000):
        message, made = chance.choice(honest)
        forged, peer = forward(chance, message, made, forger, thief)
        sender = thief if peer == "TW-NHRC" else forger
        try:
            verdict = receiver.check(sender.deliver(receiver, forged), peer).verdicts[0]
            assert verdict.accepted is None
            assert verdict.refusal is not None
            code = verdict.refusal.code
        except RefusedError as refusal:
            code = refusal.code
        found[code] = found.get(code, 0) + 1
    assert set(found) == {"NOT_FOR_US", "WRONG_MAKER", "SENDER_DIFFERS", "SIGNER_UNKNOWN"}


def forward(chance: random.Random, message: Bulletin, made: Made, forger: Forger, thief: Forger) -> tuple[Made, str]:
    """TW-NHRC holds HK-IMMD's statement and would like TH-DSI to believe that it was for TH-DSI."""
    us = (AgencyId("TH-DSI"),)
    way = chance.randrange(5)
    if way == 0:  # the very dispatch, in the sender's own lane
        return made, "HK-IMMD"
    if way == 1:  # the very dispatch, in the thief's lane
        return made, "TW-NHRC"
    if way == 2:  # the dispatch signed anew
        return replace(made, dispatch=dsse.sign(made.dispatch.payload, ("dispatch", thief.view.operations))), "TW-NHRC"
    served = us if way == 3 else (*us, AgencyId("HK-SB"))  # the statement sealed anew
    return thief.seal(message, signed=made.signed, served=served, statement={"recipients": us}), "TW-NHRC"


# what a member might send to stop a node


@pytest.mark.parametrize("time_ms", [NOW_MS + AHEAD_MS + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_3_a_head_from_far_ahead_is_refused_and_neither_stops_the_node_nor_the_lane(
    spare: Desk, forger: Forger, time_ms: int
) -> None:
    sequence, digest = forger.position(spare)
    head = forger.head(forger.lane("TH-DSI"), sequence, digest, time_ms=time_ms)
    assert code_of(spare, Message(parcels=(), head=head)) == "CLOCK_DIFFERS"
    assert spare.receive(forger.deliver(spare, forger.seal(note())), "HK-IMMD")[0][0].refusal is None


def test_a_head_within_the_hour_is_taken_and_a_later_one_follows(spare: Desk, forger: Forger) -> None:
    sequence, digest = forger.position(spare)
    head = forger.head(forger.lane("TH-DSI"), sequence, digest, time_ms=NOW_MS + AHEAD_MS - 60_000)
    spare.receive(Message(parcels=(), head=head), "HK-IMMD")
    early = forger.head(forger.lane("TH-DSI"), sequence, digest, time_ms=NOW_MS + AHEAD_MS - 60_001)
    assert code_of(spare, Message(parcels=(), head=early)) == "LANE_HEAD_INVALID"
    assert spare.receive(forger.deliver(spare, forger.seal(note())), "HK-IMMD")[0][0].refusal is None


# text that would like to be more than text


def test_text_with_sql_in_it_survives_as_text_row_48(spare: Desk, forger: Forger) -> None:
    for text in ("'; DROP TABLE bulletins; --", '" OR ""="', "%_\\", "x'00'", "?1 :a @b $c", "'' OR 1=1"):
        message = note()
        message.header.subject[0].text = text
        message.statements[0].text[0].text = text
        [(answer, _)] = spare.receive(forger.deliver(spare, forger.seal(message)), "HK-IMMD")
        assert answer.refusal is None, answer.refusal
        assert spare.open("HK-IMMD", message.header.bulletin_id).header.subject[0].text == text


def test_sql_in_a_peers_name_or_a_records_name_is_only_a_value_row_48(spare: Desk) -> None:
    hostile = "x' OR '1'='1"
    reads = spare.node.reads
    assert reads.find(hostile, bytes(16)) is None
    assert reads.lane(outgoing=False, peer=hostile, lane_class=2, epoch=1) is None
    assert reads.peer_checkpoint(hostile) is None
    assert reads.meta(hostile) is None
    assert reads.notices(hostile, bytes(16)) == []


def test_what_is_planted_in_a_bulletin_stands_nowhere_in_the_log_row_49(spare: Desk, forger: Forger) -> None:
    canary = "CANARY-7f3a"
    message = note()
    message.header.subject[0].text = canary
    message.header.number = "HK-IMMD/ADV/2025/777777"
    spare.receive(forger.deliver(spare, forger.seal(message)), "HK-IMMD")
    refused = note()
    refused.header.subject[0].text = f"{canary} \u202e"
    [(answer, _)] = spare.receive(forger.deliver(spare, forger.seal(refused)), "HK-IMMD")
    reads = spare.node.reads
    log = b"".join(reads.read_entries(0, reads.size()))
    for planted in (canary, "777777", "HK-IMMD", "officer-1", "TH-DSI"):
        for form in (
            planted.encode(),
            planted.encode("utf-16-le"),
            planted.encode().hex().encode(),
            planted.lower().encode(),
        ):
            assert form not in log
    assert canary not in str(answer.refusal)


def test_each_refusal_code_in_the_program_has_a_number_in_the_log() -> None:
    """An unknown code would stop the node at the moment of refusing."""
    import re

    names = {outcome.name for outcome in Outcome}
    root = Path(__file__).resolve().parents[3]
    for path in [*(root / "exchange").glob("*.py"), *(root / "keys").glob("*.py"), *(root / "audit").glob("*.py")]:
        for code in re.findall(r'RefusedError\(\s*"([A-Z_]+)"', path.read_text()):
            assert code in names or code in NEVER_IN_A_LOG, f"{path.name}: {code}"


NEVER_IN_A_LOG = {"NO_SUCH_BULLETIN", "PASSPHRASE_WRONG"}
