"""Certificates that an agency's CA could issue if it were stolen, and others that nobody should believe."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keys.certificate import Authority, make_ca, private_pem
from keys.identity import AgencyId


def leaf(
    ca: Authority, names: Sequence[x509.GeneralName], *, common_name: str = "", days: int = 30
) -> tuple[bytes, bytes]:
    """Issue a leaf for client and server use with any names: DER, and its key in PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(ca.certificate.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=40 + days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private.public_key()),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=not common_name)
    made = builder.sign(ca.private, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER), private_pem(private)


def stranger(agency: str, federation: str) -> Authority:
    """Make a CA that says it is a member's and is not the one in the roster."""
    private = ec.generate_private_key(ec.SECP256R1())
    return make_ca(AgencyId(agency), federation, private, time.time_ns() // 1_000_000, os.urandom)
