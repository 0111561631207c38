"""The certificate profile: what is issued verifies, and everything near it is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keys import certificate as c
from keys.identity import AgencyId
from tests.keys.world import NAME, NOW, refused, stream

RANDOM = stream("certificate")
HK, TH = AgencyId("HK-SB"), AgencyId("TH-DSI")
CA = c.make_ca(HK, NAME, c.new_private_key(RANDOM), NOW, RANDOM)
OTHER = c.make_ca(TH, NAME, c.new_private_key(RANDOM), NOW, RANDOM)
KEY = c.new_private_key(RANDOM)
LEAF = c.make_node_leaf(CA, KEY.public_key(), NOW, RANDOM)
CLIENT = c.make_officer_leaf(CA, KEY.public_key(), NOW, RANDOM)
DAY = 86_400_000
BOTH = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]


def leaf(
    *,
    names: list[x509.GeneralName] | None = None,
    subject: str = "",
    uses: list[x509.ObjectIdentifier] | None = None,
    days: int = 365,
    ca: bool = False,
    issuer: c.Authority = CA,
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | None = None,
) -> bytes:
    """Issue a leaf as a stolen CA key could: any profile but ours."""
    start = dt.datetime.fromtimestamp(NOW // 1000, dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject)
        .public_key(key or KEY.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private.public_key()), False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), True)
    )
    if uses != []:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses or BOTH), False)
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
    made = builder.sign(issuer.private, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


P256 = bytes.fromhex("2a8648ce3d030107")  # the curve's object identifier, as it stands in a certificate


def garbled_san() -> bytes:
    """A certificate whose SAN is not what RFC 5280 makes of it."""
    garbled = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"garbage")
    start = dt.datetime.fromtimestamp(NOW // 1000, dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(CA.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(8)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=9))
        .add_extension(garbled, True)
    )
    return builder.sign(CA.private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


NODE = x509.DNSName("node.hk-sb.exercise.example")


def test_a_node_s_leaf_verifies_and_names_its_node() -> None:
    assert c.node_name(HK, NAME) == "node.hk-sb.exercise.example"
    assert c.verify_node_leaf(LEAF, CA.der, NOW) == c.node_name(HK, NAME)
    assert c.verify_node_leaf(c.to_pem(LEAF), CA.der, NOW + 364 * DAY) == c.node_name(HK, NAME)
    assert c.peer_agency_name(LEAF) == c.node_name(HK, NAME)
    assert c.spki_sha256(LEAF) == c.spki_of(KEY.public_key()) == c.spki_sha256(c.to_pem(LEAF))


def test_an_officer_s_leaf_has_no_name_and_is_known_by_its_pin() -> None:
    assert c.verify_client_leaf(CLIENT, CA.der, NOW) == c.spki_of(KEY.public_key())
    parsed = x509.load_der_x509_certificate(CLIENT)
    assert len(list(parsed.subject)) == 0
    with pytest.raises(x509.ExtensionNotFound):
        parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_leaves_live_a_year_and_not_longer() -> None:
    for now in (NOW - 11 * 60_000, NOW + 366 * DAY):
        refused("PEER_UNTRUSTED", lambda now=now: c.verify_node_leaf(LEAF, CA.der, now))
        refused("PEER_UNTRUSTED", lambda now=now: c.verify_client_leaf(CLIENT, CA.der, now))
    refused("PEER_UNTRUSTED", lambda: c.verify_node_leaf(leaf(names=[NODE], days=400), CA.der, NOW))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("uri only", lambda: leaf(names=[x509.UniformResourceIdentifier("https://node.hk-sb.exercise.example")])),
        ("dns and uri", lambda: leaf(names=[NODE, x509.UniformResourceIdentifier("x:y")])),
        ("two names", lambda: leaf(names=[NODE, x509.DNSName("x.hk-sb.exercise.example")])),
        ("no name", lambda: leaf()),
        ("common name only", lambda: leaf(subject="node.hk-sb.exercise.example")),
        ("another agency's suffix", lambda: leaf(names=[x509.DNSName("node.th-dsi.exercise.example")])),
        ("sibling suffix", lambda: leaf(names=[x509.DNSName("node.xhk-sb.exercise.example")])),
        ("client only", lambda: leaf(names=[NODE], uses=[ExtendedKeyUsageOID.CLIENT_AUTH])),
        ("server only", lambda: leaf(names=[NODE], uses=[ExtendedKeyUsageOID.SERVER_AUTH])),
        ("any use", lambda: leaf(names=[NODE], uses=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
        ("no use", lambda: leaf(names=[NODE], uses=[])),
        ("a CA", lambda: leaf(names=[NODE], ca=True)),
        ("P-384", lambda: leaf(names=[NODE], key=ec.generate_private_key(ec.SECP384R1()).public_key())),
        ("Ed25519", lambda: leaf(names=[NODE], key=ed25519.Ed25519PrivateKey.generate().public_key())),
        ("issued by another agency", lambda: leaf(names=[NODE], issuer=OTHER)),
        ("an officer's", lambda: CLIENT),
        ("garbage", lambda: b"not a certificate"),
        ("garbage in PEM", lambda: b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"),
        ("bytes to spare", lambda: LEAF + b"x"),
        ("a SAN that cannot be read", lambda: garbled_san()),
        ("a curve that nobody knows", lambda: LEAF.replace(P256, P256[:-1] + b"\x7f")),
    ],
)
def test_row_23_other_leaves_are_refused_as_nodes(name: str, make: Callable[[], bytes]) -> None:
    refused("PEER_UNTRUSTED", lambda: c.verify_node_leaf(make(), CA.der, NOW))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a node's", lambda: LEAF),
        ("with a name", lambda: leaf(names=[NODE], uses=[ExtendedKeyUsageOID.CLIENT_AUTH])),
        ("with a subject", lambda: leaf(subject="duty", uses=[ExtendedKeyUsageOID.CLIENT_AUTH])),
        ("server too", lambda: leaf(uses=BOTH)),
        ("issued by another agency", lambda: leaf(uses=[ExtendedKeyUsageOID.CLIENT_AUTH], issuer=OTHER)),
        ("a CA", lambda: leaf(uses=[ExtendedKeyUsageOID.CLIENT_AUTH], ca=True)),
    ],
)
def test_row_74_other_leaves_are_refused_at_the_desk(name: str, make: Callable[[], bytes]) -> None:
    refused("PEER_UNTRUSTED", lambda: c.verify_client_leaf(make(), CA.der, NOW))


def test_a_key_that_cannot_be_read_has_no_pin() -> None:
    refused("PEER_UNTRUSTED", lambda: c.spki_sha256(LEAF.replace(P256, P256[:-1] + b"\x7f")))


def test_row_23_a_stolen_ca_cannot_speak_for_another_agency() -> None:
    forged = leaf(names=[x509.DNSName("node.hk-sb.exercise.example")], issuer=OTHER)
    refused("PEER_UNTRUSTED", lambda: c.verify_node_leaf(forged, OTHER.der, NOW))


def test_a_ca_outside_the_profile_enters_no_roster() -> None:
    c.check_ca(CA.der, HK, NAME)
    refused("PEER_UNTRUSTED", lambda: c.check_ca(CA.der, TH, NAME))
    refused("PEER_UNTRUSTED", lambda: c.check_ca(CA.der, HK, "other.example"))
    refused("PEER_UNTRUSTED", lambda: c.check_ca(LEAF, HK, NAME))
    for other in (b"", CA.der + b"x", c.to_pem(CA.der)):
        refused("PEER_UNTRUSTED", lambda other=other: c.check_ca(other, HK, NAME))
    constraints = x509.NameConstraints([x509.DNSName("hk-sb.exercise.example")], None)
    wide = x509.NameConstraints([x509.DNSName("exercise.example")], None)
    for length, names, critical in (
        (None, constraints, True),
        (2, constraints, True),
        (0, wide, True),
        (0, constraints, False),
    ):
        refused("PEER_UNTRUSTED", lambda a=length, n=names, k=critical: c.check_ca(_ca(a, n, k), HK, NAME))
    for length in (0, 1):  # 0: founded before there were issuing keys
        c.check_ca(_ca(length, constraints, True), HK, NAME)
    other_curve = _ca(0, constraints, True, ec.generate_private_key(ec.SECP384R1()))
    refused("PEER_UNTRUSTED", lambda: c.check_ca(other_curve, HK, NAME))


def _ca(
    path_length: int | None,
    names: x509.NameConstraints,
    critical: bool,
    key: ec.EllipticCurvePrivateKey = KEY,
) -> bytes:
    start = dt.datetime.fromtimestamp(NOW // 1000, dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "HK-SB")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), True)
        .add_extension(names, critical)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_a_leaf_is_asked_for_and_issued_by_file() -> None:
    request = c.make_request(KEY)
    public = c.read_request(request)
    assert c.spki_of(public) == c.spki_of(KEY.public_key())
    assert c.verify_node_leaf(c.make_node_leaf(CA, public, NOW, RANDOM), CA.der, NOW) == c.node_name(HK, NAME)


def test_requests_that_are_none_are_refused() -> None:
    refused("MALFORMED", lambda: c.read_request(b"nothing"))
    request = x509.load_pem_x509_csr(c.make_request(KEY))
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    altered = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    refused("MALFORMED", lambda: c.read_request(altered))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        refused("MALFORMED", lambda each=signed: c.read_request(each.public_bytes(serialization.Encoding.PEM)))


def test_keys_come_back_from_their_32_bytes() -> None:
    scalar = c.private_bytes(KEY)
    assert len(scalar) == 32
    assert c.private_bytes(c.private_from_bytes(scalar)) == scalar
    assert b"PRIVATE KEY" in c.private_pem(KEY)


def test_a_scalar_out_of_range_is_drawn_again() -> None:
    draws = iter([bytes(32), b"\xff" * 32, b"\x01" * 32])
    assert c.private_bytes(c.new_private_key(lambda _: next(draws))) == b"\x01" * 32


def test_a_ca_and_its_key_come_together_again() -> None:
    assert c.load_authority(CA.der, CA.private, HK, NAME).der == CA.der
    refused("PEER_UNTRUSTED", lambda: c.load_authority(CA.der, KEY, HK, NAME))
    refused("PEER_UNTRUSTED", lambda: c.load_authority(OTHER.der, OTHER.private, HK, NAME))


def test_the_same_bytes_make_the_same_certificate() -> None:
    def made() -> bytes:
        source = stream("same")
        return c.make_ca(HK, NAME, c.new_private_key(source), NOW, source).der

    assert made() == made()
