"""A statement is checked and sealed from encoded values alone: another process, without a store, says what this one says."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.record.dispatch import AbsentReason
from audit.record.statement import MAX_STATEMENT_BYTES
from exchange.acts import publishing
from exchange.acts.publishing import Arrival, Prepared
from exchange.acts.statement_checks import prepare
from exchange.records.bulletin import uuid7
from exchange.records.case_refusal import MAX_REFUSAL, CaseRefusal
from exchange.records.sealed_statement import open_sealed
from exchange.records.statement_case import (
    MAX_TARGETS,
    SealedStatement,
    StatementCase,
    parse_sealed_statement,
    parse_statement_case,
)
from exchange.store.rows import StoredBulletin
from exchange.store.store import Reads
from exchange.v1 import bulletin_pb2, judgement_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from tests.exchange.acts.parcels import OTHER_FEDERATION, note
from tests.exchange.records.refusing import refusal
from tests.support.world import NOW_MS, Desk, bulletin


def arrival_at(sender: Desk) -> Arrival:
    return Arrival(
        caller="HK-IMMD/officer-1", view=sender.view, reads=sender.node.reads, now_ms=NOW_MS, random_bytes=os.urandom
    )


def signed(sender: Desk, message: Bulletin) -> SignedPayload:
    message.header.author = "officer-1"
    return sender.sign(sender.statement(message))


def case(sender: Desk, message: Bulletin | None = None) -> StatementCase:
    arrival = arrival_at(sender)
    return looked_up(sender, signed(sender, message or note()), arrival)


def looked_up(sender: Desk, statement: SignedPayload, arrival: Arrival) -> StatementCase:
    read = publishing.read_statement(statement)
    stored = sender.node.reads.statement_digests(sender.agency, [read.bulletin_id]).get(read.bulletin_id, b"")
    return publishing.look_up(read, stored, publishing.terms_of(arrival), arrival)


def correction_of(sender: Desk, target: Bulletin, digest: bytes) -> Bulletin:
    change = bulletin("25-correction")
    header = change.header
    header.originator, header.number = "HK-IMMD", "HK-IMMD/COR/2025/090909"
    header.issued_at.CopyFrom(target.header.issued_at)
    header.bulletin_id = uuid7(header.issued_at.ToMilliseconds(), os.urandom(10))
    header.ClearField("case")
    header.marking.CopyFrom(target.header.marking)
    del header.relations[:]
    header.relations.add(
        type=bulletin_pb2.RELATION_TYPE_CORRECTS, bulletin_id=target.header.bulletin_id, statement_digest=digest
    )
    del header.addressees[:]
    header.addressees.add(agency="TH-DSI", role=1)
    del change.correction.changes[1:]
    change.correction.changes[0].path = "header.subject[0].text"
    change.correction.changes[0].old, change.correction.changes[0].new = "Beware of paid tickets", "Beware of tickets"
    return change


def elsewhere(sender: Desk, encoded: bytes) -> bytes:
    """Check and seal as another process would: of the node it has the catalogues, nothing more."""
    made = prepare(parse_statement_case(encoded), sender.view.catalogues)
    assert made is not None
    return made.encode()


def test_a_case_crosses_as_bytes_and_what_comes_back_opens(sender: Desk) -> None:
    here = case(sender, note("TH-DSI", "TW-NHRC"))
    there = parse_statement_case(here.encode())
    assert there == here
    assert there.encode() == here.encode()
    sealed = parse_sealed_statement(elsewhere(sender, here.encode()))
    said = prepare(here, sender.view.catalogues)
    assert said is not None
    assert (sealed.disclosure_root, sealed.reply_due_ms) == (said.disclosure_root, said.reply_due_ms)
    assert sealed.parts.dispatch.served == ("TH-DSI", "TW-NHRC")
    assert open_sealed(sealed.parts.dispatch, sealed.parts.body, here.content_key) == here.signed
    assert parse_sealed_statement(sealed.encode()) == sealed


def test_what_was_published_before_is_recognised_there_too(sender: Desk) -> None:
    statement = signed(sender, note())
    prepared = sender.prepare(statement)
    sender.enter(prepared)
    arrival = arrival_at(sender)
    known = looked_up(sender, statement, arrival)
    assert prepare(parse_statement_case(known.encode()), sender.view.catalogues) is None
    other = replace(known, stored_digest=bytes(range(32)))  # another statement has its id: entering it is refused
    assert isinstance(prepare(other, sender.view.catalogues), SealedStatement)


def test_the_targets_and_the_corrected_bulletin_travel_with_a_correction(sender: Desk) -> None:
    target = note()
    published = sender.enter(sender.prepare(signed(sender, target)))
    here = case(sender, correction_of(sender, target, published.statement_digest))
    assert [each.statement_digest for each in here.targets] == [published.statement_digest]
    assert here.corrected is not None
    assert parse_statement_case(here.encode()) == here
    elsewhere(sender, here.encode())
    catalogues = sender.view.catalogues
    assert refusal(prepare, parse_statement_case(replace(here, targets=()).encode()), catalogues) == "TARGET_MISSING"
    another = note()
    another.header.subject[0].text = "Another subject"
    assert refusal(prepare, replace(here, corrected=another), catalogues) == "TARGET_DIFFERS"
    unknown = replace(here, targets=(), corrected=None, no_target=CaseRefusal("MALFORMED", "no such id"))
    assert refusal(prepare, parse_statement_case(unknown.encode()), catalogues) == "MALFORMED"


class CountedReads:
    """A store's reads, whose walks over all bulletins are counted."""

    def __init__(self, reads: Reads) -> None:
        self._reads, self.walks = reads, 0

    def find_any(self, bulletin_id: bytes) -> list[StoredBulletin]:
        self.walks += 1
        return self._reads.find_any(bulletin_id)

    def __getattr__(self, name: str) -> object:
        return getattr(self._reads, name)


def test_however_many_relations_there_are_the_store_is_walked_once_an_id_and_not_behind_a_missing_one(
    sender: Desk,
) -> None:
    target = note()
    published = sender.enter(sender.prepare(signed(sender, target)))
    message = note()
    for digest, target_id in [(published.statement_digest, target.header.bulletin_id)] * 50:
        message.header.relations.add(
            type=bulletin_pb2.RELATION_TYPE_REPLIES_TO, bulletin_id=target_id, statement_digest=digest
        )
    for _ in range(50):
        message.header.relations.add(
            type=bulletin_pb2.RELATION_TYPE_REPLIES_TO,
            bulletin_id=note().header.bulletin_id,
            statement_digest=bytes(32),
        )
    reads = CountedReads(sender.node.reads)
    arrival = replace(arrival_at(sender), reads=reads)  # type: ignore[type-var] # it delegates all else
    here = looked_up(sender, signed(sender, message), arrival)
    assert reads.walks == 2
    assert refusal(prepare, here, sender.view.catalogues) == "TARGET_MISSING"


def test_what_the_node_cannot_say_is_refused_when_its_check_comes(sender: Desk) -> None:
    here = case(sender)
    manifest = sender.view.federation.manifests[sender.view.agency].record
    others = [each for each in manifest.officers if here.author is not None and each.id != here.author.id]
    assert others
    gone = CaseRefusal("KEY_EXPIRED", "the author's time is over")
    stranger = CaseRefusal("NOT_A_MEMBER", "XX-NONE is not in roster 1")
    recipient = here.recipients[0]
    for changed, code in (
        (replace(here, author=None, no_author=gone), "KEY_EXPIRED"),
        (replace(here, author=others[0]), "SIGNER_UNKNOWN"),
        (replace(here, no_member=stranger, recipients=()), "NOT_A_MEMBER"),
        (replace(here, terms=replace(here.terms, traffic=CaseRefusal("ROSTER_EXPIRED", "long ago"))), "ROSTER_EXPIRED"),
        (replace(here, terms=replace(here.terms, federation_id=OTHER_FEDERATION)), "WRONG_FEDERATION"),
        (replace(here, terms=replace(here.terms, roster_digest=bytes(range(32)))), "STALE_ROSTER"),
        (replace(here, terms=replace(here.terms, caller="HK-IMMD/officer-2")), "AUTHOR_DIFFERS"),
        (replace(here, recipients=(recipient._replace(key=None, absent=AbsentReason.NO_KEY),)), "NO_RECIPIENT"),
        (replace(here, recipients=(*here.recipients, recipient._replace(agency="TW-NHRC"))), "RECIPIENTS_DIFFER"),
    ):
        assert refusal(prepare, parse_statement_case(changed.encode()), sender.view.catalogues) == code
    assert refusal(prepare, here, {}) == "ROSTER_UNKNOWN"  # its catalogue is not there


def test_the_largest_statement_fits_a_case(sender: Desk) -> None:
    here = case(sender)
    filler = b"x" * (MAX_STATEMENT_BYTES - len(here.signed.payload) - 10)
    big = replace(here.statement, bulletin=here.statement.bulletin + filler)
    encoded = replace(here, signed=replace(here.signed, payload=big.encode())).encode()
    assert refusal(parse_statement_case, encoded) in ("MALFORMED", "NOT_UNDERSTOOD")  # for its content, not its size


RECIPIENT = judgement_pb2.CaseRecipient(agency="TH-DSI", public_key=bytes(1216))


@pytest.mark.parametrize(
    "changes",
    [
        {"federation_id": b"x"},
        {"agency": ""},
        {"now_ms": 0},
        {"roster_digest": b"x"},
        {"roster_version": 0},
        {"catalogue_digest": b"x"},
        {"signed": b"\xff"},
        {"caller": "nobody"},
        {"author": b""},  # and no reason either
        {"author": b"\xff"},
        {"no_author": judgement_pb2.CaseRefusal(code="X")},  # and an author
        {"stored": b"short"},
        {"no_member": judgement_pb2.CaseRefusal(message="no code")},
        {"targets": [judgement_pb2.CaseTarget(bulletin_id=b"x", statement_digest=bytes(32))]},
        {"targets": [judgement_pb2.CaseTarget(bulletin_id=bytes(16), statement_digest=b"x")]},
        {"targets": [judgement_pb2.CaseTarget(bulletin_id=bytes(16), statement_digest=bytes(32))] * (MAX_TARGETS + 1)},
        {"corrected": b"\xff"},
        {"no_target": judgement_pb2.CaseRefusal(code="X", message="x" * (MAX_REFUSAL + 1))},
        {"recipients": [RECIPIENT, RECIPIENT]},
        {"recipients": [judgement_pb2.CaseRecipient(agency="TH-DSI")]},
        {"recipients": [judgement_pb2.CaseRecipient(agency="TH-DSI", absent=77)]},
        {"recipients": [judgement_pb2.CaseRecipient(agency="TH-DSI", public_key=bytes(1216), absent=1)]},
        {"recipients": [judgement_pb2.CaseRecipient(agency="TH-DSI", public_key=b"x")]},
        {"content_key": b"short"},
    ],
)
def test_a_case_out_of_its_bounds_is_refused(sender: Desk, changes: dict[str, object]) -> None:
    message = judgement_pb2.StatementCase.FromString(case(sender).encode())
    for name, value in changes.items():
        message.ClearField(name)  # type: ignore[arg-type] # one of its fields
        fresh = judgement_pb2.StatementCase(**{name: value})  # type: ignore[arg-type] # one of its fields
        message.MergeFrom(fresh)
    found = refusal(parse_statement_case, message.SerializeToString(deterministic=True))
    assert found in ("MALFORMED", "TOO_LARGE", "NOT_UNDERSTOOD")


@pytest.mark.parametrize(
    "changes",
    [
        {"dispatch": b"\xff"},
        {"sealed_body": b"short"},
        {"wraps": []},
        {"wraps": [judgement_pb2.CaseWrap(agency="TW-NHRC", wrap=bytes(1168))]},  # of another agency
        {"wraps": [judgement_pb2.CaseWrap(agency="TH-DSI", wrap=b"short")]},
        {"disclosure_root": b"short"},
    ],
)
def test_what_came_of_a_case_is_refused_out_of_its_bounds(sender: Desk, changes: dict[str, object]) -> None:
    message = judgement_pb2.SealedStatement.FromString(elsewhere(sender, case(sender).encode()))
    for name, value in changes.items():
        message.ClearField(name)  # type: ignore[arg-type] # one of its fields
        fresh = judgement_pb2.SealedStatement(**{name: value})  # type: ignore[arg-type] # one of its fields
        message.MergeFrom(fresh)
    assert refusal(parse_sealed_statement, message.SerializeToString(deterministic=True)) == "MALFORMED"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), value=st.integers(1, 255))
def test_another_byte_is_refused_or_is_another_case(sender: Desk, at: int, value: int) -> None:
    altered = bytearray(case(sender).encode())
    altered[at % len(altered)] ^= value
    try:
        found = parse_statement_case(bytes(altered))
    except RefusedError:
        return
    assert found.encode() == altered


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_garbage_is_neither_case_nor_answer(data: bytes) -> None:
    for parse in (parse_statement_case, parse_sealed_statement):
        with pytest.raises(RefusedError):
            parse(data)


def test_the_content_key_is_new_for_each_statement_and_not_shown(sender: Desk) -> None:
    one, two = case(sender), case(sender)
    assert one.content_key != two.content_key
    assert "content_key" not in repr(one)
    assert isinstance(sender.prepare(signed(sender, note())), Prepared)
