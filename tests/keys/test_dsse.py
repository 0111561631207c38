"""Signed payloads: one type for each role, every signature counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.dsse import MAX_SIGNATURES, SIGNERS, Signature, SignedPayload, add, sign, verify, verify_roles
from keys.errors import RefusedError
from keys.frame import pae, payload_type
from keys.identity import Usage
from keys.signer import PublicKey, Signer, signer_from_seed, suite_of
from tests.keys.world import refused, stream

RANDOM = stream("dsse")


def signer(usage: Usage, owner: str = "HK-SB") -> Signer:
    suite = suite_of(usage)
    return signer_from_seed(usage, suite, owner, RANDOM(64 if suite == 2 else 32))


OWNERS = {Usage.OFFICER: "HK-SB/duty", Usage.SYSTEM: "HK-SB/gate"}
SIGNING = {usage: signer(usage, OWNERS.get(usage, "HK-SB")) for usage in Usage if usage is not Usage.ENCRYPTION}
KEYS = {each.key.key_id: each.key for each in SIGNING.values()}
CHIEF = signer(Usage.OFFICER, "HK-SB/chief")
PEOPLE = {**KEYS, CHIEF.key.key_id: CHIEF.key}


def find(key_id: bytes) -> PublicKey | None:
    return PEOPLE.get(key_id)


def one(role: str) -> Signer:
    return next(SIGNING[usage] for usage in sorted(SIGNERS[role]))


def test_row_05_only_the_diagonal_of_the_role_matrix_verifies() -> None:
    roles = list(SIGNERS)
    for made in roles:
        signed = sign(b"payload", (made, one(made)))
        for expected in roles:
            if made == expected:
                assert verify(signed, expected, find) == (one(made).key,)
            else:
                refused("WRONG_TYPE", lambda signed=signed, expected=expected: verify(signed, expected, find))


def test_row_05_relabelling_the_type_does_not_help() -> None:
    for made in SIGNERS:
        for claimed in SIGNERS:
            if made == claimed or one(made).key.usage not in SIGNERS[claimed]:
                continue
            signed = sign(b"payload", (made, one(made)))
            relabelled = replace(signed.signatures[0], payload_type=payload_type(claimed))
            forged = replace(signed, signatures=(relabelled,))
            refused("SIGNATURE_INVALID", lambda forged=forged, claimed=claimed: verify(forged, claimed, find))


def test_row_05_the_static_table_of_usages_and_roles() -> None:
    allowed = {
        "statement": {Usage.OFFICER, Usage.SYSTEM},
        "release": {Usage.OFFICER},
        "read": {Usage.OFFICER, Usage.SYSTEM},
        "dispatch": {Usage.AGENCY},
        "lane-head": {Usage.AGENCY},
        "key-sheet": {Usage.AGENCY},
        "manifest": {Usage.AGENCY_ROOT},
        "renewal-request": {Usage.AGENCY},
        "renewal": {Usage.AGENCY_ROOT},
        "roster": {Usage.ROSTER_ROOT},
        "revocation": {Usage.AGENCY_ROOT, Usage.ROSTER_ROOT},
        "freshness": {Usage.AGENCY},
        "approve": {Usage.OFFICER},
        "joint": {Usage.OFFICER},
        "agreement": {Usage.AGENCY},
        "group": {Usage.AGENCY},
        "subscription": {Usage.OFFICER},
        "key": set(SIGNING),
    }
    assert allowed == SIGNERS
    for role, usages in allowed.items():
        for usage, each in SIGNING.items():
            framed = pae(payload_type(role), b"payload")
            signature = Signature(payload_type=payload_type(role), key_id=each.key.key_id, signature=each.sign(framed))
            signed = SignedPayload(payload=b"payload", signatures=(signature,))
            if usage in usages:
                assert verify(signed, role, find) == (each.key,)
            else:
                refused("WRONG_TYPE", lambda signed=signed, role=role: verify(signed, role, find))
                refused("WRONG_TYPE", lambda role=role, each=each: sign(b"payload", (role, each)))


def test_unknown_signers_and_wrong_counts_are_refused() -> None:
    signed = sign(b"payload", ("dispatch", SIGNING[Usage.AGENCY]))
    refused("SIGNER_UNKNOWN", lambda: verify(signed, "dispatch", lambda _: None))
    other = signer(Usage.AGENCY)
    refused("SIGNER_UNKNOWN", lambda: verify(signed, "dispatch", lambda _: other.key))  # a careless look-up
    refused("SIGNERS_DIFFER", lambda: verify(replace(signed, signatures=()), "dispatch", find))
    refused("SIGNERS_DIFFER", lambda: verify(replace(signed, signatures=()), "dispatch", find, count=None))
    refused("SIGNERS_DIFFER", lambda: verify(signed, "dispatch", find, count=2))
    two = add(signed, "dispatch", other)
    refused("SIGNERS_DIFFER", lambda: verify(two, "dispatch", find))
    both = {**PEOPLE, other.key.key_id: other.key}
    assert len(verify(two, "dispatch", both.get, count=2)) == 2
    assert len(verify(two, "dispatch", both.get, count=None)) == 2
    refused("SIGNER_UNKNOWN", lambda: verify(two, "dispatch", find, count=None))  # every one must count


def test_the_look_up_may_refuse_by_itself() -> None:
    signed = sign(b"payload", ("dispatch", SIGNING[Usage.AGENCY]))

    def expired(_: bytes) -> PublicKey | None:
        raise RefusedError("KEY_EXPIRED", "outside its window")

    refused("KEY_EXPIRED", lambda: verify(signed, "dispatch", expired))


def test_row_53_author_and_releaser_are_two_types() -> None:
    author, chief = SIGNING[Usage.OFFICER], CHIEF
    signed = sign(b"payload", ("release", chief), ("statement", author))
    assert verify_roles(signed, ["statement", "release"], find) == (author.key, chief.key)
    assert verify_roles(signed, ["release", "statement"], find) == (chief.key, author.key)
    swapped = replace(
        signed,
        signatures=tuple(
            replace(one, key_id=two.key_id, signature=two.signature)
            for one, two in zip(signed.signatures, signed.signatures[::-1], strict=True)
        ),
    )
    refused("SIGNATURE_INVALID", lambda: verify_roles(swapped, ["statement", "release"], find))
    refused("SIGNERS_DIFFER", lambda: verify_roles(signed, ["statement"], find))
    alone = sign(b"payload", ("statement", author))
    refused("SIGNERS_DIFFER", lambda: verify_roles(alone, ["statement", "release"], find))
    assert verify_roles(alone, ["statement"], find) == (author.key,)


def test_one_person_does_not_sign_both_roles() -> None:
    author = SIGNING[Usage.OFFICER]
    signed = sign(b"payload", ("statement", author), ("release", author))
    refused("SIGNERS_DIFFER", lambda: verify_roles(signed, ["statement", "release"], find))
    twice = sign(b"payload", ("statement", author), ("statement", CHIEF))
    refused("SIGNERS_DIFFER", lambda: verify_roles(twice, ["statement", "release"], find))
    other = sign(b"payload", ("statement", author), ("read", CHIEF))
    refused("WRONG_TYPE", lambda: verify_roles(other, ["statement", "release"], find))


def test_signatures_are_sorted_and_one_takes_its_own_place() -> None:
    signed = sign(b"payload", *(("key", each) for each in SIGNING.values()))
    assert SignedPayload.decode(signed.encode()) == signed
    again = add(signed, "key", SIGNING[Usage.LOG])
    assert len(again.signatures) == len(signed.signatures)


def test_wrapper_bytes_that_are_not_canonical_are_refused() -> None:
    signed = sign(b"payload", ("key", SIGNING[Usage.LOG]), ("key", SIGNING[Usage.WITNESS]))
    one, two = signed.signatures

    def refused_with(code: str, **fields: object) -> None:
        altered = replace(signed, **fields)  # type: ignore[arg-type] # wrong or merged on purpose
        refused(code, lambda: SignedPayload.decode(altered.encode()))

    refused_with("MALFORMED", signatures=(two, one))
    refused_with("MALFORMED", signatures=(one, one))
    refused_with("MALFORMED", payload=b"")
    refused_with("MALFORMED", signatures=(replace(one, key_id=b"short"),))
    refused_with("MALFORMED", signatures=(replace(one, signature=b"short"),))
    refused_with("MALFORMED", signatures=(replace(one, payload_type=""),))
    refused_with("MALFORMED", signatures=(replace(one, payload_type="x" * 101),))
    many = tuple(replace(one, key_id=bytes([number]) * 32) for number in range(MAX_SIGNATURES + 1))
    refused_with("MALFORMED", signatures=many)
    assert SignedPayload.decode(replace(signed, signatures=many[:-1]).encode()).signatures == many[:-1]
    refused("TOO_LARGE", lambda: SignedPayload.decode(signed.encode(), limit=100))
    refused("NOT_UNDERSTOOD", lambda: SignedPayload.decode(signed.encode() + b"\x78\x01"))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    try:
        decoded = SignedPayload.decode(garbage)
    except RefusedError:
        return
    assert decoded.encode() == garbage


@settings(max_examples=100, deadline=None)
@given(
    payload=st.binary(min_size=1, max_size=300),
    usages=st.lists(st.sampled_from(sorted(set(SIGNING) - {Usage.AGENCY_ROOT, Usage.ROSTER_ROOT})), unique=True),
)
def test_wrapper_survives_encoding(payload: bytes, usages: list[Usage]) -> None:
    signed = sign(payload, *(("key", SIGNING[usage]) for usage in usages))
    assert SignedPayload.decode(signed.encode()) == signed


@pytest.mark.parametrize("offset", range(0, 240, 7))
def test_a_flipped_bit_is_refused(offset: int) -> None:
    signed = sign(b"payload", ("dispatch", SIGNING[Usage.AGENCY]))
    data = bytearray(signed.encode())
    data[offset % len(data)] ^= 1 << offset % 8

    def read() -> None:
        verify(SignedPayload.decode(bytes(data)), "dispatch", find)

    with pytest.raises(RefusedError):
        read()
