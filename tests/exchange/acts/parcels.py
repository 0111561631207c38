"""Small bulletins to seal and alter, and what a recipient says to the delivery."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest

from exchange.acts.intake import Message, Verdict
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.support.world import NOW_MS, Desk, advisory

serials = itertools.count(1)
OTHER_FEDERATION = bytes(range(32))


def note(*recipients: str, sender: str = "HK-IMMD", urgency: int = 4) -> Bulletin:
    """A fresh small bulletin, by default to TH-DSI alone."""
    return advisory(sender, *(recipients or ("TH-DSI",)), serial=next(serials), urgency=urgency)


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


def check_in(receiver: Desk, message: Message, view: object, now_ms: int = NOW_MS) -> Verdict:
    from exchange.acts import intake

    checked = intake.check_message(
        message,
        peer=AgencyId("HK-IMMD"),
        view=view,  # type: ignore[arg-type] # wrong or merged on purpose
        reads=receiver.node.reads,
        now_ms=now_ms,
        handling=intake.Handling(random_bytes=os.urandom),
    )
    return checked.verdicts[0]


def aged(view, expires_ms: int):  # type: ignore[no-untyped-def] # a house whose roster expires elsewhere
    adopted = view.federation.rosters[-1]
    roster = replace(adopted, record=replace(adopted.record, expires_ms=expires_ms))
    return replace(view, federation=replace(view.federation, rosters=(roster,)))
