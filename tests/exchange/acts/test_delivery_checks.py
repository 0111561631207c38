"""One delivery at its recipient: each numbered check of ``exchange.acts.delivery_checks`` is the only thing that can refuse here.

The sender is a member with real keys that has signed every altered field anew.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.record.dispatch import Absent, AbsentReason, Dispatch, DispatchSigner, SignerRole
from keys import dsse
from keys.dsse import Signature
from keys.identity import AgencyId
from tests.exchange.acts.forge import Forger
from tests.exchange.acts.parcels import OTHER_FEDERATION, broken, check_in, dispatch_with, ends, note, refused, verdict
from tests.support.world import NOW_MS, Desk, bulletin, signer


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
    signed = dsse.sign(made.dispatch.payload, ("dispatch", thief.view.operations))
    ends(receiver, forger.deliver(receiver, replace(made, dispatch=signed)), "SIGNER_UNKNOWN")


def test_row_5_a_signature_of_another_role_is_none_for_a_dispatch(receiver: Desk, forger: Forger) -> None:
    made = forger.seal(note())
    signed = dsse.sign(made.dispatch.payload, ("lane-head", forger.view.operations))
    ends(receiver, forger.deliver(receiver, replace(made, dispatch=signed)), "WRONG_TYPE")


def test_8_a_dispatch_of_another_federation_ends_the_stream_row_6(receiver: Desk, forger: Forger) -> None:
    ends(receiver, forger.deliver(receiver, forger.seal(note(), federation_id=OTHER_FEDERATION)), "WRONG_FEDERATION")


def test_8_a_member_cannot_put_anothers_name_on_a_dispatch_row_2(receiver: Desk, forger: Forger, thief: Forger) -> None:
    honest = forger.seal(note("TH-DSI", "TW-NHRC"))
    relabelled = dsse.sign(honest.dispatch.payload, ("dispatch", thief.view.operations))
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


LATER = {
    "a part": {"absent": (Absent(agency=AgencyId("TW-NHRC"), reason=AbsentReason.OTHER_PART),), "part": 1, "parts": 2},
    "not entitled": {"absent": (Absent(agency=AgencyId("TW-NHRC"), reason=AbsentReason.NOT_ENTITLED),)},
}


@pytest.mark.parametrize("changes", LATER.values(), ids=LATER)
def test_9_a_dispatch_of_a_form_to_come_is_answered_as_not_understood_so_far(
    changes: dict[str, object], receiver: Desk, forger: Forger
) -> None:
    """An answer in the lane, which goes on: an older recipient holds up nothing."""
    made = forger.seal(note("TH-DSI", "TW-NHRC"), served=["TH-DSI"], alter=dispatch_with(**changes))
    refused(receiver, forger.deliver(receiver, made), "NOT_UNDERSTOOD")


def test_9_a_joint_signer_is_not_understood_so_far(receiver: Desk, forger: Forger) -> None:
    joint = DispatchSigner(role=SignerRole.JOINT, key_id=signer("HK-IMMD", "officer-2").key.key_id)
    made = forger.seal(note(), alter=lambda dispatch: replace(dispatch, signers=(*dispatch.signers, joint)))
    refused(receiver, forger.deliver(receiver, made), "NOT_UNDERSTOOD")


def test_11_a_dispatch_that_does_not_name_us_is_refused(receiver: Desk, forger: Forger) -> None:
    refused(receiver, forger.deliver(receiver, forger.seal(note("TW-NHRC"))), "NOT_FOR_US")


def test_11_not_even_as_a_duplicate_of_what_is_stored(receiver: Desk, forger: Forger) -> None:
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


def test_12_another_statement_under_a_stored_bulletin_id_is_refused_row_66(receiver: Desk, forger: Forger) -> None:
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
        numbered = (2, forger.position(receiver)[0] + 1)
        refused(receiver, message, "DAMAGED", given_up={numbered})  # the third time it is refused and the lane moves on


def test_a_wrap_for_a_key_that_is_gone_is_refused(receiver: Desk, forger: Forger) -> None:
    message = forger.deliver(receiver, forger.seal(note()))
    view = replace(receiver.view, encryption={})
    found = check_in(receiver, message, view)
    assert found.refusal is not None
    assert found.refusal.code == "KEY_GONE"


def test_a_wrap_for_one_recipient_does_not_open_for_another_row_7(receiver: Desk, forger: Forger) -> None:
    from audit.record.dispatch import wrap_digest

    made = forger.seal(note("TH-DSI", "TW-NHRC"))
    theirs = made.wraps["TW-NHRC"]

    def swap(dispatch: Dispatch) -> Dispatch:
        ours, other = dispatch.recipients
        return replace(dispatch, recipients=(replace(ours, wrap_digest=wrap_digest(theirs)), other))

    from audit.record.dispatch import parse_dispatch

    payload = swap(parse_dispatch(made.dispatch.payload)).encode()
    signed = dsse.sign(payload, ("dispatch", forger.view.operations))
    message = forger.deliver(receiver, replace(made, dispatch=signed, wraps={"TH-DSI": theirs}))
    refused(receiver, message, "UNOPENABLE")


def test_a_body_that_holds_another_statement_than_the_dispatch_names_is_refused_row_11(
    receiver: Desk, forger: Forger
) -> None:
    made = forger.seal(note(), alter=dispatch_with(statement_digest=bytes(31) + b"\1"))
    refused(receiver, forger.deliver(receiver, made), "UNOPENABLE")
