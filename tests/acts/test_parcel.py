"""One delivery at its recipient: each numbered check of ``exchange.parcel`` is the only thing that can refuse here.

The sender is a member with real keys that has signed every altered field anew.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest

from exchange.bulletin import uuid7
from exchange.dispatch import Absent, AbsentReason, Dispatch, DispatchSigner, SignerRole, Urgency
from exchange.intake import Message, Verdict
from exchange.statement import statement_digest
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import Signature, SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.acts.forge import Forger
from tests.world import NOW_MS, Desk, advisory, bulletin, signer

_serials = itertools.count(1)
OTHER_FEDERATION = bytes(range(32))


def note(*recipients: str, sender: str = "HK-IMMD", urgency: int = 4) -> Bulletin:
    """A fresh small bulletin, by default to TH-DSI alone."""
    return advisory(sender, *(recipients or ("TH-DSI",)), serial=next(_serials), urgency=urgency)


def verdict(receiver: Desk, message: Message, peer: str = "HK-IMMD", **more: object) -> Verdict:
    return receiver.check(message, peer, **more).verdicts[0]


def refused(receiver: Desk, message: Message, code: str, peer: str = "HK-IMMD", **more: object) -> None:
    """The delivery is refused with this code; the message as such is good."""
    found = verdict(receiver, message, peer, **more)
    assert found.accepted is None
    assert found.refusal is not None
    assert found.refusal.code == code, found.refusal


def ends(receiver: Desk, message: Message, code: str, peer: str = "HK-IMMD", **more: object) -> None:
    """The stream ends with this code."""
    with pytest.raises(RefusedError) as raised:
        receiver.check(message, peer, **more)
    assert raised.value.code == code, raised.value


def dispatch_with(**changes: object):  # type: ignore[no-untyped-def] # an alteration of a dispatch
    return lambda dispatch: replace(dispatch, **changes)


def broken(signed: SignedPayload) -> SignedPayload:
    """The same with its first signature's last bit changed."""
    first, *others = signed.signatures
    bad = replace(first, signature=first.signature[:-1] + bytes([first.signature[-1] ^ 1]))
    return replace(signed, signatures=(bad, *others))


def test_a_good_delivery_is_accepted(receiver: Desk, forger: Forger) -> None:
    assert verdict(receiver, forger.deliver(receiver, forger.seal(note()))).accepted is not None


def test_each_real_bulletin_made_long_ago_is_accepted_whatever_its_own_dates_say(receiver: Desk) -> None:
    message = bulletin("19-lookout")
    header = message.header
    assert header.expires_at.ToMilliseconds() < NOW_MS
    header.originator = "HK-IMMD"
    header.number = "HK-IMMD/LKO/2022/000001"
    del header.addressees[:]
    header.addressees.add(agency="TH-DSI", role=1)
    forger = Forger("HK-IMMD")
    made = forger.deliver(receiver, forger.seal(message), lane_class=1 if header.urgency <= 2 else 2)
    found = verdict(receiver, made)
    assert found.accepted is not None, found.refusal
    assert found.accepted.facts.expires_ms < NOW_MS


# 6 to 8: the dispatch is the one named, signed, by the lane's maker; else the stream ends


def test_6_a_dispatch_that_the_delivery_does_not_name_ends_the_stream(receiver: Desk, forger: Forger) -> None:
    named, other = forger.seal(note()), forger.seal(note())
    message = forger.deliver(receiver, named)
    swapped = other.parcel(message.parcels[0].delivery, "TH-DSI")
    ends(receiver, replace(message, parcels=(swapped,)), "DAMAGED")


def test_7_a_dispatch_without_its_makers_signature_ends_the_stream(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    ends(receiver, forger.deliver(receiver, replace(made, dispatch=broken(made.dispatch))), "SIGNATURE_INVALID")


def test_7_a_dispatch_signed_by_an_officer_of_the_sender_ends_the_stream(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    officer = signer("HK-IMMD", "officer-1")
    frame = dsse.pae(dsse.payload_type("dispatch"), made.dispatch.payload)
    signature = Signature(
        payload_type=dsse.payload_type("dispatch"), key_id=officer.key.key_id, signature=officer.sign(frame)
    )
    forged = replace(made, dispatch=replace(made.dispatch, signatures=(signature,)))
    ends(receiver, forger.deliver(receiver, forged), "SIGNER_UNKNOWN")


def test_7_a_dispatch_signed_by_another_member_ends_the_stream(receiver: Desk, forger: Forger, thief: Forger) -> None:
    made = forger.seal(note())
    signed = dsse.sign(made.dispatch.payload, ("dispatch", thief.house.operations))
    ends(receiver, forger.deliver(receiver, replace(made, dispatch=signed)), "SIGNER_UNKNOWN")


def test_row_5_a_signature_of_another_role_is_none_for_a_dispatch(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    signed = dsse.sign(made.dispatch.payload, ("lane-head", forger.house.operations))
    ends(receiver, forger.deliver(receiver, replace(made, dispatch=signed)), "WRONG_TYPE")


def test_8_a_dispatch_of_another_federation_ends_the_stream_row_6(receiver: Desk, forger: Forger) -> None:
    ends(receiver, forger.deliver(receiver, forger.seal(note(), federation_id=OTHER_FEDERATION)), "WRONG_FEDERATION")


def test_8_a_member_cannot_put_anothers_name_on_a_dispatch_row_2(receiver: Desk, forger: Forger, thief: Forger) -> None:
    honest = forger.seal(note("TH-DSI", "TW-NHRC"))
    relabelled = dsse.sign(honest.dispatch.payload, ("dispatch", thief.house.operations))
    message = thief.deliver(receiver, replace(honest, dispatch=relabelled))
    ends(receiver, message, "WRONG_MAKER", peer="TW-NHRC")


# 9 to 12: before anything is decrypted


def test_9_a_routine_bulletin_in_the_urgent_lane_is_refused(receiver: Desk, forger: Forger) -> None:
    refused(receiver, forger.deliver(receiver, forger.seal(note()), lane_class=1), "LANE_CLASS")


def test_9_an_urgent_bulletin_in_the_routine_lane_is_refused(receiver: Desk, forger: Forger) -> None:
    message = note(urgency=2)
    refused(receiver, forger.deliver(receiver, forger.seal(message)), "LANE_CLASS")


@pytest.mark.parametrize(("late_ms", "code"), [(-1, None), (0, "DISPATCH_EXPIRED"), (1, "DISPATCH_EXPIRED")])
def test_10_a_dispatch_expires_at_its_millisecond(
    receiver: Desk, forger: Forger, late_ms: int, code: str | None
) -> None:
    message = forger.deliver(receiver, forger.seal(note(), alter=dispatch_with(expires_ms=NOW_MS - late_ms)))
    if code is None:
        assert verdict(receiver, message).accepted is not None
    else:
        refused(receiver, message, code)


def test_11_a_dispatch_that_does_not_name_us_is_refused(receiver: Desk, forger: Forger) -> None:
    refused(receiver, forger.deliver(receiver, forger.seal(note("TW-NHRC"))), "NOT_FOR_US")


def test_11_not_even_as_a_duplicate_of_what_is_held(receiver: Desk, forger: Forger) -> None:
    message = note("TH-DSI", "TW-NHRC")
    made = forger.seal(message)
    receiver.receive(forger.deliver(receiver, made), "HK-IMMD")
    again = forger.seal(
        message,
        signed=made.signed,
        served=["TW-NHRC"],
        alter=dispatch_with(absent=(Absent(agency=AgencyId("TH-DSI"), reason=AbsentReason.SERVED_BEFORE),)),
    )
    refused(receiver, forger.deliver(receiver, again), "NOT_FOR_US")


def test_12_another_statement_under_a_bulletin_id_that_is_held_is_refused_row_66(
    receiver: Desk, forger: Forger
) -> None:
    message = note()
    receiver.receive(forger.deliver(receiver, forger.seal(message)), "HK-IMMD")
    refused(receiver, forger.deliver(receiver, forger.seal(message)), "EQUIVOCATION")


def test_12_the_same_id_from_another_sender_is_its_own_row_66(receiver: Desk, forger: Forger, thief: Forger) -> None:
    message = note()
    receiver.receive(forger.deliver(receiver, forger.seal(message)), "HK-IMMD")
    squatter = note(sender="TW-NHRC")
    squatter.header.bulletin_id = message.header.bulletin_id
    assert verdict(receiver, thief.deliver(receiver, thief.seal(squatter)), "TW-NHRC").accepted is not None


def test_a_body_or_wrap_that_the_dispatch_does_not_name_is_damaged(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    for damaged in (
        replace(made, body=made.body[:-1] + b"\0"),
        replace(made, body=made.body + b"\0"),
        replace(made, wraps={"TH-DSI": bytes(1168)}),
        replace(made, wraps={}),
        replace(made, body=b""),
    ):
        message = forger.deliver(receiver, damaged)
        ends(receiver, message, "DAMAGED")
        place = (2, forger.position(receiver)[0] + 1)
        refused(receiver, message, "DAMAGED", given_up={place})  # the third time it is refused and the lane moves on


def test_a_wrap_for_a_key_that_is_gone_is_refused(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    house = replace(receiver.house, encryption={})
    found = check_in(receiver, message, house)
    assert found.refusal is not None
    assert found.refusal.code == "KEY_GONE"


def check_in(receiver: Desk, message: Message, house: object, now_ms: int = NOW_MS) -> Verdict:
    from exchange import intake

    checked = intake.check_message(
        message,
        peer=AgencyId("HK-IMMD"),
        house=house,  # type: ignore[arg-type] # wrong or merged on purpose
        reads=receiver.node.reads,
        now_ms=now_ms,
        random_bytes=os.urandom,
    )
    return checked.verdicts[0]


def test_a_wrap_for_one_recipient_does_not_open_for_another_row_7(receiver: Desk, forger: Forger) -> None:
    from exchange.dispatch import wrap_digest

    made = forger.seal(note("TH-DSI", "TW-NHRC"))
    theirs = made.wraps["TW-NHRC"]

    def swap(dispatch: Dispatch) -> Dispatch:
        ours, other = dispatch.recipients
        return replace(dispatch, recipients=(replace(ours, wrap_digest=wrap_digest(theirs)), other))

    from exchange.dispatch import parse_dispatch

    payload = swap(parse_dispatch(made.dispatch.payload)).encode()
    signed = dsse.sign(payload, ("dispatch", forger.house.operations))
    message = forger.deliver(receiver, replace(made, dispatch=signed, wraps={"TH-DSI": theirs}))
    refused(receiver, message, "UNOPENABLE")


def test_a_body_that_holds_another_statement_than_the_dispatch_names_is_refused_row_11(
    receiver: Desk, forger: Forger
) -> None:
    made = forger.seal(note(), alter=dispatch_with(statement_digest=bytes(31) + b"\1"))
    refused(receiver, forger.deliver(receiver, made), "UNOPENABLE")


# 14 to 27: what is inside agrees with what is outside


def test_14_a_statement_of_another_federation_is_refused_row_6(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note(), statement={"federation_id": OTHER_FEDERATION})
    refused(receiver, forger.deliver(receiver, made), "WRONG_FEDERATION")


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


def test_16_a_statement_under_a_roster_that_is_not_held_is_refused(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note(), statement={"roster_digest": bytes(range(32))})
    refused(receiver, forger.deliver(receiver, made), "ROSTER_UNKNOWN")


def test_16_no_traffic_thirty_days_after_the_roster_expired(receiver: Desk, forger: Forger) -> None:
    late = NOW_MS + 60 * 86_400_000
    made = forger.seal(note(), alter=dispatch_with(expires_ms=late + 1))
    message = forger.deliver(receiver, made)
    assert check_in(receiver, message, receiver.house, late).accepted is not None
    for days, code in ((29, None), (30, "ROSTER_EXPIRED")):
        expired = aged(receiver.house, expires_ms=late - days * 86_400_000)
        found = check_in(receiver, message, expired, late)
        assert (found.refusal.code if found.refusal else None) == code


def test_16_a_statement_under_a_roster_replaced_over_thirty_days_ago_is_stale(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    for days, code in ((30, None), (31, "STALE_ROSTER")):
        house = succeeded(receiver.house, issued_ms=NOW_MS - days * 86_400_000)
        found = check_in(receiver, message, house)
        assert (found.refusal.code if found.refusal else None) == code


def aged(house, expires_ms: int):  # type: ignore[no-untyped-def] # a house whose roster expires elsewhere
    adopted = house.federation.rosters[-1]
    roster = replace(adopted, record=replace(adopted.record, expires_ms=expires_ms))
    return replace(house, federation=replace(house.federation, rosters=(roster,)))


def succeeded(house, issued_ms: int):  # type: ignore[no-untyped-def] # a house with a second roster
    first = house.federation.rosters[-1]
    second = replace(first, record=replace(first.record, version=2, issued_ms=issued_ms), digest=bytes(range(32)))
    return replace(house, federation=replace(house.federation, rosters=(first, second)))


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
    header.originator, header.number = "HK-IMMD", f"HK-IMMD/COR/2025/{next(_serials):06d}"
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
