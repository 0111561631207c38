"""Other people's vectors, read in place."""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from keys.errors import RefusedError
from keys.frame import pae
from keys.identity import Usage
from keys.seal import EncryptionKey
from keys.signer import Ed25519Signer, KeyRecord, PublicKey, make_record, register
from keys.suites import ED25519
from tests.keys import cobblestone
from tests.keys.world import PUBLIC, published


def verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    public = PublicKey(usage=Usage.LOG, suite=ED25519, owner="HK-SB", public_key=key)
    try:
        public.verify(message, signature)
    except RefusedError:
        return False
    return True


def registrable(key: bytes) -> bool:
    """Return whether the point check lets a key in: only the proof is missing then."""
    record = KeyRecord(usage=Usage.LOG, suite=ED25519, owner="HK-SB", public_key=key, proof=bytes(64))
    with pytest.raises(RefusedError) as caught:
        register(record, owner="HK-SB", usage={Usage.LOG})
    return caught.value.code == "SIGNATURE_INVALID"


def test_row_09_wycheproof_ed25519_151_of_151() -> None:
    seen = 0
    for group in published("wycheproof/ed25519_test.json")["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            accepted = verifies(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert accepted == (case["result"] == "valid"), case["tcId"]
            seen += 1
    assert seen == 151


def test_row_09_speccheck_accepts_case_3_only() -> None:
    accepted = [
        number
        for number, case in enumerate(published("speccheck/cases.json"))
        if verifies(bytes.fromhex(case["pub_key"]), bytes.fromhex(case["message"]), bytes.fromhex(case["signature"]))
    ]
    assert accepted == [3]


def test_row_08_keys_with_torsion_are_never_registered() -> None:
    cases = published("cctv/ed25519vectors.json")
    assert len(cases) == 914
    torsion = {bytes.fromhex(each["key"]) for each in cases if "low_order_component_A" in (each["flags"] or [])}
    assert torsion
    assert not [key.hex() for key in torsion if registrable(key)]
    survivors = [
        each["number"]
        for each in cases
        if registrable(bytes.fromhex(each["key"]))
        and verifies(bytes.fromhex(each["key"]), each["msg"].encode(), bytes.fromhex(each["sig"]))
    ]
    assert len(survivors) == 1  # as measured with libsodium behind the point check


def test_rfc8032_signatures_are_reproduced() -> None:
    if not PUBLIC.is_dir():
        pytest.skip("../shared/vectors is missing")
    lines = (PUBLIC / "rfc8032/ed25519-sign.input.first256").read_text().splitlines()
    assert len(lines) == 256
    for line in lines:
        secret, public, message, signed = (bytes.fromhex(each) for each in line.split(":")[:4])
        signer = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", secret[:32])
        assert signer.key.public_key == public
        assert signer.sign(message) == signed[:64]
        signer.key.verify(message, signed[:64])
        assert register(make_record(signer), owner="HK-SB", usage={Usage.LOG}) == signer.key


def test_dsse_frame_and_signature_of_the_specification() -> None:
    case = published("dsse/dsse-v1.json")
    framed = pae(case["payloadType"], case["payload_utf8"].encode())
    assert framed == case["pae_utf8"].encode()
    curve = case["ecdsa_p256"]
    raw = base64.b64decode(curve["sig_b64_r_s"])
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public = ec.EllipticCurvePublicNumbers(int(curve["x"]), int(curve["y"]), ec.SECP256R1()).public_key()
    public.verify(signature, framed, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(signature, framed + b" ", ec.ECDSA(hashes.SHA256()))


def test_frame_counts_bytes_not_characters() -> None:
    assert pae("é", "ü".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xbc"


def test_row_11_and_13_cobblestone_vectors() -> None:
    seen = {"valid": 0, "invalid": 0}
    for group in published("wycheproof/c2sp_chunked_encryption_aes_256_gcm_test.json")["testGroups"]:
        for case in group["tests"]:
            sealed = zlib.decompress(bytes.fromhex(case["ct"]))
            seen[case["result"]] += 1
            try:
                opener = Cobblestone256Decryptor(bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"]))
                opened = opener.update(sealed) + opener.finalize()
            except (InvalidTag, ValueError):
                assert case["result"] == "invalid", case["tcId"]
            else:
                assert case["result"] == "valid", case["tcId"]
                assert cobblestone.decrypt(bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"]), sealed) == opened
                assert hashlib.sha512(opened).hexdigest() == case["msgSha512"]
    assert seen == {"valid": 10, "invalid": 25}


def test_row_10_mlkem_decapsulates_as_expected() -> None:
    seen = 0
    for group in published("wycheproof/mlkem_768_test.json")["testGroups"]:
        for case in group["tests"]:
            seen += 1
            try:
                private = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(case["seed"]))
                public = private.public_key().public_bytes_raw().hex()
                secret = private.decapsulate(bytes.fromhex(case["c"]))
            except ValueError:
                assert case["result"] == "invalid", case["tcId"]
            else:
                assert public == case.get("ek", public)
                assert (secret.hex() == case["K"]) == (case["result"] == "valid"), case["tcId"]
    assert seen == 193


def test_row_10_mlkem_keys_beyond_the_modulus_are_refused() -> None:
    if not PUBLIC.is_dir():
        pytest.skip("../shared/vectors is missing")
    lines = gzip.decompress((PUBLIC / "cctv/ML-KEM-768.modulus.txt.gz").read_bytes()).decode().split()
    assert lines
    for line in lines:
        with pytest.raises(ValueError):
            MLKEM768PublicKey.from_public_bytes(bytes.fromhex(line))


def test_hpke_of_the_chosen_triple_opens() -> None:
    found = [
        case
        for case in published("hpke/hpke-pq-test-vectors.json")
        if (case["kem_id"], case["kdf_id"], case["aead_id"]) == (0x647A, 1, 3)
    ]
    assert len(found) == 1
    (case,) = found
    key = EncryptionKey.from_seed("HK-SB", bytes.fromhex(case["skRm"]))
    assert key.public.public_key.hex() == case["pkRm"]
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    first = case["encryptions"][0]
    sealed = bytes.fromhex(case["enc"]) + bytes.fromhex(first["ct"])
    opened = rust_openssl.hpke._decrypt_with_aad(
        suite, sealed, key.private, bytes.fromhex(case["info"]), bytes.fromhex(first["aad"])
    )
    assert opened.hex() == first["pt"]


def test_xwing_seeds_expand_to_the_published_keys_and_secrets() -> None:
    cases = published("xwing/test-vectors.json")
    assert len(cases) == 3
    for case in cases:
        seed, ciphertext = bytes.fromhex(case["seed"]), bytes.fromhex(case["ct"])
        key = EncryptionKey.from_seed("HK-SB", seed)
        assert key.public.public_key.hex() == case["pk"]
        assert isinstance(key.private, MLKEM768X25519PrivateKey)
        # The combiner, recomputed from the two raw mechanisms (X-Wing, section 5.3).
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem, x25519 = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), expanded[64:]
        private = X25519PrivateKey.from_private_bytes(x25519)
        one = mlkem.decapsulate(ciphertext[:1088])
        two = private.exchange(X25519PublicKey.from_public_bytes(ciphertext[1088:]))
        public = private.public_key().public_bytes_raw()
        joined = one + two + ciphertext[1088:] + public + bytes.fromhex("5c2e2f2f5e5c")
        assert hashlib.sha3_256(joined).hexdigest() == case["ss"]
