"""Sealing: one content key for the body, wrapped for each recipient; one error for whatever does not open.

Wraps are RFC 9180 base mode with the hybrid KEM 0x647a (X25519 + ML-KEM-768), HKDF-SHA256, ChaCha20-Poly1305. The
library has no AAD, so ``info`` binds everything: federation, statement and recipient key (RFC 9180, 8.1). The body is
Cobblestone-256 (C2SP chunked encryption), which commits to its key. All failures to open are UNOPENABLE with one
message and at one cost, so that nobody learns which step failed. Nothing is returned before the body's end is checked.

The libraries draw their own randomness, so sealed bytes differ each time: vectors of them are for opening only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from keys import suites
from keys.errors import RefusedError
from keys.identity import DIGEST_BYTES, Usage, short
from keys.signer import KeyRecord, PublicKey, check_place

CONTENT_KEY_BYTES = 32
WRAP_BYTES = 1168  # enc 1,088 + 32, ciphertext 32 + 16
BUCKET_BYTES = 4096  # the smallest; each next one is twice as long
MAX_PADDED_BYTES = 1 << 20  # a quarter of gRPC's default message limit
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_LENGTH_BYTES = 4
_HEADER_BYTES = 24 + 32  # of a sealed body: salt and commitment
_CHUNK_BYTES = (16 << 10) + 16  # sealed, with its tag
_NOBODYS_KEY = bytes(CONTENT_KEY_BYTES)  # opens and seals only what is thrown away, so it need not be secret


class WindowOpener(Protocol):
    """Whatever can open wraps for one encryption key: a key in memory, later a token."""

    @property
    def public(self) -> PublicKey:
        """Return the public key that wraps are made for."""

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Open a wrap of a content key; RefusedError UNOPENABLE whatever is wrong with it."""

    def try_unwrap(self, wrapped: bytes, info: bytes) -> bytes | None:
        """Open a wrap of a content key, or return None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKey:
    """Our private half of a hybrid encryption key; at rest it is its 32-byte seed."""

    public: PublicKey
    private: MLKEM768X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, owner: str, seed: bytes) -> EncryptionKey:
        """Make the key pair of a 32-byte seed.

        Source: X-Wing (draft-connolly-cfrg-xwing-kem), section 5.2: SHAKE256(seed, 96) = 64 bytes of ML-KEM seed
        and 32 of X25519; the public key is 1,184 bytes of ML-KEM and 32 of X25519.
        """
        if len(seed) != suites.suite(suites.HYBRID_KEM).seed_bytes:
            raise ValueError("an encryption key's seed has 32 bytes")
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        raw = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        public = PublicKey(usage=Usage.ENCRYPTION, suite=suites.HYBRID_KEM, owner=owner, public_key=raw)
        return cls(public=public, private=MLKEM768X25519PrivateKey(mlkem, x25519))

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Open a wrap of a content key; RefusedError UNOPENABLE whatever is wrong with it."""
        content_key = self.try_unwrap(wrapped, info)
        if content_key is None:
            raise unopenable()
        return content_key

    def try_unwrap(self, wrapped: bytes, info: bytes) -> bytes | None:
        """Open a wrap of a content key, or return None."""
        if len(wrapped) != WRAP_BYTES:
            return None
        try:
            return _SUITE.decrypt(wrapped, self.private, info)
        except (InvalidTag, ValueError):
            return None


def unopenable() -> RefusedError:
    """Make the one error of everything that does not open."""
    return RefusedError("UNOPENABLE", "the envelope cannot be opened")


def wrap(content_key: bytes, recipient: PublicKey, info: bytes) -> bytes:
    """Wrap a 32-byte content key for a recipient: 1,168 bytes, different each time.

    *info* comes from ``wrap_info`` with the recipient's key id. Source: RFC 9180, section 6.1.
    """
    if recipient.suite != suites.HYBRID_KEM or recipient.usage != Usage.ENCRYPTION:
        raise RefusedError("SUITE_UNKNOWN", f"key {short(recipient.key_id)} is not an encryption key")
    if len(content_key) != CONTENT_KEY_BYTES:
        raise ValueError("a content key has 32 bytes")
    try:
        return _SUITE.encrypt(content_key, _hybrid(recipient.public_key), info)
    except ValueError:
        raise RefusedError("MALFORMED", f"key {short(recipient.key_id)} takes no wrap") from None


def wrap_info(federation_id: bytes, statement_digest: bytes, key_id: bytes) -> bytes:
    """Return what a wrap is for: this statement, in this federation, for this recipient's key."""
    return b"exchange/v1/wrap\0" + _digests(federation_id, statement_digest, key_id)


def register_encryption(record: KeyRecord, *, owner: str) -> PublicKey:
    """Admit an encryption key to our lists: place, lengths, no proof, and a trial encapsulation.

    The trial finds ML-KEM keys that fail the modulus check and low-order X25519 keys.

    Raises:
        RefusedError: WRONG_TYPE, WRONG_MAKER, SUITE_UNKNOWN, MALFORMED.
    """
    key = check_place(record, owner=owner, usage={Usage.ENCRYPTION})
    if record.proof:
        raise RefusedError(
            "MALFORMED", f"encryption key {short(key.key_id)} carries a proof, which it cannot have made"
        )
    wrap(bytes(CONTENT_KEY_BYTES), key, b"exchange/v1/trial\0")
    return key


def seal_body(content_key: bytes, federation_id: bytes, statement_digest: bytes, padded: bytes) -> bytes:
    """Seal a padded body: salt 24, commitment 32, chunks of 16 KiB with 16 bytes each; different each time."""
    sealer = Cobblestone256Encryptor(content_key, _body_context(federation_id, statement_digest))
    return sealer.update(padded) + sealer.finalize()


def open_body(content_key: bytes, federation_id: bytes, statement_digest: bytes, sealed: bytes) -> bytes:
    """Open a sealed body whole; RefusedError UNOPENABLE whatever is wrong with it."""
    try:
        opener = Cobblestone256Decryptor(content_key, _body_context(federation_id, statement_digest))
        opened = opener.update(sealed)
        # The decryptor releases chunks before the end is checked; nothing is used before this returns.
        return opened + opener.finalize()
    except (InvalidTag, ValueError):
        raise unopenable() from None


def open_wrapped(
    key: WindowOpener, wrapped: bytes, sealed: bytes, federation_id: bytes, statement_digest: bytes
) -> tuple[bytes, bytes]:
    """Open a wrap, the body under the content key in it, and the padding: what arrives from outside is opened here only.

    Whatever is wrong, a refusal costs one opening of a wrap, one pass over the body and two derivations of its keys: a
    wrap that does not open is followed by opening under nobody's key, and wherever opening ends, a dummy takes over the
    rest. So neither words nor time tell which step failed (row 12).

    Returns:
        The content key, and what was padded.

    Raises:
        RefusedError: UNOPENABLE.
    """
    context, opened, position = _body_context(federation_id, statement_digest), list[bytes](), 0
    content_key = key.try_unwrap(wrapped, wrap_info(federation_id, statement_digest, key.public.key_id))
    try:
        opener = Cobblestone256Decryptor(content_key or _NOBODYS_KEY, context)
        for end in range(_HEADER_BYTES, len(sealed) + _CHUNK_BYTES, _CHUNK_BYTES):
            opened.append(opener.update(sealed[position:end]))
            position = end
        opened.append(opener.finalize())
        signed = _unpadded(b"".join(opened))
        if content_key is not None and signed is not None:
            return content_key, signed
    except (InvalidTag, ValueError):
        pass
    dummy = Cobblestone256Encryptor(_NOBODYS_KEY, context)
    if position < len(sealed):
        _unpadded(dummy.update(sealed[position:]) + dummy.finalize())
    raise unopenable()


def pad(signed: bytes) -> bytes:
    """Fill up to the smallest bucket: u32 length, the bytes, zeros up to 4 KiB·2^k, all included.

    Raises:
        RefusedError: TOO_LARGE above 1 MiB.
    """
    size = _bucket(len(signed))
    if size > MAX_PADDED_BYTES:
        raise RefusedError("TOO_LARGE", f"{len(signed)} bytes to seal are more than fit {MAX_PADDED_BYTES}")
    return (len(signed).to_bytes(_LENGTH_BYTES, "big") + signed).ljust(size, b"\0")


def unpad(padded: bytes) -> bytes:
    """Take the bytes out of their bucket; RefusedError UNOPENABLE for another bucket or a non-zero filler byte."""
    signed = _unpadded(padded)
    if signed is None:
        raise unopenable()
    return signed


def _unpadded(padded: bytes) -> bytes | None:
    end = _LENGTH_BYTES + int.from_bytes(padded[:_LENGTH_BYTES], "big")
    if not end <= len(padded) <= MAX_PADDED_BYTES or len(padded) != _bucket(end - _LENGTH_BYTES):
        return None
    return padded[_LENGTH_BYTES:end] if padded[end:] == bytes(len(padded) - end) else None


def _bucket(length: int) -> int:
    size = BUCKET_BYTES
    while size < length + _LENGTH_BYTES:
        size *= 2
    return size


def _body_context(federation_id: bytes, statement_digest: bytes) -> bytes:
    return b"exchange/v1/body\0" + _digests(federation_id, statement_digest)


def _digests(*digests: bytes) -> bytes:
    """Join digests of fixed length; another length would let two contexts run together."""
    for each in digests:  # four times a bulletin at each node
        if len(each) != DIGEST_BYTES:
            raise ValueError("a digest has 32 bytes")
    return b"".join(digests)


@lru_cache(maxsize=4096)  # wrapping is the hot path; a key is loaded once
def _hybrid(public_key: bytes) -> MLKEM768X25519PublicKey:
    cut = suites.MLKEM768_KEY_BYTES
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public_key[:cut]),
        X25519PublicKey.from_public_bytes(public_key[cut:]),
    )
