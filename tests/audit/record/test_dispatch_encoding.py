"""Dispatches as bytes: as their vector, back again, and nothing out of bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.record.dispatch import (
    CIPHERTEXT_SIZES,
    MAX_CIPHERTEXT_BYTES,
    MAX_DISPATCH_BYTES,
    Absent,
    AbsentReason,
    DispatchSigner,
    Recipient,
    SignerRole,
    Urgency,
    dispatch_digest,
    parse_dispatch,
)
from audit.v1 import dispatch_pb2
from exchange.v1 import bulletin_pb2
from keys.identity import AgencyId
from keys.scan import scan
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal

FOLDER = Path(__file__).parents[2] / "vectors" / "formats"
RECORDS = json.loads((FOLDER / "records.json").read_text())["records"]
SEALED = formats.seal(formats.signed_statement(released=True))
DISPATCH = parse_dispatch(SEALED.dispatch.payload)
AGENCIES = st.lists(
    st.from_regex(r"\A[A-Z]{2}-[A-Z]{2,8}\Z").map(AgencyId).filter(lambda agency: agency != formats.SENDER),
    min_size=1,
    max_size=64,
    unique=True,
)
DIGEST = st.binary(min_size=32, max_size=32)


def test_a_dispatch_is_read_and_written_as_its_vector() -> None:
    vector = RECORDS["dispatch"]
    payload = bytes.fromhex(vector["payload"])
    dispatch = parse_dispatch(payload)
    assert dispatch.encode() == payload
    assert dispatch_digest(payload).hex() == vector["digest"]
    assert [each.agency for each in dispatch.recipients] == [each["agency"] for each in vector["fields"]["recipients"]]
    assert dispatch.ciphertext_size == vector["fields"]["ciphertext_size"]
    assert dispatch.absent == (Absent(agency=formats.KEYLESS, reason=AbsentReason.NO_KEY),)


@settings(max_examples=100)
@given(
    agencies=AGENCIES,
    served=st.integers(1, 64),
    urgency=st.sampled_from(Urgency),
    reason=st.sampled_from(AbsentReason),
    released=st.booleans(),
    size=st.sampled_from(sorted(CIPHERTEXT_SIZES)),
    digest=DIGEST,
)
def test_every_dispatch_comes_back_as_it_was_and_passes_the_scan(
    agencies: list[AgencyId],
    served: int,
    urgency: Urgency,
    reason: AbsentReason,
    released: bool,
    size: int,
    digest: bytes,
) -> None:
    dispatch = replace(
        DISPATCH,
        statement_digest=digest,
        signers=DISPATCH.signers[: 1 + released],
        recipients=tuple(Recipient(agency=a, key_id=digest, wrap_digest=digest) for a in sorted(agencies[:served])),
        absent=tuple(Absent(agency=a, reason=reason) for a in sorted(agencies[served:])),
        urgency=urgency,
        ciphertext_size=size,
    )
    payload = dispatch.encode()
    assert not scan(payload, dispatch_pb2.Dispatch.DESCRIPTOR)
    assert parse_dispatch(payload) == dispatch


@settings(max_examples=200)
@given(data=st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    assert refusal(parse_dispatch, data) in {"MALFORMED", "NOT_UNDERSTOOD"}


def a_recipient(name: str) -> Recipient:
    return Recipient(agency=AgencyId(name), key_id=bytes(32), wrap_digest=bytes(32))


AUTHOR_ONLY = (DispatchSigner(role=SignerRole.AUTHOR, key_id=bytes(32)),)
RELEASER_ONLY = (DispatchSigner(role=SignerRole.RELEASER, key_id=bytes(32)),)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"federation_id": bytes(31)}, "MALFORMED"),
        ({"bulletin_id": bytes(15)}, "MALFORMED"),
        ({"sender": "immd"}, "MALFORMED"),
        ({"statement_digest": b""}, "MALFORMED"),
        ({"signers": ()}, "MALFORMED"),
        ({"signers": RELEASER_ONLY}, "MALFORMED"),
        ({"signers": AUTHOR_ONLY * 2}, "MALFORMED"),
        ({"signers": RELEASER_ONLY + AUTHOR_ONLY}, "MALFORMED"),
        ({"signers": (replace(AUTHOR_ONLY[0], key_id=bytes(31)),)}, "MALFORMED"),
        ({"signers": (replace(AUTHOR_ONLY[0], role=3),)}, "NOT_UNDERSTOOD"),
        ({"recipients": ()}, "MALFORMED"),
        ({"recipients": (a_recipient("TH-DSI"), a_recipient("MY-PDRM"))}, "MALFORMED"),
        ({"recipients": (a_recipient("TH-DSI"),) * 2}, "MALFORMED"),
        ({"recipients": (a_recipient("HK-IMMD"),)}, "MALFORMED"),
        ({"recipients": (a_recipient("KH-GDI"),)}, "MALFORMED"),
        ({"recipients": (replace(a_recipient("TH-DSI"), wrap_digest=bytes(3)),)}, "MALFORMED"),
        ({"recipients": (replace(a_recipient("TH-DSI"), key_id=b""),)}, "MALFORMED"),
        ({"recipients": tuple(a_recipient(f"ZZ-A{number:03}") for number in range(65))}, "MALFORMED"),
        ({"recipients": tuple(a_recipient(f"ZZ-A{number:03}") for number in range(64))}, "MALFORMED"),
        ({"absent": (Absent(agency=formats.SENDER, reason=AbsentReason.LEFT),)}, "MALFORMED"),
        ({"absent": (Absent(agency=formats.KEYLESS, reason=0),)}, "MALFORMED"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"absent": (Absent(agency=formats.KEYLESS, reason=5),)}, "NOT_UNDERSTOOD"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"body_suite": 0}, "SUITE_UNKNOWN"),
        ({"body_suite": 16}, "SUITE_UNKNOWN"),
        ({"expires_ms": 0}, "MALFORMED"),
        ({"urgency": 0}, "MALFORMED"),
        ({"urgency": 5}, "NOT_UNDERSTOOD"),
        ({"ciphertext_digest": bytes(33)}, "MALFORMED"),
        ({"ciphertext_size": 4169}, "MALFORMED"),
        ({"ciphertext_size": MAX_CIPHERTEXT_BYTES + 1}, "TOO_LARGE"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_dispatch_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    assert refusal(parse_dispatch, replace(DISPATCH, **changes).encode()) == code


def test_a_dispatch_above_its_limit_is_too_large() -> None:
    assert refusal(parse_dispatch, bytes(MAX_DISPATCH_BYTES)) == "MALFORMED"
    assert refusal(parse_dispatch, bytes(MAX_DISPATCH_BYTES + 1)) == "TOO_LARGE"


def test_an_attachment_field_is_not_understood_yet() -> None:
    assert refusal(parse_dispatch, SEALED.dispatch.payload + b"\x6a\x00") == "NOT_UNDERSTOOD"


def test_the_enums_have_the_numbers_of_the_schema() -> None:
    for mirror, enum, prefix in (
        (SignerRole, dispatch_pb2.SignerRole, "SIGNER_ROLE"),
        (AbsentReason, dispatch_pb2.AbsentReason, "ABSENT_REASON"),
        (Urgency, dispatch_pb2.DispatchUrgency, "DISPATCH_URGENCY"),
        (Urgency, bulletin_pb2.Urgency, "URGENCY"),
    ):
        names = {f"{prefix}_{each.name}": int(each) for each in mirror}
        assert {f"{prefix}_UNSPECIFIED": 0} | names == dict(enum.items())
