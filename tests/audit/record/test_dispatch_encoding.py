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
from audit.record.wire import MAX_RECIPIENTS
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


@pytest.mark.parametrize("name", ["dispatch", "dispatch: part of three, signed jointly"])
def test_a_dispatch_is_read_and_written_as_its_vector(name: str) -> None:
    vector = RECORDS[name]
    payload, fields = bytes.fromhex(vector["payload"]), vector["fields"]
    dispatch = parse_dispatch(payload)
    assert dispatch.encode() == payload
    assert dispatch_digest(payload).hex() == vector["digest"]
    assert [each.agency for each in dispatch.recipients] == [each["agency"] for each in fields["recipients"]]
    assert [(each.agency, each.reason) for each in dispatch.absent] == [
        (a["agency"], a["reason"]) for a in fields["absent"]
    ]
    assert [(each.role, each.key_id.hex()) for each in dispatch.signers] == [
        (each["role"], each["key_id"]) for each in fields["signers"]
    ]
    assert dispatch.ciphertext_size == fields["ciphertext_size"]
    assert (dispatch.part, dispatch.parts) == (fields.get("part", 0), fields.get("parts", 0))


@settings(max_examples=100)
@given(
    agencies=AGENCIES,
    served=st.integers(1, 64),
    urgency=st.sampled_from(Urgency),
    reason=st.sampled_from(AbsentReason),
    released=st.booleans(),
    joint=st.sets(DIGEST, max_size=30),
    parts=st.integers(2, MAX_RECIPIENTS),
    size=st.sampled_from(sorted(CIPHERTEXT_SIZES)),
    digest=DIGEST,
)
def test_every_dispatch_comes_back_as_it_was_and_passes_the_scan(
    agencies: list[AgencyId],
    served: int,
    urgency: Urgency,
    reason: AbsentReason,
    released: bool,
    joint: set[bytes],
    parts: int,
    size: int,
    digest: bytes,
) -> None:
    other_part = reason is AbsentReason.OTHER_PART and served < len(agencies)
    dispatch = replace(
        DISPATCH,
        statement_digest=digest,
        signers=(
            *DISPATCH.signers[: 1 + released],
            *(DispatchSigner(role=SignerRole.JOINT, key_id=k) for k in sorted(joint)),
        ),
        part=parts if other_part else 0,
        parts=parts if other_part else 0,
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
JOINT = tuple(DispatchSigner(role=SignerRole.JOINT, key_id=bytes((number,)) * 32) for number in range(32))
ELSEWHERE = (Absent(agency=formats.KEYLESS, reason=AbsentReason.OTHER_PART),)
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
        ({"signers": (replace(AUTHOR_ONLY[0], role=4),)}, "NOT_UNDERSTOOD"),
        ({"signers": (replace(AUTHOR_ONLY[0], role=3),)}, "MALFORMED"),
        ({"signers": (*AUTHOR_ONLY, RELEASER_ONLY[0], replace(RELEASER_ONLY[0], key_id=b"\x01" * 32))}, "MALFORMED"),
        ({"signers": AUTHOR_ONLY + JOINT[:31]}, None),
        ({"signers": AUTHOR_ONLY + JOINT}, "MALFORMED"),
        ({"recipients": ()}, "MALFORMED"),
        ({"recipients": (a_recipient("TH-DSI"), a_recipient("MY-PDRM"))}, "MALFORMED"),
        ({"recipients": (a_recipient("TH-DSI"),) * 2}, "MALFORMED"),
        ({"recipients": (a_recipient("HK-IMMD"),)}, "MALFORMED"),
        ({"recipients": (a_recipient("KH-GDI"),)}, "MALFORMED"),
        ({"recipients": (replace(a_recipient("TH-DSI"), wrap_digest=bytes(3)),)}, "MALFORMED"),
        ({"recipients": (replace(a_recipient("TH-DSI"), key_id=b""),)}, "MALFORMED"),
        ({"absent": tuple(Absent(agency=AgencyId(f"ZZ-A{n:03}"), reason=AbsentReason.LEFT) for n in range(998))}, None),
        (
            {"absent": tuple(Absent(agency=AgencyId(f"ZZ-A{n:03}"), reason=AbsentReason.LEFT) for n in range(999))},
            "MALFORMED",
        ),
        ({"absent": ELSEWHERE}, "MALFORMED"),
        ({"part": 1, "parts": 2}, "MALFORMED"),
        ({"part": 1}, "MALFORMED"),
        ({"absent": ELSEWHERE, "part": 2, "parts": 2}, None),
        ({"absent": ELSEWHERE, "part": 3, "parts": 2}, "MALFORMED"),
        ({"absent": ELSEWHERE, "parts": 2}, "MALFORMED"),
        ({"absent": ELSEWHERE, "part": 1, "parts": 1}, "MALFORMED"),
        ({"absent": ELSEWHERE, "part": 1, "parts": 1000}, None),
        ({"absent": ELSEWHERE, "part": 1, "parts": 1001}, "MALFORMED"),
        ({"absent": (Absent(agency=formats.SENDER, reason=AbsentReason.LEFT),)}, "MALFORMED"),
        ({"absent": (Absent(agency=formats.KEYLESS, reason=0),)}, "MALFORMED"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"absent": (Absent(agency=formats.KEYLESS, reason=7),)}, "NOT_UNDERSTOOD"),  # type: ignore[arg-type] # wrong or merged on purpose
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
def test_a_dispatch_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str | None) -> None:
    dispatch = replace(DISPATCH, **changes)
    if code is None:  # control: at the bound
        assert parse_dispatch(dispatch.encode()) == dispatch
    else:
        assert refusal(parse_dispatch, dispatch.encode()) == code


def test_a_statement_for_a_thousand_agencies_goes_in_three_parts_whatever_their_names() -> None:
    agencies = [AgencyId(f"ZZ-AAAAAAAA-BBBBBBBB-CCCC{number:04}") for number in range(MAX_RECIPIENTS)]
    for part in range(3):
        served = agencies[part * 334 : part * 334 + 334]
        absent = [Absent(agency=each, reason=AbsentReason.OTHER_PART) for each in agencies if each not in served]
        recipients = tuple(a_recipient(each) for each in served)
        dispatch = replace(DISPATCH, recipients=recipients, absent=tuple(absent), part=part + 1, parts=3)
        assert parse_dispatch(dispatch.encode()) == dispatch
    whole = replace(DISPATCH, recipients=tuple(map(a_recipient, agencies)), absent=())
    assert refusal(parse_dispatch, whole.encode()) == "TOO_LARGE"


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
