"""Keys, their names, their records, their signatures."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from nacl.bindings import crypto_sign

from keys import dsse, suites
from keys.frame import pae, payload_type
from keys.identity import (
    AgencyId,
    Usage,
    dns_label,
    federation_id,
    key_id,
    parse_agency,
    parse_officer,
    record_digest,
    short,
    split_owner,
)
from keys.roster import claim_raw_keys
from keys.signer import (
    Ed25519Signer,
    HybridSigner,
    KeyRecord,
    make_record,
    register,
    seed_length,
    signer_from_seed,
    suite_of,
)
from keys.v1 import signed_pb2
from tests.keys.world import refused

ROOT = HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(range(64)))
PLAIN = Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(range(32)))
FRAME = pae(payload_type("manifest"), b"payload")


def test_key_id_covers_usage_suite_owner_and_key() -> None:
    named = b"exchange/v1/key-id\0" + b"\x03" + b"\x00\x01" + b"\x05HK-SB" + b"\x00\x00\x00\x20"
    assert PLAIN.key.key_id == hashlib.sha256(named + PLAIN.key.public_key).digest()
    ids = {
        key_id(3, 1, "HK-SB", b"k" * 32),
        key_id(5, 1, "HK-SB", b"k" * 32),
        key_id(3, 2, "HK-SB", b"k" * 32),
        key_id(3, 1, "TH-DSI", b"k" * 32),
        key_id(3, 1, "HK-SB", b"j" * 32),
    }
    assert len(ids) == 5
    assert len(short(PLAIN.key.key_id)) == 8


def test_digests_carry_their_record_s_name() -> None:
    assert record_digest("roster", b"x") == hashlib.sha256(b"exchange/v1/roster\0x").digest()
    assert federation_id(b"x") == hashlib.sha256(b"exchange/v1/federation\0x").digest()


@pytest.mark.parametrize("text", ["HK-SB", "CN-OCMFA-HK", "XI-IOM", "TW-EY-TF"])
def test_agency_codes(text: str) -> None:
    assert parse_agency(text) == text
    assert dns_label(AgencyId(text)) == text.lower()


@pytest.mark.parametrize(
    "text",
    ["", "HK", "hk-sb", "HK-", "HK-S", "HK-SB/", "НK-SB", "HK-SB\n", "HK-AAAAAAAAA", "HK-SB-AA-BB-CC", "HK–SB", "Ⅹ-SB"],
)
def test_row_46_what_only_looks_like_an_agency_is_refused(text: str) -> None:
    refused("MALFORMED", lambda: parse_agency(text))


def test_refusals_show_a_stranger_s_text_in_ascii_and_short() -> None:
    message = str(refused("MALFORMED", lambda: parse_agency("\x1b[31m" + "ü" * 500)))
    assert message.isascii()
    assert "\x1b" not in message
    assert len(message) < 300


@pytest.mark.parametrize("text", ["duty", "officer-03", "a", "0", "a-b-c"])
def test_officer_ids(text: str) -> None:
    assert parse_officer(text) == text
    assert split_owner(f"HK-SB/{text}") == ("HK-SB", text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a--b", "A", "a b", "a" * 33, "ä"])
def test_other_officer_ids_are_refused(text: str) -> None:
    refused("MALFORMED", lambda: parse_officer(text))
    refused("MALFORMED", lambda: split_owner(f"HK-SB/{text}"))


def test_a_signature_verifies_and_an_altered_one_does_not() -> None:
    for signer in (PLAIN, ROOT):
        signature = signer.sign(FRAME)
        signer.key.verify(FRAME, signature)
        for offset in range(0, len(signature), 97):
            altered = signature[:offset] + bytes([signature[offset] ^ 1]) + signature[offset + 1 :]
            refused("SIGNATURE_INVALID", lambda signer=signer, altered=altered: signer.key.verify(FRAME, altered))
        refused("SIGNATURE_INVALID", lambda signer=signer, s=signature: signer.key.verify(FRAME + b"x", s))
        refused("SIGNATURE_INVALID", lambda signer=signer: signer.key.verify(FRAME, b""))


def test_row_04_half_a_hybrid_signature_is_none() -> None:
    signature = ROOT.sign(FRAME)
    ed25519, mldsa = signature[:64], signature[64:]
    other = ROOT.sign(pae(payload_type("manifest"), b"another"))
    stranger = HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(64)).sign(FRAME)
    halves = {
        "ed25519 only": ed25519,
        "mldsa only": mldsa,
        "mldsa zeroed": ed25519 + bytes(len(mldsa)),
        "ed25519 zeroed": bytes(64) + mldsa,
        "swapped": mldsa + ed25519,
        "mldsa of another message": ed25519 + other[64:],
        "ed25519 of another message": other[:64] + mldsa,
        "mldsa of another key": ed25519 + stranger[64:],
        "ed25519 of another key": stranger[:64] + mldsa,
        "one byte more": signature + b"\0",
    }
    for name, each in halves.items():
        error = refused("SIGNATURE_INVALID", lambda each=each: ROOT.key.verify(FRAME, each))
        assert str(error) == f"the signature by key {short(ROOT.key.key_id)} does not verify", name
    ROOT.key.verify(FRAME, signature)


def test_row_04_the_mldsa_half_without_our_context_is_refused() -> None:
    signature = crypto_sign(FRAME, ROOT.ed25519.reveal())[:64] + ROOT.mldsa.sign(FRAME)
    refused("SIGNATURE_INVALID", lambda: ROOT.key.verify(FRAME, signature))


def test_row_54_the_ed25519_half_of_a_root_used_alone_is_refused() -> None:
    """The half signs its own key id as an agency key's, and would be a second record of one raw key."""
    half = Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(range(64))[:32])
    assert half.key.public_key == ROOT.key.public_key[:32]
    register(make_record(half), owner="HK-SB", usage={Usage.AGENCY})  # by itself it is a good record
    known = claim_raw_keys({}, [make_record(ROOT)])
    refused("MALFORMED", lambda: claim_raw_keys(known, [make_record(half)]))
    # Nor does its signature count where the root's belongs.
    signed = dsse.sign(b"manifest", ("manifest", ROOT))
    stripped = replace(signed.signatures[0], signature=signed.signatures[0].signature[:64])
    signed = replace(signed, signatures=(stripped,))
    refused("SIGNATURE_INVALID", lambda: dsse.verify(signed, "manifest", {ROOT.key.key_id: ROOT.key}.get))


def test_row_54_one_raw_key_has_one_key_id_for_ever() -> None:
    seed = bytes(range(32))
    log = make_record(Ed25519Signer.from_seed(Usage.LOG, "HK-SB", seed))
    witness = make_record(Ed25519Signer.from_seed(Usage.WITNESS, "HK-SB", seed))
    known = claim_raw_keys({}, [log, log])
    refused("MALFORMED", lambda: claim_raw_keys(known, [witness]))


def test_row_55_a_s_officer_key_cannot_be_registered_by_m() -> None:
    officer = Ed25519Signer.from_seed(Usage.OFFICER, "HK-SB/duty", bytes(range(32)))
    record = make_record(officer)
    refused("WRONG_MAKER", lambda: register(record, owner="TH-DSI/mole", usage={Usage.OFFICER}))
    # M says that the key is its own officer's: the key id is another, and only the key itself could sign that.
    claimed = replace(record, owner="TH-DSI/mole")
    refused("SIGNATURE_INVALID", lambda: register(claimed, owner="TH-DSI/mole", usage={Usage.OFFICER}))


def test_a_record_is_registered_only_in_its_place() -> None:
    record = make_record(PLAIN)
    assert register(record, owner="HK-SB", usage={Usage.AGENCY}) == PLAIN.key
    refused("WRONG_TYPE", lambda: register(record, owner="HK-SB", usage={Usage.LOG}))
    refused("WRONG_MAKER", lambda: register(record, owner="TH-DSI", usage={Usage.AGENCY}))
    wrong = replace(record, suite=2)
    refused("SUITE_UNKNOWN", lambda: register(wrong, owner="HK-SB", usage={Usage.AGENCY}))
    short_key = replace(record, public_key=record.public_key[:31])
    refused("MALFORMED", lambda: register(short_key, owner="HK-SB", usage={Usage.AGENCY}))
    for proof in (b"", bytes(64), PLAIN.sign(PLAIN.key.key_id)):
        unproven = replace(record, proof=proof)
        refused("SIGNATURE_INVALID", lambda each=unproven: register(each, owner="HK-SB", usage={Usage.AGENCY}))


def test_row_08_a_root_with_a_small_order_half_is_refused() -> None:
    record = make_record(ROOT)
    weak = replace(record, public_key=b"\x01" + bytes(31) + record.public_key[32:])
    refused("MALFORMED", lambda: register(weak, owner="HK-SB", usage={Usage.AGENCY_ROOT}))


@pytest.mark.parametrize("signer", [PLAIN, ROOT])
def test_records_survive_encoding(signer: Ed25519Signer | HybridSigner) -> None:
    record = make_record(signer)
    assert KeyRecord.from_message(record.to_message()) == record
    assert record.key_id == signer.key.key_id


def test_records_that_are_none_are_refused() -> None:
    good = make_record(PLAIN).to_message()

    def altered(**fields: object) -> signed_pb2.KeyRecord:
        message = signed_pb2.KeyRecord()
        message.CopyFrom(good)
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    refused("MALFORMED", lambda: KeyRecord.from_message(altered(usage=0)))
    refused("MALFORMED", lambda: KeyRecord.from_message(altered(usage=9)))
    refused("MALFORMED", lambda: KeyRecord.from_message(altered(owner="nobody")))
    refused("MALFORMED", lambda: KeyRecord.from_message(altered(owner="HK-SB/" + "a" * 80)))
    refused("SUITE_UNKNOWN", lambda: KeyRecord.from_message(altered(suite=16)))
    refused("MALFORMED", lambda: KeyRecord.from_message(altered(public_key=b"short")))


def test_suites_are_one_table() -> None:
    lengths = ((1, 32, 64, 32), (2, 1984, 3373, 64), (3, 1312, 2420, 32), (16, 1216, 0, 32), (32, 0, 0, 32))
    for number, key, signature, seed in lengths:
        suite = suites.suite(number)
        assert (suite.public_key_bytes, suite.signature_bytes, suite.seed_bytes) == (key, signature, seed)
        assert seed_length(number) == seed
    for number in (0, 4, 17):
        refused("SUITE_UNKNOWN", lambda number=number: suites.suite(number))
    assert suite_of(Usage.ROSTER_ROOT) == suites.ED25519_MLDSA65


def test_seeds_make_signers_of_the_suites_that_sign() -> None:
    assert signer_from_seed(Usage.AGENCY, 1, "HK-SB", bytes(range(32))).key == PLAIN.key
    assert signer_from_seed(Usage.AGENCY_ROOT, 2, "HK-SB", bytes(range(64))).key == ROOT.key
    refused("SUITE_UNKNOWN", lambda: signer_from_seed(Usage.ENCRYPTION, 16, "HK-SB", bytes(32)))
    with pytest.raises(ValueError):
        HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(32))


def test_row_49_signers_print_no_private_key() -> None:
    for signer in (PLAIN, ROOT):
        assert "private" not in repr(signer)
        assert bytes(range(32)).hex() not in repr(signer)
