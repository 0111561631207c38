"""The one table of algorithms: a suite is a format version with one number, never an option.

Numbers and lengths: proto/README.md, section 1. Unknown or retired numbers are refused; nothing is negotiated.
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.errors import RefusedError

ED25519 = 1
ED25519_MLDSA65 = 2
MLDSA44 = 3
HYBRID_KEM = 16
COBBLESTONE = 32

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
MLDSA65_KEY_BYTES = 1952
MLDSA65_SIGNATURE_BYTES = 3309
MLDSA65_CONTEXT = b"exchange/v1/suite-2"  # FIPS 204 context: an ML-DSA half can be used nowhere else
MLDSA44_KEY_BYTES = 1312
MLDSA44_SIGNATURE_BYTES = 2420
MLKEM768_KEY_BYTES = 1184
X25519_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One algorithm, or pair of them, as the formats know it. Lengths in bytes; 0 where there is no such thing."""

    number: int
    name: str
    public_key_bytes: int
    signature_bytes: int
    seed_bytes: int  # the private key at rest


_TABLE = {
    suite.number: suite
    for suite in (
        Suite(
            number=ED25519,
            name="Ed25519",
            public_key_bytes=ED25519_KEY_BYTES,
            signature_bytes=ED25519_SIGNATURE_BYTES,
            seed_bytes=32,
        ),
        Suite(
            number=ED25519_MLDSA65,
            name="Ed25519 + ML-DSA-65",
            public_key_bytes=ED25519_KEY_BYTES + MLDSA65_KEY_BYTES,
            signature_bytes=ED25519_SIGNATURE_BYTES + MLDSA65_SIGNATURE_BYTES,
            seed_bytes=64,
        ),
        Suite(
            number=MLDSA44,
            name="ML-DSA-44",
            public_key_bytes=MLDSA44_KEY_BYTES,
            signature_bytes=MLDSA44_SIGNATURE_BYTES,
            seed_bytes=32,
        ),
        Suite(
            number=HYBRID_KEM,
            name="X25519 + ML-KEM-768, HKDF-SHA256, ChaCha20-Poly1305",
            public_key_bytes=MLKEM768_KEY_BYTES + X25519_KEY_BYTES,
            signature_bytes=0,
            seed_bytes=32,
        ),
        Suite(number=COBBLESTONE, name="Cobblestone-256", public_key_bytes=0, signature_bytes=0, seed_bytes=32),
    )
}


def suite(number: int) -> Suite:
    """Look a suite up; RefusedError SUITE_UNKNOWN where the table has no such number."""
    found = _TABLE.get(number)
    if found is None:
        raise RefusedError("SUITE_UNKNOWN", f"suite {number} is not known here")
    return found
