"""Row 38: every published limit of size and number (proto/README.md, section 10) one below, at, and one above.

What is refused above it is refused unread; below and at it the bytes here are refused as MALFORMED, if at all, because
they are only zeros. Limits of the listeners are in ``flow/test_transport_limits``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit.note.checkpoint import MAX_SIGNATURE_LINES, parse_note
from audit.note.tlogproof import format_proof, parse_proof
from audit.record.dispatch import MAX_CIPHERTEXT_BYTES, MAX_DISPATCH_BYTES, parse_dispatch
from audit.record.lane import MAX_DELIVERY_BYTES, MAX_LANE_HEAD_BYTES, parse_delivery, parse_lane_head
from audit.record.statement import MAX_READ_BYTES, MAX_STATEMENT_BYTES, Statement, parse_read, parse_statement
from audit.record.wire import MAX_RECIPIENTS
from audit.tree.proof import MAX_PROOF_HASHES
from exchange.records.receipt import MAX_RECEIPT_BYTES, decode_receipt
from exchange.rules import check_bulletin
from exchange.rules.catalogue import packaged_catalogue
from exchange.v1 import bulletin_pb2
from keys.bounds import MAX_NOTE_BYTES, MAX_RECORD_BYTES
from keys.dsse import MAX_SIGNATURES, MAX_SIGNED_BYTES, Signature, SignedPayload
from keys.errors import RefusedError
from keys.frame import payload_type
from keys.identity import AgencyId
from keys.key_sheet import parse_key_sheet
from keys.manifest import parse_manifest
from keys.roster import parse_roster
from keys.seal import MAX_PADDED_BYTES, pad
from tests.support.world import advisory

MAX_TEXT = 16_000  # characters
SIZES: dict[str, tuple[Callable[[bytes], object], int]] = {
    "dispatch": (parse_dispatch, MAX_DISPATCH_BYTES),
    "statement": (parse_statement, MAX_STATEMENT_BYTES),
    "read": (parse_read, MAX_READ_BYTES),
    "delivery": (parse_delivery, MAX_DELIVERY_BYTES),
    "lane head": (parse_lane_head, MAX_LANE_HEAD_BYTES),
    "receipt": (decode_receipt, MAX_RECEIPT_BYTES),
    "roster": (parse_roster, MAX_RECORD_BYTES),
    "manifest": (parse_manifest, MAX_RECORD_BYTES),
    "key sheet": (parse_key_sheet, MAX_RECORD_BYTES),
    "signed payload": (SignedPayload.decode, MAX_SIGNED_BYTES),
    "sealed body": (pad, MAX_PADDED_BYTES - 4),  # its length stands before it
}
PUBLISHED = {
    "dispatch": 64 << 10,
    "roster": 1 << 20,
    "manifest": 1 << 20,
    "note": 64 << 10,
    "lines": 32,
    "hashes": 63,
    "signatures": 32,
    "recipients": 1000,
    "bucket": 1 << 20,
}


def code_of(act: Callable[[], object]) -> str:
    try:
        act()
    except RefusedError as refusal:
        return refusal.code
    return "taken"


def test_row_38_the_limits_are_those_that_are_published() -> None:
    found = (MAX_DISPATCH_BYTES, MAX_RECORD_BYTES, MAX_RECORD_BYTES, MAX_NOTE_BYTES, MAX_SIGNATURE_LINES)
    assert (*found, MAX_PROOF_HASHES, MAX_SIGNATURES, MAX_RECIPIENTS, MAX_PADDED_BYTES) == tuple(PUBLISHED.values())
    assert MAX_PADDED_BYTES < MAX_CIPHERTEXT_BYTES < MAX_PADDED_BYTES + 2048


@pytest.mark.parametrize("name", SIZES)
def test_row_38_bytes_beyond_a_limit_are_refused_unread(name: str) -> None:
    parse, limit = SIZES[name]
    assert code_of(lambda: parse(bytes(limit - 1))) in ("MALFORMED", "taken")
    assert code_of(lambda: parse(bytes(limit))) in ("MALFORMED", "taken")
    assert code_of(lambda: parse(bytes(limit + 1))) == "TOO_LARGE"


def note(lines: int, fill: int = 5) -> str:
    """Write a note with so many signature lines, the last one with so many bytes."""
    body = f"a.example/log/1\n1\n{base64.b64encode(bytes(32)).decode()}\n\n"
    short = f"— x {base64.b64encode(bytes(5)).decode()}\n"
    return body + short * (lines - 1) + f"— x {base64.b64encode(bytes(fill)).decode()}\n"


@pytest.mark.parametrize(("surplus", "code"), [(-1, "taken"), (0, "taken"), (1, "MALFORMED")])
def test_row_38_a_note_has_so_many_lines_and_a_proof_so_many_hashes(surplus: int, code: str) -> None:
    assert code_of(lambda: parse_note(note(MAX_SIGNATURE_LINES + surplus))) == code
    proof = format_proof(0, [bytes(32)] * (MAX_PROOF_HASHES + surplus), note(1))
    assert code_of(lambda: parse_proof(proof)) == code


def test_row_38_a_note_has_so_many_bytes() -> None:
    fill = (MAX_NOTE_BYTES - len(note(1, 0).encode())) // 4 * 3
    within = note(1, fill)
    assert MAX_NOTE_BYTES - 4 < len(within.encode()) <= MAX_NOTE_BYTES
    missing = MAX_NOTE_BYTES - len(within.encode())
    for surplus, code in ((-1, "taken"), (0, "taken"), (1, "MALFORMED")):
        longer = (
            within.replace("a.example", "a" * (missing + surplus + 1) + ".example") if missing + surplus else within
        )
        assert len(longer.encode()) == MAX_NOTE_BYTES + surplus
        assert code_of(lambda longer=longer: parse_note(longer)) == code  # type: ignore[misc] # bound in the loop on purpose


@pytest.mark.parametrize(("surplus", "code"), [(-1, "taken"), (0, "taken"), (1, "MALFORMED")])
def test_row_38_lists_of_signatures_and_recipients(surplus: int, code: str) -> None:
    many = tuple(
        Signature(payload_type=payload_type("roster"), key_id=bytes([number]) * 32, signature=bytes(64))
        for number in range(MAX_SIGNATURES + surplus)
    )
    signed = SignedPayload(payload=b"x", signatures=many)
    assert code_of(lambda: SignedPayload.decode(signed.encode())) == code
    recipients = tuple(AgencyId(f"HK-A{number:03}") for number in range(MAX_RECIPIENTS + surplus))
    statement = Statement(
        federation_id=bytes(31) + b"f",
        salt=bytes(31) + b"s",
        bulletin=b"b",
        roster_digest=bytes(31) + b"r",
        recipients=(),
    )
    assert code_of(lambda: parse_statement(replace(statement, recipients=recipients).encode())) == code


@pytest.mark.parametrize(("surplus", "complained"), [(-1, False), (0, False), (1, True)])
def test_row_38_one_text_has_so_many_characters(surplus: int, complained: bool) -> None:
    made = advisory("HK-IMMD", "TH-DSI", serial=1)
    made.statements.add(basis=bulletin_pb2.BASIS_FACT).text.add(lang="en", text="ក" * (MAX_TEXT + surplus))
    found = [each.code for each in check_bulletin(made, packaged_catalogue()) if each.path.endswith(".text")]
    assert ("S-string.max_len" in found) is complained
