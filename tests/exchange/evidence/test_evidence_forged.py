"""Evidence forged with somebody's own keys: what a dishonest sender, recipient or exporter could sign and log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.entry.body import parse_body
from audit.entry.entry import HEAD_LENGTH, Kind, encode_entry, leaf_hash
from audit.evidence import file
from audit.evidence.pages import make_pages
from audit.evidence.zip import read_archive
from audit.record.dispatch import parse_dispatch
from audit.record.lane import LaneClass, LaneHead, delivery_digest, parse_delivery
from exchange.evidence.gather_evidence import evidence_file
from keys import dsse
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from tests.exchange.evidence.evidence_maker import (
    AT_MS,
    FILLING,
    RECIPIENT,
    SENDER,
    WITNESS,
    federation,
    filled,
    make,
    pack,
)
from tests.exchange.evidence.test_evidence import judge, refused, refused_core, whole, whole_file
from tests.flow.world import keys_of


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"federation_id": bytes(range(32))}, "dispatch.signed: of federation"),
        ({"sender": AgencyId(WITNESS)}, "dispatch.signed: its sender is"),
        ({"bulletin_id": bytes(range(16))}, "dispatch.signed: its bulletin is"),
        ({"statement_digest": bytes(range(32))}, "dispatch.signed: its statement is"),
    ],
)
def test_a_dispatch_about_something_else_is_refused_although_it_was_logged(
    changes: dict[str, object], words: str
) -> None:
    assert words in refused_core(make(dispatch=changes).core)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"federation_id": bytes(range(32))}, "TH-DSI-1.bin: of federation"),
        ({"sender": AgencyId(WITNESS)}, "TH-DSI-1.bin: its sender is"),
        ({"recipient": AgencyId(WITNESS)}, "TH-DSI-1.bin: its recipient is"),
    ],
)
def test_a_delivery_in_another_lane_is_refused_although_it_was_logged(changes: dict[str, object], words: str) -> None:
    assert words in refused_core(make(lane=changes).core)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peer": 1}, "its member is"),
        ({"refers_to": 3}, "is no QUEUED of entry"),
        ({"bulletin_id": bytes(range(16))}, "its bulletin is"),
    ],
)
def test_a_queued_about_something_else_is_refused(changes: dict[str, object], words: str) -> None:
    assert words in refused_core(make(queued=changes).core)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peer": 1}, "its member is"),
        ({"dispatch_digest": bytes(range(32))}, "its delivery is"),
        ({"kind": Kind.REFUSED, "outcome": 70}, "an opening stands in RECEIVED"),
        ({"kind": Kind.DUPLICATE, "refers_to": 3, "opening": b""}, ""),
    ],
)
def test_a_receipt_that_says_something_else_is_refused(changes: dict[str, object], words: str) -> None:
    made = make(received=changes)
    if words:
        assert words in refused_core(made.core)
    else:  # control: another honest answer is told as what it is
        assert judge(evidence_file(made.core)).exit_code == 0


def test_a_sender_who_recorded_another_receipt_is_refused() -> None:
    assert "what the sender recorded" in refused_core(make(recorded={"peer_index": FILLING + 1}).core)


@pytest.mark.parametrize(
    "changes", [{"reason": "something else"}, {"sender": RECIPIENT}, {"bulletin_id": bytes(16)}, {"agency": RECIPIENT}]
)
def test_a_request_for_something_else_does_not_cover_the_content(changes: dict[str, object]) -> None:
    assert f"{file.REQUEST}: its words" in refused_core(make(request=changes).core)


def test_a_request_signed_by_another_officer_is_refused() -> None:
    assert f"{file.REQUEST}: its officer" in refused_core(make(request={"officer": "robot-1"}).core)


def test_content_never_stands_without_the_entry_that_logged_its_taking() -> None:
    bare = {name: data for name, data in whole().core.items() if name not in (file.EXPORTED, file.REQUEST, file.BLIND)}
    assert "stand beside content" in refused_core(bare)


def test_the_words_beside_the_statement_are_its_own() -> None:
    forged = {**whole().core, file.TEXT: whole().core[file.TEXT].replace(b"paid", b"free")}
    assert file.TEXT in refused(pack({**make_pages(forged), **forged}))


def test_a_dispatch_that_its_sender_signed_anew_is_not_the_one_in_the_log() -> None:
    dispatch = parse_dispatch(SignedPayload.decode(whole().core[file.DISPATCH]).payload)
    later = replace(dispatch, expires_ms=dispatch.expires_ms + 1).encode()
    signed = dsse.sign(later, ("dispatch", keys_of(SENDER).node.operations))
    assert f"{file.DISPATCH}: its digest is" in refused_core({**whole().core, file.DISPATCH: signed.encode()})


def test_a_dispatch_signed_by_another_agency_is_refused() -> None:
    payload = SignedPayload.decode(whole().core[file.DISPATCH]).payload
    signed = dsse.sign(payload, ("dispatch", keys_of(RECIPIENT).node.operations))
    assert "refuted: dispatch: no manifest of HK-SB here has the key" in refused_core(
        {**whole().core, file.DISPATCH: signed.encode()}
    )


def test_a_statement_without_its_dispatch_is_refused() -> None:
    bare = {name: data for name, data in whole().core.items() if name != file.DISPATCH}
    assert f"{file.DISPATCH}: missing, though the statement is there" in refused_core(bare)


def test_a_statement_signed_by_somebody_else_is_refused() -> None:
    payload = SignedPayload.decode(whole().core[file.STATEMENT]).payload
    other = next(each for each in keys_of(SENDER).officers if each.entry.id != "officer-1").keys.signer
    signed = dsse.sign(payload, ("statement", other))
    assert "signatures inside are not the 1 that the dispatch lists" in refused_core(
        {**whole().core, file.STATEMENT: signed.encode()}
    )


def test_a_proof_without_its_entry_is_refused() -> None:
    lines = whole().core[file.PUBLISHED].decode().splitlines(keepends=True)
    bare = {**whole().core, file.PUBLISHED: "".join([lines[0], *lines[2:]]).encode()}
    assert f"{file.PUBLISHED}: no entry in its extra line" in refused_core(bare)


def test_an_entry_that_says_another_place_than_it_stands_at_is_refused() -> None:
    log = filled(SENDER)
    body = parse_body(whole().sender_log.entries[FILLING][HEAD_LENGTH:])
    log.entries.append(encode_entry(FILLING + 5, 1, bytes(32), body.encode()))
    log.tree.append(leaf_hash(log.entries[-1]))
    assert "the proof is for 7, the entry is 12" in refused_core({**whole().core, file.PUBLISHED: log.prove(FILLING)})


def test_another_entry_in_the_place_of_published_is_refused() -> None:
    queued = whole().core[f"proofs/queued-{RECIPIENT}-1.tlog-proof"]
    assert "is no PUBLISHED" in refused_core({**whole().core, file.PUBLISHED: queued})


def test_a_sender_whom_no_roster_has_is_refused() -> None:
    assert "whom no roster here has" in refused_core(make(sent=False, received={"peer": 99}).core)


@pytest.mark.parametrize("name", [file.REPORT, file.PAGE, file.HOWTO, file.SCRIPT])
def test_a_page_that_tells_another_story_is_found(name: str) -> None:
    members = read_archive(whole_file())
    members[name] = members[name].replace(b"TH-DSI", b"TW-DSI") + b" "
    assert f"refuted: pages: {name}" in refused(pack(members))


def test_a_page_of_another_edition_is_left_open_and_never_believed() -> None:
    members = read_archive(whole_file())
    members[file.EDITION] = b"0" * 64 + b"\n"
    members[file.REPORT] += b"<p>lies</p>"
    report = judge(pack(members))
    assert (report.exit_code, report.steps[-1].result) == (7, "not checked")
    members["keys/log-HK-SB.pem"] = members["keys/log-TH-DSI.pem"]  # what no edition changes is still compared
    assert judge(pack(members)).exit_code == 6


def test_a_file_is_about_exactly_one_entry() -> None:
    theirs = make(sent=False).core[file.RECEIVED]
    both = refused_core({**whole().core, file.RECEIVED: theirs})
    assert "2 of proofs/published.tlog-proof and proofs/received.tlog-proof; exactly one was expected" in both
    none = {name: data for name, data in whole().core.items() if name != file.PUBLISHED}
    assert "0 of proofs/published" in refused_core(none)


def test_a_recipient_whom_the_dispatch_does_not_name_is_refused() -> None:
    other = make().core[file.DISPATCH]
    recipients = tuple(
        replace(each, agency=AgencyId(WITNESS))
        for each in parse_dispatch(SignedPayload.decode(other).payload).recipients
    )
    assert "TH-DSI is not among its recipients" in refused_core(
        make(sent=False, dispatch={"recipients": recipients}).core
    )


def test_a_signature_over_another_statement_is_refused() -> None:
    signed = SignedPayload.decode(whole().core[file.STATEMENT])
    other = SignedPayload.decode(make(serial=2).core[file.STATEMENT])
    taken = SignedPayload(payload=signed.payload, signatures=other.signatures)
    assert "refuted: statement: the signature by key" in refused_core({**whole().core, file.STATEMENT: taken.encode()})


def test_a_statement_for_another_federation_is_refused() -> None:
    assert "statement.signed: of federation" in refused_core(
        make(federation_of_statement=bytes(range(32)), dispatch={"federation_id": federation()}).core
    )


def test_a_dispatch_to_others_than_the_statement_names_is_refused() -> None:
    named = parse_dispatch(SignedPayload.decode(make().core[file.DISPATCH]).payload).recipients
    others = {"recipients": tuple(replace(each, agency=AgencyId(WITNESS)) for each in named)}
    assert "agencies served and absent are not the 1 that the statement names" in refused_core(
        make(dispatch=others).core
    )
    shut = refused_core(make(dispatch=others, content=False).core)
    assert f"{RECIPIENT} is not among the dispatch's recipients" in shut


def test_a_recipients_file_has_its_own_delivery_and_no_other() -> None:
    core = make(sent=False).core
    name = f"deliveries/{RECIPIENT}-1.bin"
    assert "one delivery to TH-DSI was expected" in refused_core({**core, f"deliveries/{RECIPIENT}-2.bin": core[name]})
    step = replace(parse_delivery(core[name]), sequence=2).encode()
    assert "deliveries/: its digest is" in refused_core({**core, name: step})


def with_lane(
    core: dict[str, bytes], *, signer: str = SENDER, follows: bool = True, **head: object
) -> dict[str, bytes]:
    """Add a later delivery and the lane head that covers both."""
    first = parse_delivery(core[f"deliveries/{RECIPIENT}-1.bin"])
    digest = delivery_digest(first.encode())
    second = replace(first, sequence=2, previous=digest if follows else bytes(32)).encode()
    made = LaneHead(lane=first.lane, sequence=2, delivery_digest=delivery_digest(second), latest=2, time_ms=AT_MS)
    made = replace(made, **head)  # type: ignore[arg-type]
    signed = dsse.sign(made.encode(), ("lane-head", keys_of(signer).node.operations))
    return {**core, file.LANE_HEAD: signed.encode(), file.LANE_DELIVERIES: file.pack_deliveries([second])}


def test_the_senders_signed_lane_head_covers_a_recipients_delivery() -> None:
    core = make(sent=False).core
    report = judge(evidence_file(with_lane(core)))
    assert (report.exit_code, "signed lane head covers it, 1 later" in report.steps[4].detail) == (0, True)
    lane = parse_delivery(core[f"deliveries/{RECIPIENT}-1.bin"]).lane
    for bent, words in (
        (with_lane(core, signer=RECIPIENT), "no manifest of HK-SB here has the key"),
        (with_lane(core, follows=False), "number 2 does not follow on ours"),
        (with_lane(core, lane=replace(lane, lane_class=LaneClass.URGENT)), "head.signed: its lane is"),
        (with_lane(core, sequence=1), "head.signed: its delivery is"),
        ({**whole().core, file.LANE_HEAD: with_lane(core)[file.LANE_HEAD]}, "it belongs to one delivery"),
        ({n: d for n, d in with_lane(core).items() if n != file.LANE_HEAD}, "head.signed: missing, though"),
    ):
        assert words in refused_core(bent)


def test_each_delivery_has_its_queued_and_each_receipt_its_record() -> None:
    core = whole().core
    queued, receipt = f"proofs/queued-{RECIPIENT}-1.tlog-proof", f"receipts/{RECIPIENT}-1.tlog-proof"
    for missing in (queued, receipt, f"proofs/answered-{RECIPIENT}-1.tlog-proof"):
        assert (
            "expected" in (found := refused_core({n: d for n, d in core.items() if n != missing})) or "QUEUED" in found
        )
    assert "its member is" in refused_core(make(recorded={"peer": 1}).core)
    assert "a recipient's file has its own entry" in refused_core({**make(sent=False).core, receipt: core[receipt]})


def test_a_receipt_is_of_its_recipients_log_and_of_a_kind_that_answers() -> None:
    assert "received.tlog-proof: its opening is" in refused_core(make(sent=False, received={"opening": bytes(32)}).core)
    assert "answers no delivery" in refused_core(make(received={"kind": Kind.CHECKPOINT_SEEN, "opening": b""}).core)
    log = filled(WITNESS)
    log.add(parse_body(whole().recipient_log.entries[FILLING][HEAD_LENGTH:]))
    elsewhere = {**whole().core, f"receipts/{RECIPIENT}-1.tlog-proof": log.prove(FILLING)}
    assert f"its log is '{WITNESS}'" in refused_core(elsewhere)
    queued = f"proofs/queued-{RECIPIENT}-1.tlog-proof"
    log.add(parse_body(whole().sender_log.entries[FILLING + 1][HEAD_LENGTH:]))
    assert "its log is" in refused_core({**whole().core, queued: log.prove(FILLING + 1)})
