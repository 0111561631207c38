"""A member that signs anything: whatever it sends ends in a refusal, never in an error, and the node goes on.

After an error that is no refusal the writer signs nothing until a person starts it anew, so an error that a member
can cause would let one agency stop another.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import pytest

from audit.record.dispatch import Dispatch, parse_dispatch
from audit.record.lane import delivery_digest, parse_delivery
from exchange.acts.intake import Message
from exchange.records.bulletin import encode_bulletin
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.exchange.acts.forge import Forger, Made
from tests.support.scale import lengths
from tests.support.world import Desk, advisory, signer

_serials = itertools.count(1)
CASES = lengths(40, 250)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk("TH-DSI", tmp_path_factory.mktemp("victim"))
    yield desk
    desk.close()


def note(*recipients: str, sender: str = "HK-IMMD") -> Bulletin:
    return advisory(sender, *(recipients or ("TH-DSI",)), serial=next(_serials))


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """Change, drop, double or insert a little, anywhere."""
    at = chance.randrange(len(data))
    length = chance.choice((1, 1, 1, 2, 8))
    match chance.randrange(5):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + length :] or b"\0"
        case 2:
            return data[:at] + data[at : at + length] + data[at:]
        case 3:
            return data[:at] + chance.choice((b"\xff" * 9 + b"\x01", b"\0", b"\x80", b"\x7f")) + data[at + 1 :]
        case _:
            return data[:at] + chance.randbytes(length) + data[at:]


def of_head(forger: Forger, desk: Desk, made: Made, chance: random.Random) -> Message:
    message = forger.deliver(desk, made)
    return replace(message, head=dsse.sign(spoilt(message.head.payload, chance), ("lane-head", forger.view.operations)))


def of_delivery(forger: Forger, desk: Desk, made: Made, chance: random.Random) -> Message:
    message = forger.deliver(desk, made)
    bad = spoilt(message.parcels[0].delivery, chance)
    sequence = forger.position(desk)[0] + 1
    time_ms = forger.later(desk)
    head = forger.head(forger.lane("TH-DSI"), sequence, delivery_digest(bad), time_ms=time_ms)
    return Message(parcels=(replace(message.parcels[0], delivery=bad),), head=head)


def of_dispatch(forger: Forger, desk: Desk, made: Made, chance: random.Random) -> Message:
    signed = dsse.sign(spoilt(made.dispatch.payload, chance), ("dispatch", forger.view.operations))
    return forger.deliver(desk, replace(made, dispatch=signed))


def of_statement(forger: Forger, desk: Desk, made: Made, chance: random.Random) -> Message:
    message = note()
    message.header.author = "officer-1"
    payload = spoilt(forger.statement(message).encode(), chance)
    signed = dsse.sign(payload, ("statement", signer("HK-IMMD", "officer-1")))
    return forger.deliver(desk, forger.seal(message, signed=signed))


def of_bulletin(forger: Forger, desk: Desk, made: Made, chance: random.Random) -> Message:
    message = note()
    message.header.author = "officer-1"
    data = spoilt(encode_bulletin(message), chance)
    return forger.deliver(desk, forger.seal(message, statement={"bulletin": data}))


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("make", [of_head, of_delivery, of_dispatch, of_statement, of_bulletin])
def test_bytes_spoilt_before_they_were_signed_are_refused_and_stop_nothing_row_37(
    victim: Desk, forger: Forger, make: Callable[[Forger, Desk, Made, random.Random], Message], cases: int
) -> None:
    chance = random.Random(make.__name__)
    refused = 0
    for _ in range(cases):
        made = forger.seal(note())
        try:
            answers = victim.receive(make(forger, victim, made, chance), "HK-IMMD")
            refused += any(answer.refusal is not None for answer, _ in answers)
        except RefusedError:
            refused += 1
    assert refused > cases // 2  # some changes leave something good: another letter, an earlier time
    assert victim.node.writer.failure is None
    [(answer, _)] = victim.receive(forger.deliver(victim, forger.seal(note())), "HK-IMMD")
    assert answer.refusal is None


@pytest.mark.parametrize("cases", CASES)
def test_no_mixture_of_two_dispatches_makes_anothers_statement_ones_own_row_2(
    victim: Desk, forger: Forger, thief: Forger, cases: int
) -> None:
    chance = random.Random(2)
    names = [field.name for field in fields(Dispatch) if field.name != "sender"]
    theirs = forger.seal(note("TH-DSI", "TW-NHRC"))
    honest = parse_dispatch(theirs.dispatch.payload)
    for _ in range(cases):
        own = thief.seal(note(sender="TW-NHRC"))
        taken = {name: getattr(parse_dispatch(own.dispatch.payload), name) for name in names if chance.random() < 0.4}
        if {"statement_digest", "ciphertext_digest", "recipients"} <= set(taken):
            continue  # that is the thief's own statement
        sender = chance.choice((AgencyId("TW-NHRC"), AgencyId("HK-IMMD")))
        mixed = replace(honest, **taken, sender=sender)
        body = own.body if "ciphertext_digest" in taken else theirs.body
        wraps = own.wraps if "recipients" in taken else theirs.wraps
        signed = dsse.sign(mixed.encode(), ("dispatch", thief.view.operations))
        message = thief.deliver(victim, Made(own.statement, own.signed, signed, body, wraps))
        try:
            verdict = victim.check(message, "TW-NHRC").verdicts[0]
        except RefusedError:
            continue
        assert verdict.accepted is None, taken.keys()


@pytest.mark.parametrize("field", ["sequence", "time_ms"])
@pytest.mark.parametrize("value", [(1 << 40) - 1, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_the_largest_numbers_in_a_delivery_stop_nothing(victim: Desk, forger: Forger, field: str, value: int) -> None:
    made = forger.seal(note())
    delivery = parse_delivery(forger.deliver(victim, made).parcels[0].delivery)
    changed = replace(delivery, **{field: value}).encode()
    head = forger.head(delivery.lane, replace(delivery, **{field: value}).sequence, delivery_digest(changed))
    message = Message(parcels=(made.parcel(changed, "TH-DSI"),), head=head)
    try:
        victim.receive(message, "HK-IMMD")
    except RefusedError as refusal:
        assert refusal.code == "LANE_GAP"  # noqa: PT017 - every case of the loop is looked at
    assert victim.node.writer.failure is None


def test_a_dispatch_that_never_expires_is_taken(victim: Desk, forger: Forger) -> None:
    made = forger.seal(note(), alter=lambda dispatch: replace(dispatch, expires_ms=(1 << 64) - 1))
    assert victim.receive(forger.deliver(victim, made), "HK-IMMD")[0][0].refusal is None


def test_years_of_review_far_away_are_no_error(victim: Desk, forger: Forger) -> None:
    for day in ("0001-01-01", "9999-12-31"):
        message = note()
        message.header.retention.review_by = day
        victim.receive(forger.deliver(victim, forger.seal(message)), "HK-IMMD")
    assert victim.node.writer.failure is None
