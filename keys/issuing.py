"""The issuing key: it lies beside the node and renews the node's leaf without a person.

Its certificate comes from the offline CA, lives at most a year and stands in the agency's manifest, so that the next
manifest withdraws it. It is constrained, critically, to the agency's own suffix. Officers' leaves have no name that
such a constraint could bind, so the Desk takes no leaf of it (``keys.certificate.verify_client_leaf``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from keys import certificate
from keys.certificate import Authority, PrivateKey, PublicKey
from keys.errors import RefusedError
from keys.identity import AgencyId

ISSUING_DAYS = 365
MAX_ISSUING_BYTES = 2048
_MAX_DAYS = 366
_MADE = x509.BasicConstraints(ca=True, path_length=0)


def make_issuing(ca: Authority, public: PublicKey, now_ms: int, random_bytes: Callable[[int], bytes]) -> bytes:
    """Certify an issuing key (DER): it issues leaves and no CA, for a year, for names under the agency's suffix.

    Raises:
        RefusedError: NOT_ALLOWED where the CA was made before there were issuing keys: its path length is 0.
    """
    own = certificate.extension(ca.certificate, x509.BasicConstraints)
    if own is None or not own.value.path_length:
        raise RefusedError("NOT_ALLOWED", f"the CA of {ca.agency} has path length 0, so it certifies no issuing key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"issuing {ca.agency} {ca.federation_name}"[:64])])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private.public_key())
    builder = certificate.begin(name, ca.certificate.subject, public, now_ms, ISSUING_DAYS, random_bytes)
    builder = builder.add_extension(issuer, critical=False)
    builder = certificate.for_certificates(builder, 0, certificate.suffix(ca.agency, ca.federation_name))
    return certificate.sign(builder, ca.private).public_bytes(serialization.Encoding.DER)


def check_issuing(der: bytes, ca_der: bytes, owner: str) -> None:
    """Check that an issuing key's certificate has our profile, before a manifest that names it is believed.

    1. P-256 and another key than the CA's; 2. it issues leaves and no CA, within the names that the CA itself is
    constrained to; 3. it lives at most a year; 4. the CA may make such a one, and made it.

    Raises:
        RefusedError: PEER_UNTRUSTED.
    """
    made, ca = certificate.load(der), certificate.load(ca_der)
    if certificate.spki_of(certificate.p256(made)) == certificate.spki_sha256(ca_der):  # 1
        raise RefusedError("PEER_UNTRUSTED", f"the issuing key of {owner} is its CA's")
    wanted = certificate.extension(ca, x509.NameConstraints)
    for kind, value in ((x509.NameConstraints, wanted and wanted.value), (x509.BasicConstraints, _MADE)):  # 2
        found = certificate.extension(made, kind)
        if found is None or not found.critical or found.value != value:
            raise RefusedError("PEER_UNTRUSTED", f"the issuing key of {owner} may issue more than its node's leaves")
    if made.not_valid_after_utc - made.not_valid_before_utc > dt.timedelta(days=_MAX_DAYS):  # 3
        raise RefusedError("PEER_UNTRUSTED", f"the issuing key of {owner} lives longer than a year")
    basic = certificate.extension(ca, x509.BasicConstraints)
    if basic is None or basic.value.path_length != 1:  # 4
        raise RefusedError("PEER_UNTRUSTED", f"the CA of {owner} may not certify an issuing key")
    try:
        made.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise RefusedError("PEER_UNTRUSTED", f"the issuing key of {owner} is not certified by its CA") from None


def issuing_authority(der: bytes, private: PrivateKey, agency: AgencyId, federation_name: str) -> Authority:
    """Bring an issuing key and its certificate together; RefusedError PEER_UNTRUSTED if they do not match."""
    if certificate.spki_of(private.public_key()) != certificate.spki_sha256(der):
        raise RefusedError("PEER_UNTRUSTED", f"the issuing key beside the node is not the one in {agency}'s manifest")
    return Authority(agency=agency, federation_name=federation_name, certificate=certificate.load(der), private=private)
