"""Receipts prove exactly one answer to exactly one delivery, in exactly one log."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.entry import Kind, Outcome
from audit.entry.grammar import ANSWERS
from audit.note.checkpoint import VerifierKey
from audit.note.tlogproof import format_proof, parse_proof
from audit.record.statement import opening
from exchange.records.receipt import (
    MAX_RECEIPT_BYTES,
    ExpectedAnswer,
    Receipt,
    VerifiedReceipt,
    check_exchange_receipt,
    decode_receipt,
    format_receipt,
    make_receipt,
    parse_receipt,
    receipt_from_message,
    verify_receipt,
)
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.exchange.records import formats

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "formats" / "receipts.json").read_text())
DISPATCH, DELIVERY, EARLIER = (
    bytes.fromhex(VECTORS[name]) for name in ("dispatch_digest", "delivery_digest", "earlier_delivery_digest")
)
OPENING = opening(bytes.fromhex(VECTORS["salt"]), DELIVERY)
VKEY = VerifierKey(name=formats.ORIGIN, key=bytes.fromhex(VECTORS["log_key"]))


def vector(name: str) -> Receipt:
    made = VECTORS["receipts"][name]
    return Receipt(entry=bytes.fromhex(made["entry"]), proof=made["proof"])


def check(receipt: Receipt, vkey: VerifierKey = VKEY, **changes: Any) -> VerifiedReceipt:
    facts: dict[str, Any] = {
        "dispatch_digest": DISPATCH,
        "delivery_digest": DELIVERY,
        "expected_opening": OPENING,
        "peer_number": formats.OUR_NUMBER,
    }
    allowed = changes.pop("allowed", ANSWERS)
    return check_exchange_receipt(receipt, vkey, ExpectedAnswer(**(facts | changes)), allowed)


def code(receipt: Receipt, vkey: VerifierKey = VKEY, **changes: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        check(receipt, vkey, **changes)
    return caught.value.code


def logged(body: bytes, *, others: int = 5) -> Receipt:
    """Log a body among others and return its receipt."""
    log = formats.SmallLog()
    index = log.append(body)
    for _ in range(others):
        log.append(formats.answer(Kind.WITHDRAWN, DISPATCH, DELIVERY).encode())
    return log.receipt(index)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("received", Kind.RECEIVED),
        ("refused", Kind.REFUSED),
        ("withdrawn", Kind.WITHDRAWN),
        ("duplicate", Kind.DUPLICATE),
    ],
)
def test_a_receipt_is_taken_written_and_filed_as_its_vector(name: str, kind: Kind) -> None:
    receipt, made = vector(name), VECTORS["receipts"][name]
    assert check(receipt).body.kind == kind
    assert receipt.encode().hex() == made["encoded"]
    assert decode_receipt(receipt.encode()) == receipt == receipt_from_message(receipt.to_message())
    assert format_receipt(receipt) == made["file"]
    assert parse_receipt(made["file"]) == receipt


def test_a_receipt_put_together_from_its_parts_is_the_same() -> None:
    receipt = vector("received")
    proof = parse_proof(receipt.proof)
    assert make_receipt(receipt.entry, proof.index, proof.hashes, proof.note) == receipt


@settings(max_examples=40, deadline=None)
@given(index=st.integers(1, 40), more=st.integers(0, 40))
def test_every_entry_of_a_log_of_any_size_has_its_receipt(index: int, more: int) -> None:
    log = formats.SmallLog()
    for _ in range(index + more):
        log.append(formats.answer(Kind.RECEIVED, DISPATCH, DELIVERY).encode())
    verified = check(log.receipt(index))
    assert (verified.entry.index, verified.checkpoint.size) == (index, index + more + 1)


@settings(max_examples=200)
@given(data=st.binary(max_size=200), text=st.text(max_size=200))
def test_garbage_is_no_receipt(data: bytes, text: str) -> None:
    for action in (
        lambda: decode_receipt(b"\xff" + data),
        lambda: parse_receipt(text),
        lambda: verify_receipt(Receipt(entry=data, proof=vector("received").proof), VKEY),
        lambda: verify_receipt(Receipt(entry=vector("received").entry, proof=text), VKEY),
    ):
        with pytest.raises(RefusedError):
            action()


@settings(max_examples=100)
@given(index=st.integers(0, 1 << 16), bit=st.integers(0, 7))
def test_every_flipped_bit_of_an_entry_is_refused(index: int, bit: int) -> None:
    entry = bytearray(vector("received").entry)
    entry[index % len(entry)] ^= 1 << bit
    assert code(replace(vector("received"), entry=bytes(entry))) == "RECEIPT_INVALID"


def without_last_hash(receipt: Receipt) -> Receipt:
    proof = parse_proof(receipt.proof)
    return make_receipt(receipt.entry, proof.index, proof.hashes[:-1], proof.note)


def with_trailing_hash(receipt: Receipt) -> Receipt:
    proof = parse_proof(receipt.proof)
    return make_receipt(receipt.entry, proof.index, (*proof.hashes, bytes(32)), proof.note)


def with_index_plus_one(receipt: Receipt) -> Receipt:
    proof = parse_proof(receipt.proof)
    return make_receipt(receipt.entry, proof.index + 1, proof.hashes, proof.note)


def with_hashes_swapped(receipt: Receipt) -> Receipt:
    proof = parse_proof(receipt.proof)
    return make_receipt(receipt.entry, proof.index, proof.hashes[::-1], proof.note)


def with_extra_line(receipt: Receipt) -> Receipt:
    return replace(receipt, proof=format_receipt(receipt))


def with_note_cut(receipt: Receipt) -> Receipt:
    return replace(receipt, proof=receipt.proof[:-20])


def with_another_size(receipt: Receipt) -> Receipt:
    proof = parse_proof(receipt.proof)
    lines = proof.note.split("\n")
    lines[1] = str(int(lines[1]) + 1)
    return replace(receipt, proof=format_proof(proof.index, proof.hashes, "\n".join(lines)))


def with_an_index_with_a_leading_zero(receipt: Receipt) -> Receipt:
    return replace(receipt, proof=receipt.proof.replace("index ", "index 0", 1))


def of_another_entry(receipt: Receipt) -> Receipt:
    return replace(receipt, entry=vector("refused").entry)


@pytest.mark.parametrize(
    "alter",
    [
        without_last_hash,
        with_trailing_hash,
        with_index_plus_one,
        with_hashes_swapped,
        with_extra_line,
        with_note_cut,
        with_another_size,
        with_an_index_with_a_leading_zero,
        of_another_entry,
    ],
)
def test_an_altered_receipt_is_refused(alter: Any) -> None:
    assert code(alter(vector("received"))) == "RECEIPT_INVALID"


def test_the_checkpoint_must_be_signed_by_the_givers_log_key() -> None:
    other = Ed25519Signer.from_seed(Usage.LOG, formats.PEER, formats.seed("another log key"))
    assert code(vector("received"), replace(VKEY, key=other.key.public_key)) == "RECEIPT_INVALID"
    assert code(vector("received"), replace(VKEY, name="th-dsi.exercise.example/log/1")) == "RECEIPT_INVALID"


def test_other_signature_lines_are_ignored() -> None:
    line = "— witness.example " + base64.b64encode(bytes(4 + 72)).decode() + "\n"
    receipt = vector("received")
    assert check(replace(receipt, proof=receipt.proof + line)).entry.index == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"dispatch_digest": bytes(32)},
        {"delivery_digest": bytes(32)},
        {"peer_number": formats.OUR_NUMBER + 1},
        {"expected_opening": bytes(32)},
        {"allowed": frozenset({Kind.REFUSED})},
    ],
    ids=["another-dispatch", "another-delivery", "another-member", "another-opening", "another-kind"],
)
def test_a_receipt_that_answers_something_else_is_refused(changes: dict[str, Any]) -> None:
    assert code(vector("received"), **changes) == "RECEIPT_INVALID"


def test_row_32_received_without_having_opened_is_refused() -> None:
    bare = formats.answer(Kind.RECEIVED, DISPATCH, DELIVERY, opening=b"")
    copied = formats.answer(Kind.RECEIVED, DISPATCH, DELIVERY, opening=opening(formats.STATEMENT.salt, EARLIER))
    for body in (bare, copied):
        assert code(logged(body.encode())) == "RECEIPT_INVALID"


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.DUPLICATE, Kind.WITHDRAWN])
def test_opening_stands_in_received_and_nowhere_else(kind: Kind) -> None:
    body = formats.answer(kind, DISPATCH, DELIVERY, opening=OPENING, outcome=Outcome.RULES)
    assert code(logged(body.encode())) == "RECEIPT_INVALID"


def test_a_refusal_without_a_reason_is_refused() -> None:
    assert code(logged(formats.answer(Kind.REFUSED, DISPATCH, DELIVERY).encode())) == "RECEIPT_INVALID"


def test_an_entry_that_answers_no_delivery_is_refused() -> None:
    assert code(logged(formats.answer(Kind.QUEUED, DISPATCH, DELIVERY).encode())) == "RECEIPT_INVALID"


def test_a_body_that_is_not_canonical_is_refused() -> None:
    body = formats.answer(Kind.WITHDRAWN, DISPATCH, DELIVERY).encode()
    assert code(logged(body + body[:2])) == "RECEIPT_INVALID"


def test_row_71_a_kind_unknown_to_the_taker_is_not_understood_and_holds() -> None:
    verified = check(vector("unknown kind"))
    assert not verified.body.understood
    assert verified.body.kind == 99


def test_row_71_a_kind_unknown_to_the_taker_must_still_be_ours() -> None:
    assert code(vector("unknown kind"), delivery_digest=bytes(32)) == "RECEIPT_INVALID"
    assert code(vector("unknown kind"), peer_number=9) == "RECEIPT_INVALID"
    assert code(with_trailing_hash(vector("unknown kind"))) == "RECEIPT_INVALID"


def test_row_71_a_field_unknown_to_the_taker_is_not_understood_and_the_rest_is_checked() -> None:
    verified = check(vector("unknown field"))
    assert not verified.body.understood
    assert verified.body.kind == Kind.RECEIVED
    assert code(vector("unknown field"), expected_opening=bytes(32)) == "RECEIPT_INVALID"


def test_row_71_a_receipt_from_a_later_epoch_of_the_log_holds() -> None:
    second = replace(VKEY, name=formats.ORIGIN[:-1] + "2")
    assert check(vector("second epoch"), second).checkpoint.origin.endswith("/log/2")
    assert code(vector("second epoch")) == "RECEIPT_INVALID"


def test_a_duplicate_names_the_received_that_it_repeats() -> None:
    original = check(
        vector("original"), delivery_digest=EARLIER, expected_opening=opening(formats.STATEMENT.salt, EARLIER)
    )
    assert check(vector("duplicate")).body.refers_to == original.entry.index


def test_a_receipt_above_its_limit_is_too_large() -> None:
    with pytest.raises(RefusedError) as caught:
        decode_receipt(bytes(MAX_RECEIPT_BYTES + 1))
    assert caught.value.code == "TOO_LARGE"


def test_a_file_without_the_entry_is_malformed() -> None:
    with pytest.raises(RefusedError) as caught:
        parse_receipt(vector("received").proof)
    assert caught.value.code == "MALFORMED"
