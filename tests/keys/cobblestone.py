"""Cobblestone-256 opened from its parts, as a second opinion on a very new library.

Source: C2SP chunked-encryption with HKDF-Expand over SHA-512 and AES-256-GCM.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 16 * 1024
TAG = 16


def decrypt(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """Open a whole message, or raise ValueError or InvalidTag."""
    salt, commitment, rest = sealed[:24], sealed[24:56], sealed[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    derived = HKDFExpand(algorithm=hashes.SHA512(), length=32 + 12 + 32, info=info).derive(key)
    chunk_key, base, expected = derived[:32], int.from_bytes(derived[32:44], "big"), derived[44:]
    if commitment != expected:
        raise ValueError("another key or context")
    pieces = [rest[at : at + CHUNK + TAG] for at in range(0, len(rest), CHUNK + TAG)]
    if not pieces or len(pieces[-1]) == CHUNK + TAG:
        raise ValueError("truncated")
    opener = AESGCM(chunk_key)
    nonces = ((base ^ number).to_bytes(12, "big") for number in range(len(pieces)))
    return b"".join(opener.decrypt(nonce, piece, None) for nonce, piece in zip(nonces, pieces, strict=True))
