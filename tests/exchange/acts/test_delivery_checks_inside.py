"""What is inside a delivery agrees with what is outside: checks 14 to 27 of ``exchange.acts.delivery_checks``, one by one.

The sender is a member with real keys that has signed every altered field anew.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from audit.record.dispatch import Absent, AbsentReason, DispatchSigner, SignerRole, Urgency
from audit.record.statement import RestsOn, statement_digest
from exchange.records.bulletin import uuid7
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.identity import AgencyId, Usage
from tests.exchange.acts.forge import Forger
from tests.exchange.acts.parcels import (
    OTHER_FEDERATION,
    aged,
    broken,
    check_in,
    dispatch_with,
    note,
    refused,
    serials,
    verdict,
)
from tests.support.world import NOW_MS, Desk, bulletin, signer

# 14 to 27: what is inside agrees with what is outside


def test_14_a_statement_of_another_federation_is_refused_row_6(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note(), statement={"federation_id": OTHER_FEDERATION})
    refused(receiver, forger.deliver(receiver, made), "WRONG_FEDERATION")


RESTS_ON = (RestsOn("agreement", bytes(32)),)


def test_14_a_statement_that_rests_on_a_record_is_not_understood_so_far(receiver: Desk, forger: Forger) -> None:
    refused(receiver, forger.deliver(receiver, forger.seal(note(), statement={"rests_on": RESTS_ON})), "NOT_UNDERSTOOD")


@pytest.mark.parametrize("role", sorted(dsse.SETTLED))
def test_14_a_signature_of_a_type_to_come_is_not_understood_so_far(role: str, receiver: Desk, forger: Forger) -> None:
    message = note()
    message.header.author = "officer-1"
    payload = forger.statement(message).encode()
    ours = signer("HK-IMMD", "officer-2") if Usage.OFFICER in dsse.SIGNERS[role] else forger.view.operations
    signed = dsse.sign(payload, ("statement", signer("HK-IMMD", "officer-1")), (role, ours))
    author = DispatchSigner(role=SignerRole.AUTHOR, key_id=signer("HK-IMMD", "officer-1").key.key_id)
    made = forger.seal(message, signed=signed, alter=dispatch_with(signers=(author,)))
    refused(receiver, forger.deliver(receiver, made), "NOT_UNDERSTOOD")


def test_15_a_signer_that_the_dispatch_lists_and_the_body_lacks_is_refused_row_3(
    receiver: Desk, forger: Forger
) -> None:
    releaser = DispatchSigner(role=SignerRole.RELEASER, key_id=signer("HK-IMMD", "officer-2").key.key_id)
    made = forger.seal(note(), alter=lambda dispatch: replace(dispatch, signers=(*dispatch.signers, releaser)))
    refused(receiver, forger.deliver(receiver, made), "SIGNERS_DIFFER")


def test_15_a_signature_that_the_dispatch_does_not_list_is_refused_row_3(receiver: Desk, forger: Forger) -> None:
    message = note()
    message.header.author = "officer-1"
    payload = forger.statement(message).encode()
    signed = dsse.sign(
        payload, ("statement", signer("HK-IMMD", "officer-1")), ("release", signer("HK-IMMD", "officer-2"))
    )
    author = DispatchSigner(role=SignerRole.AUTHOR, key_id=signer("HK-IMMD", "officer-1").key.key_id)
    made = forger.seal(message, signed=signed, alter=dispatch_with(signers=(author,)))
    refused(receiver, forger.deliver(receiver, made), "SIGNERS_DIFFER")


def test_15_another_author_than_the_dispatch_lists_is_refused(receiver: Desk, forger: Forger) -> None:
    other = DispatchSigner(role=SignerRole.AUTHOR, key_id=signer("HK-IMMD", "officer-2").key.key_id)
    refused(
        receiver, forger.deliver(receiver, forger.seal(note(), alter=dispatch_with(signers=(other,)))), "SIGNERS_DIFFER"
    )


def test_15_a_released_statement_is_not_understood_as_an_authors_alone_row_53(receiver: Desk, forger: Forger) -> None:
    message = note()
    message.header.author = "officer-1"
    payload = forger.statement(message).encode()
    signed = dsse.sign(payload, ("release", signer("HK-IMMD", "officer-1")))
    author = DispatchSigner(role=SignerRole.AUTHOR, key_id=signer("HK-IMMD", "officer-1").key.key_id)
    made = forger.seal(message, signed=signed, alter=dispatch_with(signers=(author,)))
    refused(receiver, forger.deliver(receiver, made), "SIGNERS_DIFFER")


def test_16_a_statement_under_a_roster_that_is_not_known_is_refused(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note(), statement={"roster_digest": bytes(range(32))})
    refused(receiver, forger.deliver(receiver, made), "ROSTER_UNKNOWN")


def test_16_no_traffic_thirty_days_after_the_roster_expired(receiver: Desk, forger: Forger) -> None:
    late = NOW_MS + 60 * 86_400_000
    made = forger.seal(note(), alter=dispatch_with(expires_ms=late + 1))
    message = forger.deliver(receiver, made)
    assert check_in(receiver, message, receiver.view, late).accepted is not None
    for days, code in ((29, None), (30, "ROSTER_EXPIRED")):
        expired = aged(receiver.view, expires_ms=late - days * 86_400_000)
        found = check_in(receiver, message, expired, late)
        assert (found.refusal.code if found.refusal else None) == code


def test_16_a_statement_under_a_roster_replaced_over_thirty_days_ago_is_stale(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    for days, code in ((30, None), (31, "STALE_ROSTER")):
        view = succeeded(receiver.view, issued_ms=NOW_MS - days * 86_400_000)
        found = check_in(receiver, message, view)
        assert (found.refusal.code if found.refusal else None) == code


def succeeded(view, issued_ms: int):  # type: ignore[no-untyped-def] # a house with a second roster
    first = view.federation.rosters[-1]
    second = replace(first, record=replace(first.record, version=2, issued_ms=issued_ms), digest=bytes(range(32)))
    return replace(view, federation=replace(view.federation, rosters=(first, second)))


def test_17_a_bulletin_of_another_originator_is_refused_row_56(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note("TH-DSI", sender="HK-SB"))
    refused(receiver, forger.deliver(receiver, made), "SENDER_DIFFERS")


def test_row_56_a_signed_statement_sealed_again_to_a_fourth_agency_is_refused(
    receiver: Desk, forger: Forger, thief: Forger
) -> None:
    message = note("TW-NHRC")
    original = forger.seal(message)
    again = thief.seal(
        message, signed=original.signed, served=["TH-DSI"], statement={"recipients": (AgencyId("TH-DSI"),)}
    )
    refused(receiver, thief.deliver(receiver, again), "SENDER_DIFFERS", peer="TW-NHRC")


def test_18_a_bulletin_of_another_id_than_the_dispatch_says_is_refused(receiver: Desk, forger: Forger) -> None:
    from uuid import UUID

    other = UUID(uuid7(NOW_MS, os.urandom(10))).bytes
    refused(
        receiver,
        forger.deliver(receiver, forger.seal(note(), alter=dispatch_with(bulletin_id=other))),
        "BULLETIN_ID_DIFFERS",
    )


def test_19_a_bulletin_of_another_urgency_than_the_dispatch_says_is_refused(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note(), alter=dispatch_with(urgency=Urgency.PRIORITY))
    refused(receiver, forger.deliver(receiver, made), "URGENCY_DIFFERS")


def test_20_a_header_that_names_another_author_than_who_signed_is_refused(receiver: Desk, forger: Forger) -> None:
    refused(receiver, forger.deliver(receiver, forger.seal(note(), author="officer-2")), "AUTHOR_DIFFERS")


def test_21_an_author_without_that_role_is_refused(receiver: Desk, forger: Forger) -> None:
    refused(receiver, forger.deliver(receiver, forger.seal(note(), officer="reader-1")), "NOT_ALLOWED")


def test_21_an_author_above_his_ceiling_is_refused(receiver: Desk, forger: Forger) -> None:
    message = note()
    message.header.marking.tlp = 3
    message.header.marking.classification = 2
    refused(receiver, forger.deliver(receiver, forger.seal(message, officer="officer-2")), "NOT_ALLOWED")


def test_22_a_statement_with_a_bad_signature_of_its_author_is_refused(receiver: Desk, forger: Forger) -> None:
    message = note()
    message.header.author = "officer-1"
    good = forger.sign(forger.statement(message))
    refused(receiver, forger.deliver(receiver, forger.seal(message, signed=broken(good))), "SIGNATURE_INVALID")


def test_a_statement_signed_by_an_officer_of_another_agency_is_refused_row_2(receiver: Desk, forger: Forger) -> None:
    message = note()
    message.header.author = "officer-1"
    signed = dsse.sign(forger.statement(message).encode(), ("statement", signer("TW-NHRC", "officer-1")))
    refused(receiver, forger.deliver(receiver, forger.seal(message, signed=signed)), "SIGNER_UNKNOWN")


def test_23_a_statement_whose_recipients_are_not_its_addressees_is_refused_row_31(
    receiver: Desk, forger: Forger
) -> None:
    ghost = forger.seal(note(), statement={"recipients": (AgencyId("TH-DSI"), AgencyId("TW-NHRC"))})
    refused(receiver, forger.deliver(receiver, ghost), "RECIPIENTS_DIFFER")
    hidden = forger.seal(note("TH-DSI", "TW-NHRC"), statement={"recipients": (AgencyId("TH-DSI"),)})
    refused(receiver, forger.deliver(receiver, hidden), "RECIPIENTS_DIFFER")


def test_24_a_dispatch_with_a_ghost_recipient_is_refused_row_31(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note(), served=["TH-DSI", "TW-NHRC"])
    refused(receiver, forger.deliver(receiver, made), "RECIPIENTS_DIFFER")


def test_24_a_dispatch_that_silences_a_recipient_is_refused_row_52(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note("TH-DSI", "TW-NHRC"), served=["TH-DSI"])
    refused(receiver, forger.deliver(receiver, made), "RECIPIENTS_DIFFER")


def test_24_a_recipient_that_is_named_as_absent_is_accepted_row_52(receiver: Desk, forger: Forger) -> None:
    absent = Absent(agency=AgencyId("TW-NHRC"), reason=AbsentReason.NO_KEY)
    made = forger.seal(note("TH-DSI", "TW-NHRC"), served=["TH-DSI"], alter=dispatch_with(absent=(absent,)))
    assert verdict(receiver, forger.deliver(receiver, made)).accepted is not None


def test_25_a_bulletin_with_attachments_that_the_dispatch_lacks_is_refused(receiver: Desk, forger: Forger) -> None:
    message = note()
    message.attachments.add(name="a.pdf", media_type="application/pdf", size_bytes=1, sha256="0" * 64)
    refused(receiver, forger.deliver(receiver, forger.seal(message)), "ATTACHMENTS_DIFFER")


def test_26_a_bulletin_that_breaks_a_rule_is_refused_whatever_its_sender_thinks_row_72(
    receiver: Desk, forger: Forger
) -> None:
    message = note()
    message.header.subject[0].text = "bidi \u202e override"
    refused(receiver, forger.deliver(receiver, forger.seal(message)), "RULES")


def correction(of: Bulletin, statement: bytes, old: str) -> Bulletin:
    message = bulletin("25-correction")
    header = message.header
    header.originator, header.number = "HK-IMMD", f"HK-IMMD/COR/2025/{next(serials):06d}"
    header.issued_at.CopyFrom(of.header.issued_at)
    header.bulletin_id = uuid7(header.issued_at.ToMilliseconds(), os.urandom(10))
    header.ClearField("case")
    header.marking.CopyFrom(of.header.marking)
    del header.relations[:]
    header.relations.add(
        type=bulletin_pb2.RELATION_TYPE_CORRECTS,
        bulletin_id=of.header.bulletin_id,
        statement_digest=statement,
    )
    del header.addressees[:]
    header.addressees.add(agency="TH-DSI", role=1)
    del message.correction.changes[1:]
    message.correction.changes[0].path = "header.subject[0].text"
    message.correction.changes[0].old = old
    message.correction.changes[0].new = "Beware of prepaid tickets"
    return message


@pytest.mark.parametrize(
    ("old", "code"), [("Beware of paid tickets", None), ("Beware of free tickets", "TARGET_DIFFERS")]
)
def test_27_a_correction_applies_only_to_what_stood_there(
    receiver: Desk, forger: Forger, old: str, code: str | None
) -> None:
    message = note()
    made = forger.seal(message)
    receiver.receive(forger.deliver(receiver, made), "HK-IMMD")
    change = correction(message, statement_digest(made.signed.payload), old)
    lane_class = 1 if change.header.urgency <= 2 else 2
    found = verdict(receiver, forger.deliver(receiver, forger.seal(change), lane_class=lane_class))
    assert (found.refusal.code if found.refusal else None) == code, found.refusal
    assert (found.accepted is None) == (code is not None)


def test_padding_hides_all_but_the_bucket_row_35(forger: Forger) -> None:
    sizes = set()
    for length in (1, 100, 1000, 2000):
        message = note()
        message.header.subject[0].text = "x" * min(length, 200)
        message.statements[0].text[0].text = "y" * length
        sizes.add(len(forger.seal(message).body))
    assert len(sizes) == 1
