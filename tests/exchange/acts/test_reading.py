"""Reading: an officer's request is checked, logged, and only then opens anything."""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import replace

import apsw
import pytest

from audit.entry.entry import Kind, Outcome
from audit.record.statement import ReadPurpose, ReadRequest, opened_digest, parse_statement, read_digest
from exchange.acts import legal_hold, reading
from exchange.acts.reading import CLOCK_MS, Granted, Reader, open_bulletin
from exchange.records.bulletin import id_bytes, parse_bulletin
from exchange.store.storage_key import StorageKeys
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.identity import AgencyId
from tests.exchange.acts.forge import Forger
from tests.exchange.acts.parcels import broken
from tests.support.home_files import DATABASE
from tests.support.world import NOW_MS, Desk, advisory, signer

_serials = itertools.count(1)


@pytest.fixture
def stored(receiver: Desk, forger: Forger) -> Bulletin:
    """A bulletin that TH-DSI has received."""
    message = advisory("HK-IMMD", "TH-DSI", serial=next(_serials))
    [(answer, _)] = receiver.receive(forger.deliver(receiver, forger.seal(message)), "HK-IMMD")
    assert answer.refusal is None
    return message


def request(desk: Desk, message: Bulletin, **changes: object) -> ReadRequest:
    found = desk.node.reads.find("HK-IMMD", id_bytes(message.header.bulletin_id))
    assert found is not None
    honest = ReadRequest(
        federation_id=desk.view.federation.federation_id,
        agency=desk.agency,
        officer="officer-1",
        purpose=ReadPurpose.CASE_WORK,
        case="DSI-2027-15",
        reason="a relative has asked",
        nonce=os.urandom(16),
        time_ms=NOW_MS,
        sender="HK-IMMD",
        bulletin_id=found.bulletin_id,
        statement_digest=found.statement_digest,
    )
    return replace(honest, **changes)


def listing(desk: Desk, *messages: Bulletin, **changes: object) -> ReadRequest:
    listed = tuple(sorted(("HK-IMMD", id_bytes(each.header.bulletin_id)) for each in messages))
    return request(desk, messages[0], sender="", bulletin_id=b"", statement_digest=b"", listed=listed, **changes)


def sign(made: ReadRequest, officer: str = "officer-1", agency: str = "TH-DSI") -> SignedPayload:
    return dsse.sign(made.encode(), ("read", signer(agency, officer)))


def check(desk: Desk, signed: SignedPayload, caller: str = "TH-DSI/officer-1", now_ms: int = NOW_MS) -> Reader:
    return reading.check_request(signed, caller=caller, view=desk.view, now_ms=now_ms)


def grant(desk: Desk, reader: Reader) -> Granted:
    return desk.node.writer.run(lambda w: reading.grant(w, reader, desk.view, os.urandom))


def refused(desk: Desk, signed: SignedPayload, code: str, **more: object) -> None:
    size = desk.node.reads.size()
    with pytest.raises(RefusedError) as raised:
        grant(desk, check(desk, signed, **more))  # type: ignore[arg-type] # wrong or merged on purpose
    assert raised.value.code == code, raised.value
    assert desk.node.reads.size() == size


def test_a_request_is_logged_and_then_opens_the_bulletin(receiver: Desk, stored: Bulletin) -> None:
    signed = sign(request(receiver, stored))
    granted = grant(receiver, check(receiver, signed))
    opened = open_bulletin(granted, granted.stored[0], receiver.view, receiver.node.reads)
    assert parse_bulletin(parse_statement(opened.statement.payload).bulletin) == stored
    body = receiver.bodies(Kind.OPENED)[-1]
    assert (body.refers_to, body.purpose, body.outcome) == (granted.stored[0].entry_index, 1, Outcome.DONE)
    random, kept = receiver.node.reads.reading(granted.entry_index)
    assert body.digest == opened_digest(random, read_digest(signed.payload))
    assert kept == signed.encode()
    assert receiver.node.reads.find("HK-IMMD", granted.stored[0].bulletin_id).opened


def about(desk: Desk, position: int, **changes: object) -> ReadRequest:
    """Make a request about a reading: to read again, or with an outcome that it failed."""
    honest = ReadRequest(
        federation_id=desk.view.federation.federation_id,
        agency=desk.agency,
        officer="officer-1",
        nonce=os.urandom(16),
        time_ms=NOW_MS,
        position=position,
    )
    return replace(honest, **changes)


def fail(desk: Desk, reader: Reader) -> Granted:
    return desk.node.writer.run(lambda w: reading.fail(w, reader, desk.view, os.urandom))


def not_failed(desk: Desk, made: ReadRequest, code: str, officer: str = "officer-1") -> None:
    size = desk.node.reads.size()
    with pytest.raises(RefusedError) as raised:
        fail(desk, check(desk, sign(made, officer), caller=f"TH-DSI/{officer}"))
    assert raised.value.code == code, raised.value
    assert desk.node.reads.size() == size


def test_reading_again_refers_to_the_first_reading_and_takes_over_what_it_is_for(
    receiver: Desk, stored: Bulletin
) -> None:
    first = grant(receiver, check(receiver, sign(request(receiver, stored, purpose=ReadPurpose.OVERSIGHT))))
    again = grant(receiver, check(receiver, sign(about(receiver, first.entry_index))))
    third = grant(receiver, check(receiver, sign(about(receiver, again.entry_index))))
    bodies = receiver.bodies(Kind.OPENED)[-2:]
    assert [each.refers_to for each in bodies] == [first.entry_index, first.entry_index]
    assert {each.purpose for each in bodies} == {int(ReadPurpose.OVERSIGHT)}
    opened = open_bulletin(third, third.stored[0], receiver.view, receiver.node.reads)
    assert parse_bulletin(parse_statement(opened.statement.payload).bulletin) == stored


def test_a_reading_that_could_not_be_shown_is_logged_and_the_opening_stays(receiver: Desk, stored: Bulletin) -> None:
    first = grant(receiver, check(receiver, sign(request(receiver, stored))))
    signed = sign(about(receiver, first.entry_index, outcome=Outcome.SIGNER_UNKNOWN))
    failed = fail(receiver, check(receiver, signed))
    body, opened = receiver.bodies(Kind.READ_FAILED)[-1], receiver.bodies(Kind.OPENED)[-1]
    assert (body.refers_to, body.outcome, body.bulletin_id) == (
        first.entry_index,
        Outcome.SIGNER_UNKNOWN,
        first.stored[0].bulletin_id,
    )
    assert (body.actor, body.purpose) == (opened.actor, opened.purpose)
    random, kept = receiver.node.reads.reading(failed.entry_index)
    assert body.digest == opened_digest(random, read_digest(signed.payload))
    assert kept == signed.encode()
    last = reading.last_reading(receiver.node.reads, first.stored[0], "officer-1")
    assert last is not None
    assert (last.entry_index, last.failed) == (first.entry_index, failed.entry_index)


def test_9_nobody_reads_again_or_fails_for_somebody_else(receiver: Desk, stored: Bulletin) -> None:
    first = grant(receiver, check(receiver, sign(request(receiver, stored))))
    made = about(receiver, first.entry_index, officer="reader-1")
    refused(receiver, sign(made, "reader-1"), "NOT_ALLOWED", caller="TH-DSI/reader-1")
    not_failed(receiver, replace(made, outcome=Outcome.DAMAGED), "NOT_ALLOWED", "reader-1")


def test_9_what_opened_no_bulletin_is_neither_read_again_nor_failed(receiver: Desk, stored: Bulletin) -> None:
    listed = grant(receiver, check(receiver, sign(listing(receiver, stored))))
    for position in (listed.entry_index, 1 << 40):
        with pytest.raises(RefusedError):
            grant(receiver, check(receiver, sign(about(receiver, position))))
        not_failed(receiver, about(receiver, position, outcome=Outcome.DAMAGED), "NO_SUCH_BULLETIN")


def test_9_a_hold_on_a_bulletin_opened_nothing(receiver: Desk, stored: Bulletin) -> None:
    reader = check(receiver, sign(request(receiver, stored, purpose=ReadPurpose.HOLD)))
    kept = receiver.node.writer.run(lambda w: legal_hold.hold(w, reader, receiver.view, os.urandom))
    refused(receiver, sign(about(receiver, kept.entry_index)), "NO_SUCH_BULLETIN")
    not_failed(receiver, about(receiver, kept.entry_index, outcome=Outcome.DAMAGED), "NO_SUCH_BULLETIN")


def test_10_a_failure_is_told_once(receiver: Desk, stored: Bulletin) -> None:
    first = grant(receiver, check(receiver, sign(request(receiver, stored))))
    made = about(receiver, first.entry_index, outcome=Outcome.DAMAGED)
    fail(receiver, check(receiver, sign(made)))
    not_failed(receiver, made, "REPLAYED")


def test_a_request_to_open_reports_no_failure_and_one_about_a_failure_opens_nothing(
    receiver: Desk, stored: Bulletin
) -> None:
    not_failed(receiver, request(receiver, stored), "MALFORMED")
    first = grant(receiver, check(receiver, sign(request(receiver, stored))))
    refused(receiver, sign(about(receiver, first.entry_index, outcome=Outcome.DAMAGED)), "MALFORMED")


def test_1_a_request_of_another_federation_is_refused_row_6(receiver: Desk, stored: Bulletin) -> None:
    refused(receiver, sign(request(receiver, stored, federation_id=bytes(range(32)))), "WRONG_FEDERATION")


def test_1_a_request_to_another_agencys_node_is_refused(receiver: Desk, stored: Bulletin) -> None:
    refused(receiver, sign(request(receiver, stored, agency=AgencyId("HK-SB"))), "WRONG_MAKER")


def test_2_a_request_brought_by_somebody_else_is_refused(receiver: Desk, stored: Bulletin) -> None:
    refused(receiver, sign(request(receiver, stored)), "AUTHOR_DIFFERS", caller="TH-DSI/reader-1")


def test_3_a_request_that_names_somebody_else_is_refused(receiver: Desk, stored: Bulletin) -> None:
    refused(receiver, sign(request(receiver, stored, officer="reader-1")), "AUTHOR_DIFFERS")


def test_4_a_bad_signature_is_refused(receiver: Desk, stored: Bulletin) -> None:
    refused(receiver, broken(sign(request(receiver, stored))), "SIGNATURE_INVALID")


def test_4_a_statements_signature_is_none_for_a_request_row_5(receiver: Desk, stored: Bulletin) -> None:
    made = dsse.sign(request(receiver, stored).encode(), ("statement", signer("TH-DSI", "officer-1")))
    refused(receiver, made, "WRONG_TYPE")


def test_two_signatures_or_none_are_refused_row_3(receiver: Desk, stored: Bulletin) -> None:
    signed = sign(request(receiver, stored))
    both = dsse.add(signed, "read", signer("TH-DSI", "reader-1"))
    for strange in (both, replace(signed, signatures=())):
        with pytest.raises(RefusedError) as raised:
            check(receiver, strange)
        assert raised.value.code == "SIGNERS_DIFFER"


def test_another_agencys_officer_is_nobody_here_row_74(receiver: Desk, stored: Bulletin) -> None:
    made = sign(request(receiver, stored), agency="TW-NHRC")
    refused(receiver, made, "SIGNER_UNKNOWN", caller="TW-NHRC/officer-1")


@pytest.mark.parametrize("away_ms", [-CLOCK_MS - 1, CLOCK_MS + 1])
def test_5_a_request_more_than_five_minutes_from_the_nodes_clock_is_refused(
    receiver: Desk, stored: Bulletin, away_ms: int
) -> None:
    refused(receiver, sign(request(receiver, stored, time_ms=NOW_MS + away_ms)), "CLOCK_DIFFERS")
    limit = away_ms + (1 if away_ms < 0 else -1)
    check(receiver, sign(request(receiver, stored, time_ms=NOW_MS + limit)))


def test_7_a_request_opens_once_row_14(receiver: Desk, stored: Bulletin) -> None:
    signed = sign(request(receiver, stored))
    grant(receiver, check(receiver, signed))
    refused(receiver, signed, "REPLAYED")


@pytest.mark.parametrize(("officer", "marked"), [("writer-1", False), ("officer-2", True)], ids=["role", "ceiling"])
def test_8_who_may_not_read_is_denied_and_the_denial_is_logged(
    receiver: Desk, forger: Forger, officer: str, marked: bool
) -> None:
    message = advisory("HK-IMMD", "TH-DSI", serial=next(_serials))
    if marked:
        message.header.marking.tlp, message.header.marking.classification = 3, 2
    [(answer, _)] = receiver.receive(forger.deliver(receiver, forger.seal(message)), "HK-IMMD")
    assert answer.refusal is None, answer.refusal
    signed = sign(request(receiver, message, officer=officer), officer)
    granted = grant(receiver, check(receiver, signed, f"TH-DSI/{officer}"))
    assert granted.denied is not None
    with pytest.raises(RefusedError) as raised:
        open_bulletin(granted, granted.stored[0], receiver.view, receiver.node.reads)
    assert raised.value.code == "NOT_ALLOWED"
    body = receiver.bodies(Kind.ACCESS_DENIED)[-1]
    assert (body.outcome, body.refers_to) == (Outcome.NOT_ALLOWED, granted.stored[0].entry_index)
    assert not receiver.node.reads.find("HK-IMMD", granted.stored[0].bulletin_id).opened


def test_a_bulletin_or_a_statement_that_is_not_here_is_refused_and_costs_no_nonce(
    receiver: Desk, stored: Bulletin
) -> None:
    nonce = os.urandom(16)
    refused(receiver, sign(request(receiver, stored, bulletin_id=bytes(16), nonce=nonce)), "NO_SUCH_BULLETIN")
    refused(receiver, sign(request(receiver, stored, statement_digest=bytes(32), nonce=nonce)), "NO_SUCH_BULLETIN")
    refused(receiver, sign(request(receiver, stored, sender="HK-SB", nonce=nonce)), "NO_SUCH_BULLETIN")
    grant(receiver, check(receiver, sign(request(receiver, stored, nonce=nonce))))


def test_a_listing_is_logged_with_its_count_and_opens_exactly_what_it_names(
    receiver: Desk, forger: Forger, stored: Bulletin
) -> None:
    other = advisory("HK-IMMD", "TH-DSI", serial=next(_serials))
    receiver.receive(forger.deliver(receiver, forger.seal(other)), "HK-IMMD")
    granted = grant(receiver, check(receiver, sign(listing(receiver, stored, other))))
    body = receiver.bodies(Kind.LISTED)[-1]
    assert (body.count, body.bulletin_id, body.refers_to) == (2, b"", 0)
    for item in granted.stored:
        open_bulletin(granted, item, receiver.view, receiver.node.reads)
    unasked = advisory("HK-IMMD", "TH-DSI", serial=next(_serials))
    receiver.receive(forger.deliver(receiver, forger.seal(unasked)), "HK-IMMD")
    third = receiver.node.reads.find("HK-IMMD", id_bytes(unasked.header.bulletin_id))
    with pytest.raises(RefusedError) as raised:
        open_bulletin(granted, third, receiver.view, receiver.node.reads)
    assert raised.value.code == "NO_SUCH_BULLETIN"


def test_a_bulletin_whose_storage_key_was_destroyed_is_gone(receiver: Desk, stored: Bulletin) -> None:
    granted = grant(receiver, check(receiver, sign(request(receiver, stored))))
    later = replace(receiver.view, storage=StorageKeys.of(bytes(32)))
    with pytest.raises(RefusedError) as raised:
        open_bulletin(granted, granted.stored[0], later, receiver.node.reads)
    assert raised.value.code == "KEY_GONE"


def altered(desk: Desk, message: Bulletin, column: str, value: bytes) -> None:
    """Change what the database holds of a bulletin, as a bad disk or an administrator does."""
    found = desk.node.reads.find("HK-IMMD", id_bytes(message.header.bulletin_id))
    assert found is not None
    database = apsw.Connection(str(desk.home / DATABASE))
    database.execute(f"UPDATE contents SET {column} = ? WHERE entry_index = ?", (value, found.entry_index))
    database.close()


def test_6_what_no_key_here_opens_is_refused_before_a_reading_is_entered(receiver: Desk, stored: Bulletin) -> None:
    reader = check(receiver, sign(request(receiver, stored)))
    later, size = replace(receiver.view, storage=StorageKeys.of(bytes(32))), receiver.node.reads.size()
    with pytest.raises(RefusedError) as raised:
        receiver.node.writer.run(lambda w: reading.grant(w, reader, later, os.urandom))
    assert raised.value.code == "KEY_GONE"
    assert receiver.node.reads.size() == size


def test_6_a_body_that_is_not_the_dispatch_s_is_told_before_a_reading_is_entered(
    receiver: Desk, stored: Bulletin
) -> None:
    altered(receiver, stored, "body", b"another body")
    refused(receiver, sign(request(receiver, stored)), "DAMAGED")


def test_6_a_dispatch_that_its_sender_did_not_sign_is_told_before_a_reading_is_entered(
    receiver: Desk, stored: Bulletin
) -> None:
    found = receiver.node.reads.find("HK-IMMD", id_bytes(stored.header.bulletin_id))
    signed = SignedPayload.decode(receiver.node.reads.content(found.entry_index).dispatch)
    good = signed.signatures[0]
    for signature, code in (
        (replace(good, signature=bytes(64)), "SIGNATURE_INVALID"),
        (replace(good, key_id=bytes(32)), "SIGNER_UNKNOWN"),
    ):
        altered(receiver, stored, "dispatch", replace(signed, signatures=(signature,)).encode())
        refused(receiver, sign(request(receiver, stored)), code)


def test_stored_bytes_that_were_changed_are_an_integrity_error(receiver: Desk, stored: Bulletin) -> None:
    granted = grant(receiver, check(receiver, sign(request(receiver, stored))))
    [item] = granted.stored
    content = receiver.node.reads.content(item.entry_index)
    from exchange.acts.stored_bulletin import open_content

    for changed in (
        replace(content, body=content.body[:-1] + bytes([content.body[-1] ^ 1])),
        replace(content, stored_key=content.stored_key[:-1] + bytes([content.stored_key[-1] ^ 1])),
    ):
        with pytest.raises(IntegrityError):
            open_content(changed, item, receiver.view.storage)


def test_neither_case_nor_reason_stands_in_the_log_row_49(receiver: Desk, stored: Bulletin) -> None:
    signed = sign(request(receiver, stored, case="CANARY-CASE", reason="CANARY-REASON"))
    grant(receiver, check(receiver, signed))
    reads = receiver.node.reads
    log = b"".join(reads.read_entries(0, reads.size()))
    for planted in (b"CANARY-CASE", b"CANARY-REASON", hashlib.sha256(b"CANARY-CASE").digest(), b"officer-1"):
        assert planted not in log


def test_who_reads_is_a_pseudonym_that_another_key_does_not_give(receiver: Desk, stored: Bulletin) -> None:
    grant(receiver, check(receiver, sign(request(receiver, stored))))
    actor = receiver.bodies(Kind.OPENED)[-1].actor
    assert actor == receiver.view.pseudonym("TH-DSI/officer-1")
    assert actor != replace(receiver.view, pseudonym_key=bytes(range(32))).pseudonym("TH-DSI/officer-1")
