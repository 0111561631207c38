"""Certificates for mutual TLS: one small profile, and nothing outside it is believed.

P-256 throughout (gRPC refuses other leaves). Each agency's CA is constrained, critically, to its own suffix, and one
level of further CA is the most that it makes: the issuing key's (``keys.issuing``). A node's leaf has exactly one dNSName and nothing else in its SAN, because a dNSName constraint does not cover URIs; officers'
and systems' leaves have no name at all and are known by their pin alone. What is trusted is the pin in the key sheet;
the certificate only carries it through the handshake (docs/design.md, "Mutual TLS").
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keys.errors import RefusedError
from keys.identity import AgencyId, dns_label

CA_DAYS = 3650  # a new one takes a new roster
LEAF_DAYS = 365  # the pin, not the date, is what is withdrawn
_MAX_LEAF_DAYS = 366
_BACKDATED = dt.timedelta(minutes=10)  # clocks of new members differ
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PEM = b"-----BEGIN"
# 0: made before there were issuing keys, so it makes none; such a CA stays in its roster for ten years.
_CA_LENGTHS = tuple(x509.BasicConstraints(ca=True, path_length=each) for each in (0, 1))
_BOTH = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
_T = TypeVar("_T", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """An agency's CA with its key; lies with the agency root, offline."""

    agency: AgencyId
    federation_name: str
    certificate: x509.Certificate
    private: PrivateKey = field(repr=False, compare=False)

    @property
    def der(self) -> bytes:
        """The certificate as it stands in the roster."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


def suffix(agency: AgencyId, federation_name: str) -> str:
    """Return the agency's own part of the federation's names: ``hk-immd.exercise.example``."""
    return f"{dns_label(agency)}.{federation_name}"


def node_name(agency: AgencyId, federation_name: str) -> str:
    """Return the one dNSName of an agency's node: ``node.hk-immd.exercise.example``."""
    return f"node.{suffix(agency, federation_name)}"


def new_private_key(random_bytes: Callable[[int], bytes]) -> PrivateKey:
    """Make a P-256 key; at rest it is its 32-byte scalar."""
    while True:
        scalar = int.from_bytes(random_bytes(32), "big")
        if 0 < scalar < _P256_ORDER:  # all but one draw in 2^32
            return ec.derive_private_key(scalar, ec.SECP256R1())


def private_bytes(private: PrivateKey) -> bytes:
    """Return the 32-byte scalar."""
    return private.private_numbers().private_value.to_bytes(32, "big")


def private_from_bytes(scalar: bytes) -> PrivateKey:
    """Make the key of a 32-byte scalar."""
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())


def private_pem(private: PrivateKey) -> bytes:
    """Return the key as gRPC takes it; for memory only, never for a file."""
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def to_pem(der: bytes) -> bytes:
    """Return a DER certificate as PEM; what is PEM already, a leaf with its issuer, stays as it is."""
    return der if der.startswith(_PEM) else x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def to_der(certificate: bytes) -> bytes:
    """Return a certificate as DER, whichever it is; RefusedError PEER_UNTRUSTED."""
    return _der(load(certificate))


def spki_of(public: PublicKey) -> bytes:
    """Pin a public key: SHA-256 of its SubjectPublicKeyInfo, 32 bytes."""
    return hashlib.sha256(
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).digest()


def spki_sha256(certificate: bytes) -> bytes:
    """Pin a certificate's public key; takes DER or PEM; RefusedError PEER_UNTRUSTED if it is no P-256 key."""
    return spki_of(p256(load(certificate)))


def make_ca(
    agency: AgencyId,
    federation_name: str,
    private: PrivateKey,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> Authority:
    """Make an agency's CA: path length 1, names under its own suffix only, both critical."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{agency} {federation_name}"[:64])])
    builder = begin(name, name, private.public_key(), now_ms, CA_DAYS, random_bytes)
    made = sign(for_certificates(builder, 1, suffix(agency, federation_name)), private)
    return Authority(agency=agency, federation_name=federation_name, certificate=made, private=private)


def for_certificates(builder: x509.CertificateBuilder, path_length: int, below: str) -> x509.CertificateBuilder:
    """Make a certificate one that issues others, for names under one suffix only; all of it is critical."""
    constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName(below)], excluded_subtrees=None)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
    )


def load_authority(der: bytes, private: PrivateKey, agency: AgencyId, federation_name: str) -> Authority:
    """Bring a CA certificate and its key together again; RefusedError PEER_UNTRUSTED if they do not match."""
    check_ca(der, agency, federation_name)
    certificate = x509.load_der_x509_certificate(der)
    if spki_of(private.public_key()) != spki_sha256(der):
        raise RefusedError("PEER_UNTRUSTED", f"the CA key is not the one of {agency}'s certificate")
    return Authority(agency=agency, federation_name=federation_name, certificate=certificate, private=private)


def make_node_leaf(ca: Authority, public: PublicKey, now_ms: int, random_bytes: Callable[[int], bytes]) -> bytes:
    """Issue a node's leaf (DER): no subject, one dNSName, for client and server use."""
    name = x509.SubjectAlternativeName([x509.DNSName(node_name(ca.agency, ca.federation_name))])
    builder = _leaf(ca, public, now_ms, sorted(_BOTH, key=lambda oid: oid.dotted_string), random_bytes)
    # Critical, because the subject is empty (RFC 5280, 4.2.1.6).
    return _der(sign(builder.add_extension(name, critical=True), ca.private))


def make_officer_leaf(ca: Authority, public: PublicKey, now_ms: int, random_bytes: Callable[[int], bytes]) -> bytes:
    """Issue an officer's or a system's leaf (DER): no subject, no SAN, for client use only."""
    builder = _leaf(ca, public, now_ms, [ExtendedKeyUsageOID.CLIENT_AUTH], random_bytes)
    return _der(sign(builder, ca.private))


def make_request(private: PrivateKey) -> bytes:
    """Ask for a leaf by file (PEM): the public key and a signature by it, no names; the CA's side decides those."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(private, hashes.SHA256(), ecdsa_deterministic=True)
    return request.public_bytes(serialization.Encoding.PEM)


def read_request(pem: bytes) -> PublicKey:
    """Take the public key of a request; RefusedError MALFORMED unless it is P-256 and signed by itself."""
    try:
        request = x509.load_pem_x509_csr(pem)
        public, signed = request.public_key(), request.is_signature_valid
    except ValueError:
        raise RefusedError("MALFORMED", "this is not a certificate request") from None
    if not signed or not _is_p256(public):
        raise RefusedError("MALFORMED", "the request is not signed by its own P-256 key")
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public


def check_ca(der: bytes, agency: AgencyId, federation_name: str) -> None:
    """Check that a CA certificate has our profile for this agency, before it enters a roster.

    Raises:
        RefusedError: PEER_UNTRUSTED.
    """
    if der.startswith(_PEM):
        raise RefusedError("PEER_UNTRUSTED", f"{agency}'s CA is not in DER")
    certificate = load(der)
    p256(certificate)
    wanted = x509.NameConstraints([x509.DNSName(suffix(agency, federation_name))], None)
    constraints = extension(certificate, x509.NameConstraints)
    basic = extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.critical or constraints.value != wanted:
        raise RefusedError("PEER_UNTRUSTED", f"{agency}'s CA is not constrained to its own suffix")
    if basic is None or basic.value not in _CA_LENGTHS:
        raise RefusedError("PEER_UNTRUSTED", f"{agency}'s CA may issue CAs that issue further ones, or nothing")


def peer_agency_name(certificate: bytes) -> str:
    """Return the one dNSName of a peer's leaf, PEM or DER; identity never comes from a URI or a common name.

    Raises:
        RefusedError: PEER_UNTRUSTED unless the SAN holds exactly one dNSName and nothing else.
    """
    names = extension(load(certificate), x509.SubjectAlternativeName)
    if names is None or len(list(names.value)) != 1 or not isinstance(next(iter(names.value)), x509.DNSName):
        raise RefusedError("PEER_UNTRUSTED", "the certificate does not have exactly one dNSName as its name")
    return str(next(iter(names.value)).value)


def verify_node_leaf(certificate: bytes, ca_der: bytes, now_ms: int, issuing_der: bytes = b"") -> str:
    """Verify a node's leaf against one agency's CA.

    1. exactly one dNSName, 2. P-256, client and server use, at most a year, 3. the chain with dates and name
    constraint: the CA issued it, or the one issuing key that the agency's manifest names. Whatever else the handshake
    carried is not looked at. Roster membership and the pin are the caller's to check.

    Args:
        certificate: The peer's, PEM or DER.
        ca_der: The CA of the member that the dNSName belongs to, from the roster.
        now_ms: Milliseconds UTC.
        issuing_der: The issuing key's certificate, from the manifest in force; empty where it names none.

    Returns:
        The dNSName.

    Raises:
        RefusedError: PEER_UNTRUSTED.
    """
    name = peer_agency_name(certificate)
    leaf = load(certificate)
    _check_leaf(leaf, _BOTH)
    between = [x509.load_der_x509_certificate(issuing_der)] if issuing_der else []
    store = verification.Store([x509.load_der_x509_certificate(ca_der)])
    builder = verification.PolicyBuilder().store(store).time(_at(now_ms))
    try:
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, between)
    except (verification.VerificationError, ValueError):
        raise RefusedError("PEER_UNTRUSTED", "the certificate does not verify under the agency's CA") from None
    return name


def verify_client_leaf(certificate: bytes, ca_der: bytes, now_ms: int) -> bytes:
    """Verify an officer's or a system's leaf against the own CA: no names, client use only, dates, signature.

    Returns:
        Its pin; who that is, the own key sheet says.

    Raises:
        RefusedError: PEER_UNTRUSTED.
    """
    leaf, ca = load(certificate), x509.load_der_x509_certificate(ca_der)
    _check_leaf(leaf, {ExtendedKeyUsageOID.CLIENT_AUTH})
    if len(list(leaf.subject)) or extension(leaf, x509.SubjectAlternativeName) is not None:
        raise RefusedError("PEER_UNTRUSTED", "an officer's certificate carries a name")
    if not leaf.not_valid_before_utc <= _at(now_ms) <= leaf.not_valid_after_utc:
        raise RefusedError("PEER_UNTRUSTED", "the certificate is not valid now")
    check_issued(leaf, ca)
    return spki_sha256(certificate)


def check_issued(certificate: x509.Certificate, ca: x509.Certificate) -> None:
    """Refuse a certificate that this CA did not issue itself: PEER_UNTRUSTED. Dates are not looked at."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise RefusedError("PEER_UNTRUSTED", "the certificate is not issued by the own CA") from None


def _check_leaf(leaf: x509.Certificate, uses: set[x509.ObjectIdentifier]) -> None:
    p256(leaf)
    extended = extension(leaf, x509.ExtendedKeyUsage)
    basic = extension(leaf, x509.BasicConstraints)
    if extended is None or set(extended.value) != uses:
        raise RefusedError("PEER_UNTRUSTED", "the certificate is for another use")
    if basic is None or basic.value.ca:
        raise RefusedError("PEER_UNTRUSTED", "a CA certificate stands where a leaf belongs")
    if leaf.not_valid_after_utc - leaf.not_valid_before_utc > dt.timedelta(days=_MAX_LEAF_DAYS):
        raise RefusedError("PEER_UNTRUSTED", "the certificate lives longer than a year")


def begin(
    subject: x509.Name,
    issuer: x509.Name,
    public: PublicKey,
    now_ms: int,
    days: int,
    random_bytes: Callable[[int], bytes],
) -> x509.CertificateBuilder:
    """Begin a certificate of ours, valid from ten minutes ago."""
    start = _at(now_ms) - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(random_bytes(20), "big") >> 1 | 1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _leaf(
    ca: Authority,
    public: PublicKey,
    now_ms: int,
    uses: list[x509.ObjectIdentifier],
    random_bytes: Callable[[int], bytes],
) -> x509.CertificateBuilder:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private.public_key())
    days = min(LEAF_DAYS, (ca.certificate.not_valid_after_utc - _at(now_ms)).days)  # never longer than its issuer
    if days < 1:
        raise RefusedError("PEER_UNTRUSTED", f"the certificate that issues for {ca.agency} ends, or has ended")
    return (
        begin(x509.Name([]), ca.certificate.subject, public, now_ms, days, random_bytes)
        .add_extension(issuer, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def sign(builder: x509.CertificateBuilder, private: PrivateKey) -> x509.Certificate:
    """Sign a certificate, the same one for the same values."""
    return builder.sign(private, hashes.SHA256(), ecdsa_deterministic=True)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def load(data: bytes) -> x509.Certificate:
    """Read a certificate, PEM or DER; RefusedError PEER_UNTRUSTED."""
    try:
        if data.startswith(_PEM):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError:
        raise RefusedError("PEER_UNTRUSTED", "this is not a certificate") from None


def extension(certificate: x509.Certificate, kind: type[_T]) -> x509.Extension[_T] | None:
    """Return a certificate's extension of this kind, if it has one; RefusedError PEER_UNTRUSTED."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
    except ValueError:
        raise RefusedError("PEER_UNTRUSTED", "the certificate's extensions cannot be read") from None


def p256(certificate: x509.Certificate) -> PublicKey:
    """Return a certificate's public key; RefusedError PEER_UNTRUSTED unless it is P-256."""
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise RefusedError("PEER_UNTRUSTED", "the certificate's key cannot be read") from None
    if not _is_p256(public):
        raise RefusedError("PEER_UNTRUSTED", "the certificate's key is not P-256")
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public


def _is_p256(public: object) -> bool:
    return isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)


def ends_ms(certificate: bytes) -> int:
    """Return until when a certificate is valid, PEM or DER, milliseconds UTC; RefusedError PEER_UNTRUSTED."""
    return int(load(certificate).not_valid_after_utc.timestamp()) * 1000


def _at(now_ms: int) -> dt.datetime:
    """Round milliseconds down to the second, as X.509 counts."""
    return dt.datetime.fromtimestamp(now_ms // 1000, dt.UTC)
