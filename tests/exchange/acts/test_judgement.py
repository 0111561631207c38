"""A delivery is judged from encoded values alone: another process, without a store, says what this one says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.acts.delivery_checks import judge
from exchange.acts.intake import Message
from exchange.acts.judgement import (
    MAX_ROSTERS,
    DeliveryCase,
    Judgement,
    KnownRoster,
    SenderKeys,
    case_of,
    parse_case,
    parse_judgement,
    terms_of,
    window_key,
)
from exchange.records.case_refusal import MAX_REFUSAL, CaseRefusal
from exchange.v1 import judgement_pb2
from keys.errors import RefusedError
from tests.exchange.acts.forge import Forger
from tests.exchange.acts.parcels import OTHER_FEDERATION, dispatch_with, note, verdict
from tests.exchange.records.refusing import refusal
from tests.support.world import NOW_MS, Desk


def case(receiver: Desk, message: Message) -> DeliveryCase:
    found = verdict(receiver, message)
    assert found.dispatch is not None
    view = receiver.node.view
    keys = SenderKeys(view, found.dispatch.sender, NOW_MS)
    return case_of(found.step, found.parcel, found.dispatch, terms_of(view, NOW_MS), keys, b"")


def elsewhere(receiver: Desk, encoded: bytes) -> bytes:
    """Judge as another process would: of the node it has the catalogues and the key that opens, nothing more."""
    read = parse_case(encoded)
    made = judge(read, receiver.node.view.catalogues, window_key(read.dispatch, receiver.node.view))
    assert made is not None
    return made.encode()


def test_a_case_and_its_judgement_cross_as_bytes_and_say_the_same(receiver: Desk, forger: Forger) -> None:
    here = case(receiver, forger.deliver(receiver, forger.seal(note())))
    assert parse_case(here.encode()) == here
    assert parse_case(here.encode()).encode() == here.encode()
    said = judge(here, receiver.node.view.catalogues, window_key(here.dispatch, receiver.node.view))
    assert isinstance(said, Judgement)
    there = elsewhere(receiver, here.encode())
    assert there == said.encode()
    assert parse_judgement(there) == said


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        (dispatch_with(expires_ms=NOW_MS), "DISPATCH_EXPIRED"),
        (dispatch_with(urgency=1), "LANE_CLASS"),
        (dispatch_with(bulletin_id=bytes(16)), "BULLETIN_ID_DIFFERS"),
    ],
)
def test_a_refusal_there_is_the_refusal_here(receiver: Desk, forger: Forger, alter: object, code: str) -> None:
    message = forger.deliver(receiver, forger.seal(note(), alter=alter))  # type: ignore[arg-type] # an alteration
    here = verdict(receiver, message).refusal
    assert here is not None
    with pytest.raises(RefusedError) as there:
        elsewhere(receiver, case(receiver, message).encode())
    assert (there.value.code, str(there.value)) == (here.code, str(here)) == (code, str(here))


def test_what_is_stored_is_judged_as_known_or_as_another(receiver: Desk, forger: Forger) -> None:
    here = case(receiver, forger.deliver(receiver, forger.seal(note())))
    key = window_key(here.dispatch, receiver.node.view)
    known = parse_case(replace(here, stored_digest=here.dispatch.statement_digest).encode())
    assert judge(known, receiver.node.view.catalogues, key) is None
    other = parse_case(replace(here, stored_digest=bytes(range(32))).encode())
    assert refusal(judge, other, receiver.node.view.catalogues, key) == "EQUIVOCATION"


def test_what_the_node_cannot_say_is_refused_when_the_judge_comes_to_it(receiver: Desk, forger: Forger) -> None:
    here = case(receiver, forger.deliver(receiver, forger.seal(note())))
    view, key = receiver.node.view, window_key(here.dispatch, receiver.node.view)
    gone = CaseRefusal("KEY_EXPIRED", "the author's time is over")
    stopped = replace(here.terms, traffic=CaseRefusal("ROSTER_EXPIRED", "long ago"))
    stranger = replace(here.terms, rosters=(replace_digest(here.terms.rosters[0]),))
    for changed, code in (
        (replace(here, author=None, no_author=gone), "KEY_EXPIRED"),
        (replace(here, terms=stopped), "ROSTER_EXPIRED"),
        (replace(here, terms=stranger), "ROSTER_UNKNOWN"),
        (replace(here, terms=replace(here.terms, federation_id=OTHER_FEDERATION)), "WRONG_FEDERATION"),
    ):
        assert refusal(judge, parse_case(changed.encode()), view.catalogues, key) == code
    assert refusal(judge, here, {}, key) == "ROSTER_UNKNOWN"  # its catalogue is not there
    assert refusal(judge, here, view.catalogues, None) == "KEY_GONE"


def test_another_person_of_the_sender_is_not_the_author(receiver: Desk, forger: Forger) -> None:
    here = case(receiver, forger.deliver(receiver, forger.seal(note())))
    manifest = receiver.node.view.federation.manifests[here.dispatch.sender].record
    others = [each for each in manifest.officers if here.author is not None and each.id != here.author.id]
    assert others
    key = window_key(here.dispatch, receiver.node.view)
    for other in others:
        changed = replace(here, author=other)
        assert refusal(judge, changed, receiver.node.view.catalogues, key) == "SIGNER_UNKNOWN"


def replace_digest(roster: KnownRoster) -> KnownRoster:
    return roster._replace(digest=bytes(range(32)))


@pytest.mark.parametrize(
    "changes",
    [
        {"federation_id": b"x"},
        {"recipient": ""},
        {"now_ms": 0},
        {"delivery": b""},
        {"dispatch": b"\xff"},
        {"stored": b"short"},
        {"author": b""},  # and no reason either
        {"author": b"\xff"},
        {"no_author": judgement_pb2.CaseRefusal(code="X")},  # and an author
        {"traffic": judgement_pb2.CaseRefusal(message="no code")},
        {"traffic": judgement_pb2.CaseRefusal(code="X", message="x" * (MAX_REFUSAL + 1))},
        {"rosters": []},
        {"rosters": [judgement_pb2.KnownRoster(digest=bytes(32), catalogue_digest=b"x")]},
        {"rosters": [judgement_pb2.KnownRoster(digest=b"x", catalogue_digest=bytes(32))]},
        {"rosters": [judgement_pb2.KnownRoster(digest=bytes(32), catalogue_digest=bytes(32))] * (MAX_ROSTERS + 1)},
    ],
)
def test_a_case_out_of_its_bounds_is_refused(receiver: Desk, forger: Forger, changes: dict[str, object]) -> None:
    encoded = case(receiver, forger.deliver(receiver, forger.seal(note()))).encode()
    message = judgement_pb2.DeliveryCase.FromString(encoded)
    for name, value in changes.items():
        message.ClearField(name)  # type: ignore[arg-type] # one of its fields
        fresh = judgement_pb2.DeliveryCase(**{name: value})  # type: ignore[arg-type] # one of its fields
        message.MergeFrom(fresh)
    assert refusal(parse_case, message.SerializeToString(deterministic=True)) in ("MALFORMED", "TOO_LARGE")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_garbage_is_neither_case_nor_judgement(data: bytes) -> None:
    for parse in (parse_case, parse_judgement):
        with pytest.raises(RefusedError):
            parse(data)
