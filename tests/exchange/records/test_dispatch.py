"""What travels: each altered field, list, signature, wrap and body is refused."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.record.dispatch import (
    BUCKETS,
    CIPHERTEXT_SIZES,
    Absent,
    AbsentReason,
    Dispatch,
    Recipient,
    Urgency,
    check_recipients,
    check_signers,
    ciphertext_digest,
    ciphertext_size,
    parse_dispatch,
    signers_of,
    wrap_digest,
)
from audit.record.statement import parse_statement, statement_digest
from audit.v1 import dispatch_pb2
from exchange.records.seal_order import SealOrder, seal
from exchange.records.sealed_statement import (
    Sealed,
    check_envelope,
    open_sealed,
    open_statement,
)
from keys.dsse import Signature, SignedPayload, payload_type, sign, verify, verify_roles
from keys.errors import RefusedError
from keys.identity import AgencyId, Usage
from keys.seal import EncryptionKey, pad, seal_body, wrap, wrap_info
from keys.signer import Ed25519Signer
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal

FOLDER = Path(__file__).parents[2] / "vectors" / "formats"
ENVELOPES = [json.loads((FOLDER / name).read_text()) for name in ("envelope.json", "envelope-released.json")]
SEALED = formats.seal(formats.signed_statement(released=True))
DISPATCH = parse_dispatch(SEALED.dispatch.payload)
DIGEST = st.binary(min_size=32, max_size=32)


def opened(sealed: Sealed = SEALED, dispatch: Dispatch = DISPATCH, agency: AgencyId = formats.PEER) -> SignedPayload:
    """Take an envelope as intake does: digests, then wrap and body, then signers and recipients."""
    check_envelope(dispatch, agency, sealed.wraps[agency], sealed.body)
    signed, _ = open_statement(
        dispatch, sealed.wraps[agency], sealed.body, formats.ENCRYPTION[agency], formats.FEDERATION
    )
    check_signers(signed, dispatch)
    check_recipients(parse_statement(signed.payload), dispatch)
    return signed


def resealed(signed: SignedPayload, padded: bytes, dispatch: Dispatch = DISPATCH) -> tuple[Dispatch, bytes, bytes]:
    """Seal other bytes as a malicious member can, everything above them made to fit."""
    digest = statement_digest(signed.payload)
    body = seal_body(formats.CONTENT_KEY, formats.FEDERATION, digest, padded)
    key = formats.ENCRYPTION[formats.PEER].public
    wrapped = wrap(formats.CONTENT_KEY, key, wrap_info(formats.FEDERATION, digest, key.key_id))
    mine = Recipient(agency=formats.PEER, key_id=key.key_id, wrap_digest=wrap_digest(wrapped))
    made = replace(
        dispatch,
        statement_digest=digest,
        recipients=(mine, dispatch.recipients[1]),
        ciphertext_digest=ciphertext_digest(body),
        ciphertext_size=len(body),
    )
    return made, wrapped, body


@pytest.mark.parametrize("vector", ENVELOPES, ids=["author", "author-and-releaser"])
def test_the_vectors_open_and_verify(vector: dict[str, Any]) -> None:
    signed = SignedPayload.decode(bytes.fromhex(vector["dispatch"]))
    assert verify(signed, "dispatch", formats.KEYS.get)[0].owner == formats.SENDER
    dispatch = parse_dispatch(signed.payload)
    wrapped, body = bytes.fromhex(vector["wrap"]), bytes.fromhex(vector["sealed_body"])
    key = EncryptionKey.from_seed(vector["recipient"], bytes.fromhex(vector["encryption_seed"]))
    check_envelope(dispatch, AgencyId(vector["recipient"]), wrapped, body)
    inner, _ = open_statement(dispatch, wrapped, body, key, bytes.fromhex(vector["federation_id"]))
    assert inner.encode().hex() == vector["statement"]
    roles = ["statement", "release"] if vector["releaser"] else ["statement"]
    assert verify_roles(inner, roles, formats.KEYS.get)[0].owner == vector["author"]["owner"]
    check_signers(inner, dispatch)
    check_recipients(parse_statement(inner.payload), dispatch)


def a_recipient(name: str) -> Recipient:
    return Recipient(agency=AgencyId(name), key_id=bytes(32), wrap_digest=bytes(32))


def test_what_is_sealed_opens_for_each_recipient_and_verifies() -> None:
    for agency in formats.ENCRYPTION:
        signed = opened(agency=agency)
        assert verify_roles(signed, ["statement", "release"], formats.KEYS.get)[0] == formats.AUTHOR.key
    assert open_sealed(DISPATCH, SEALED.body, SEALED.content_key) == signed


@settings(max_examples=30, deadline=None)
@given(agency=st.from_regex(r"\A[A-Z]{2}-[A-Z]{2,8}\Z").filter(lambda name: name not in formats.ENCRYPTION))
def test_row_01_a_statement_sealed_to_others_is_not_for_us(agency: str) -> None:
    assert refusal(check_envelope, DISPATCH, AgencyId(agency), bytes(1168), SEALED.body) == "NOT_FOR_US"


def test_row_01_a_recipient_cannot_send_the_statement_on_to_a_third_agency() -> None:
    # TH-DSI opened it, and seals the same signed statement to KH-GDI under a dispatch of its own.
    signed = opened(agency=formats.OTHER)
    third = EncryptionKey.from_seed("VN-MPS", formats.seed("third"))
    statement = parse_statement(signed.payload)
    order = SealOrder(
        federation_id=statement.federation_id,
        sender=formats.OTHER,
        bulletin_id=formats.BULLETIN_ID,
        urgency=Urgency.URGENT,
        expires_ms=1,
        content_key=secrets.token_bytes(32),
        signed=signed,
        recipients=(third.public,),
        absent=(),
    )
    assert refusal(seal, order, statement) == "RECIPIENTS_DIFFER"
    made = replace(DISPATCH, sender=formats.OTHER, recipients=(a_recipient("VN-MPS"),), absent=())
    assert refusal(check_recipients, statement, parse_dispatch(made.encode())) == "RECIPIENTS_DIFFER"


# Fields that a liar may change and sign anew, and where the taker finds it out.
ALTERED = {
    "federation_id": "WRONG_FEDERATION",
    "bulletin_id": None,  # the bulletin's own id differs: intake's equality check
    "sender": None,  # the bulletin's originator differs, and the signer's owner: intake
    "statement_digest": "UNOPENABLE",
    "signers": "SIGNERS_DIFFER",
    "recipients": "RECIPIENTS_DIFFER",
    "absent": "RECIPIENTS_DIFFER",
    "expires_ms": None,  # the sender's own word, judged by the clock
    "urgency": None,  # the bulletin's own urgency differs: intake
    "ciphertext_digest": "DAMAGED",
    "ciphertext_size": "DAMAGED",
    "body_suite": "SUITE_UNKNOWN",
    **dict.fromkeys(("part", "parts"), "MALFORMED"),  # alone; both together intake refuses, until there are parts
}


def altered(field: str, digest: bytes, urgency: Urgency, size: int) -> Any:
    return {
        "federation_id": digest,
        "bulletin_id": digest[:16],
        "sender": AgencyId("ZZ-OTHER"),
        "statement_digest": digest,
        "signers": (DISPATCH.signers[0], replace(DISPATCH.signers[1], key_id=digest)),
        "recipients": (*DISPATCH.recipients, a_recipient("ZZ-GHOST")),
        "absent": (),
        "expires_ms": DISPATCH.expires_ms + 1,
        "urgency": urgency,
        "ciphertext_digest": digest,
        "ciphertext_size": size,
        "body_suite": 33,
    }.get(field, 1)


@settings(max_examples=120, deadline=None)
@given(
    field=st.sampled_from(sorted(ALTERED)),
    digest=DIGEST,
    urgency=st.sampled_from([each for each in Urgency if each is not DISPATCH.urgency]),
    size=st.sampled_from(sorted(CIPHERTEXT_SIZES - {DISPATCH.ciphertext_size})),
)
def test_row_02_each_altered_field_of_a_dispatch_is_refused(
    field: str, digest: bytes, urgency: Urgency, size: int
) -> None:
    other = replace(DISPATCH, **{field: altered(field, digest, urgency, size)})
    # Without the sender's key its signature breaks, whatever the field.
    forged = SignedPayload(payload=other.encode(), signatures=SEALED.dispatch.signatures)
    assert refusal(verify, forged, "dispatch", formats.KEYS.get) == "SIGNATURE_INVALID"
    # Signed anew by whoever has a key, the envelope refuses what it binds itself.
    code = ALTERED[field]
    if code is not None:
        assert refusal(lambda: opened(dispatch=parse_dispatch(other.encode()))) == code


def test_row_02_every_field_of_a_dispatch_is_in_the_property() -> None:
    assert set(ALTERED) == set(dispatch_pb2.Dispatch.DESCRIPTOR.fields_by_name)


def signature(role: str, signer: Ed25519Signer, payload: bytes) -> Signature:
    return sign(payload, (role, signer)).signatures[0]


@pytest.mark.parametrize("kept", [0, 1], ids=["author-dropped", "releaser-dropped"])
def test_row_03_a_missing_signature_is_refused(kept: int) -> None:
    signed = opened()
    fewer = SignedPayload(payload=signed.payload, signatures=(signed.signatures[kept],))
    assert refusal(check_signers, fewer, DISPATCH) == "SIGNERS_DIFFER"
    none = SignedPayload(payload=signed.payload)
    assert refusal(check_signers, none, DISPATCH) == "SIGNERS_DIFFER"


def test_row_03_an_added_signature_is_refused() -> None:
    signed = opened()
    third = Ed25519Signer.from_seed(Usage.OFFICER, "HK-IMMD/ng", formats.seed("third"))
    more = sorted(
        [*signed.signatures, signature("release", third, signed.payload)],
        key=lambda each: (each.payload_type, each.key_id),
    )
    assert refusal(check_signers, replace(signed, signatures=tuple(more)), DISPATCH) == "SIGNERS_DIFFER"


def test_row_03_a_signature_of_a_strange_type_inside_is_refused() -> None:
    strange = Signature(payload_type=payload_type("read"), key_id=bytes(32), signature=bytes(64))
    signed = SignedPayload(payload=b"x", signatures=(strange,))
    assert refusal(signers_of, signed) == "WRONG_TYPE"


def test_row_06_a_dispatch_of_another_federation_is_refused() -> None:
    key = formats.ENCRYPTION[formats.PEER]
    wrapped = SEALED.wraps[formats.PEER]
    assert refusal(open_statement, DISPATCH, wrapped, SEALED.body, key, bytes(32)) == "WRONG_FEDERATION"
    # And relabelled, neither its wrap nor its body opens: both contexts hold the federation.
    other = replace(DISPATCH, federation_id=bytes(32))
    info = wrap_info(bytes(32), DISPATCH.statement_digest, key.public.key_id)
    assert refusal(key.unwrap, wrapped, info) == "UNOPENABLE"
    assert refusal(open_statement, other, wrapped, SEALED.body, key, bytes(32)) == "UNOPENABLE"
    assert refusal(open_sealed, other, SEALED.body, SEALED.content_key) == "UNOPENABLE"


def test_row_07_the_same_raw_key_under_another_owner_opens_nothing() -> None:
    # M registers PEER's public key as its own: its key id holds the owner, and the wrap's info holds the key id.
    stolen = EncryptionKey.from_seed("ZZ-EVIL", formats.seed(formats.PEER))
    assert stolen.public.public_key == formats.ENCRYPTION[formats.PEER].public.public_key
    wrapped = SEALED.wraps[formats.PEER]
    assert refusal(open_statement, DISPATCH, wrapped, SEALED.body, stolen, formats.FEDERATION) == "UNOPENABLE"


def test_row_11_a_body_opens_under_one_content_key_only() -> None:
    # The commitment holds the key: a body that says one thing to one recipient and another to the next fails.
    other_key = bytes(31) + b"\1"
    assert refusal(open_sealed, DISPATCH, SEALED.body, other_key) == "UNOPENABLE"
    other_body = seal_body(other_key, formats.FEDERATION, DISPATCH.statement_digest, pad(b"x"))
    spliced = SEALED.body[:56] + other_body[56:]
    assert refusal(open_sealed, DISPATCH, spliced, SEALED.content_key) == "UNOPENABLE"
    assert refusal(open_sealed, DISPATCH, spliced, other_key) == "UNOPENABLE"


def test_row_12_wrap_body_and_padding_are_refused_with_one_code_and_one_text() -> None:
    key, wrapped = formats.ENCRYPTION[formats.PEER], SEALED.wraps[formats.PEER]
    signed = opened()
    filler = bytearray(pad(signed.encode()))
    filler[-1] = 1
    larger = pad(signed.encode()) + bytes(4096)
    cases = [
        (DISPATCH, wrapped[:-1] + bytes([wrapped[-1] ^ 1]), SEALED.body),
        (DISPATCH, bytes(1168), SEALED.body),
        (DISPATCH, wrapped, SEALED.body[:-1] + bytes([SEALED.body[-1] ^ 1])),
        (DISPATCH, wrapped, SEALED.body[:-1]),
        resealed(signed, bytes(filler)),
        resealed(signed, larger),
    ]
    texts = set()
    for dispatch, wrap_bytes, body in cases:
        with pytest.raises(RefusedError) as caught:
            open_statement(dispatch, wrap_bytes, body, key, formats.FEDERATION)
        texts.add((caught.value.code, str(caught.value)))
    assert len(texts) == 1
    assert texts.pop()[0] == "UNOPENABLE"


def test_row_31_a_ghost_recipient_is_refused_by_the_others() -> None:
    ghost = replace(DISPATCH, recipients=(*DISPATCH.recipients, a_recipient("ZZ-GHOST")))
    assert refusal(check_recipients, formats.STATEMENT, parse_dispatch(ghost.encode())) == "RECIPIENTS_DIFFER"


@pytest.mark.parametrize("length", [1, 2000, 3500, 4000, 9000, 70_000, 600_000])
def test_row_35_only_bucket_sizes_are_on_the_wire(length: int) -> None:
    statement = replace(formats.STATEMENT, bulletin=bytes(length))
    sealed = formats.seal(statement=statement)
    assert len(sealed.body) in CIPHERTEXT_SIZES
    assert parse_dispatch(sealed.dispatch.payload).ciphertext_size == len(sealed.body)
    assert {len(wrapped) for wrapped in sealed.wraps.values()} == {1168}


def test_row_35_a_size_is_what_its_bucket_implies() -> None:
    assert [ciphertext_size(bucket) for bucket in BUCKETS] == [
        4_168,
        8_264,
        16_472,
        32_872,
        65_672,
        131_272,
        262_472,
        524_872,
        1_049_672,
    ]
    for bucket in BUCKETS[:6]:
        assert len(seal_body(bytes(32), bytes(32), bytes(32), bytes(bucket))) == ciphertext_size(bucket)


def test_a_statement_that_fits_no_bucket_is_too_large() -> None:
    assert refusal(formats.seal, statement=replace(formats.STATEMENT, bulletin=bytes(1 << 20))) == "TOO_LARGE"


def test_row_52_a_member_without_a_key_is_named_absent_and_silences_nobody() -> None:
    assert DISPATCH.absent == (Absent(agency=formats.KEYLESS, reason=AbsentReason.NO_KEY),)
    opened()
    silent = replace(DISPATCH, absent=())
    assert refusal(check_recipients, formats.STATEMENT, silent) == "RECIPIENTS_DIFFER"


def test_row_52_where_nobody_can_be_served_nothing_is_sealed() -> None:
    order = SealOrder(
        federation_id=formats.FEDERATION,
        sender=formats.SENDER,
        bulletin_id=formats.BULLETIN_ID,
        urgency=Urgency.FLASH,
        expires_ms=1,
        content_key=secrets.token_bytes(32),
        signed=formats.signed_statement(),
        recipients=(),
        absent=tuple(Absent(agency=agency, reason=AbsentReason.NO_KEY) for agency in formats.STATEMENT.recipients),
    )
    assert refusal(seal, order, formats.STATEMENT) == "NO_RECIPIENT"


def test_row_53_author_and_releaser_cannot_be_swapped() -> None:
    vector = ENVELOPES[1]
    signed = SignedPayload.decode(bytes.fromhex(vector["statement"]))
    release, statement = signed.signatures
    swapped = SignedPayload(
        payload=signed.payload,
        signatures=(
            Signature(payload_type=release.payload_type, key_id=statement.key_id, signature=statement.signature),
            Signature(payload_type=statement.payload_type, key_id=release.key_id, signature=release.signature),
        ),
    )
    dispatch = parse_dispatch(SignedPayload.decode(bytes.fromhex(vector["dispatch"])).payload)
    assert refusal(check_signers, swapped, dispatch) == "SIGNERS_DIFFER"
    assert refusal(verify_roles, swapped, ["statement", "release"], formats.KEYS.get) == "SIGNATURE_INVALID"


def test_row_56_a_statement_resealed_to_a_fourth_agency_is_refused_by_it() -> None:
    # The sender's own node adds a fourth: the statement does not name it.
    fourth = EncryptionKey.from_seed("VN-MPS", formats.seed("fourth"))
    wrapped = wrap(
        SEALED.content_key,
        fourth.public,
        wrap_info(formats.FEDERATION, DISPATCH.statement_digest, fourth.public.key_id),
    )
    mine = Recipient(agency=AgencyId("VN-MPS"), key_id=fourth.public.key_id, wrap_digest=wrap_digest(wrapped))
    dispatch = parse_dispatch(replace(DISPATCH, recipients=(*DISPATCH.recipients, mine)).encode())
    check_envelope(dispatch, AgencyId("VN-MPS"), wrapped, SEALED.body)
    signed, _ = open_statement(dispatch, wrapped, SEALED.body, fourth, formats.FEDERATION)
    assert refusal(check_recipients, parse_statement(signed.payload), dispatch) == "RECIPIENTS_DIFFER"


def test_row_66_two_statements_under_one_bulletin_id_have_two_digests() -> None:
    # The digest is what tells a duplicate from equivocation; it holds the bulletin and its id.
    one, other = (
        formats.signed_statement(),
        formats.signed_statement(statement=replace(formats.STATEMENT, bulletin=b"x")),
    )
    first, second = formats.seal(one), formats.seal(other, statement=replace(formats.STATEMENT, bulletin=b"x"))
    digests = {parse_dispatch(each.dispatch.payload).statement_digest for each in (first, second)}
    assert len(digests) == 2
    again = parse_dispatch(formats.seal(one).dispatch.payload)
    assert again.statement_digest == parse_dispatch(first.dispatch.payload).statement_digest


def test_another_statement_inside_than_the_one_named_is_refused() -> None:
    other = formats.signed_statement(statement=replace(formats.STATEMENT, bulletin=b"another"))
    body = seal_body(SEALED.content_key, formats.FEDERATION, DISPATCH.statement_digest, pad(other.encode()))
    assert refusal(open_sealed, DISPATCH, body, SEALED.content_key) == "STATEMENT_DIFFERS"


def test_what_is_no_statement_inside_is_malformed() -> None:
    body = seal_body(SEALED.content_key, formats.FEDERATION, DISPATCH.statement_digest, pad(b"garbage"))
    assert refusal(open_sealed, DISPATCH, body, SEALED.content_key) == "MALFORMED"


@pytest.mark.parametrize("what", ["wrap", "body", "short wrap", "short body"])
def test_bytes_that_are_not_those_sent_are_damaged(what: str) -> None:
    wrapped, body = SEALED.wraps[formats.PEER], SEALED.body
    if what.endswith("wrap"):
        wrapped = wrapped[:-1] + (b"" if what.startswith("short") else bytes([wrapped[-1] ^ 1]))
    else:
        body = body[:-1] + (b"" if what.startswith("short") else bytes([body[-1] ^ 1]))
    assert refusal(check_envelope, DISPATCH, formats.PEER, wrapped, body) == "DAMAGED"


def test_another_recipients_wrap_is_damaged() -> None:
    assert refusal(check_envelope, DISPATCH, formats.PEER, SEALED.wraps[formats.OTHER], SEALED.body) == "DAMAGED"
