"""Signing and strict verification of frames, and the records by which public keys enter our lists.

Ed25519 is done with libsodium, ML-DSA with ``cryptography``. Above all Ed25519 is **verified with libsodium**, and a
public key is registered only if it is a point of the prime-order group, because OpenSSL accepts small-order and
non-canonical keys, under which one signature fits many messages (docs/design.md, "Signatures"). A suite-2 signature
needs both halves, always.
Suite 3, ML-DSA-44 alone, stands beside an Ed25519 key of a log or a witness, for the second line under checkpoints.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
)
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from keys import suites
from keys.errors import RefusedError
from keys.frame import pae, payload_type
from keys.identity import Usage, is_witness_name, key_id, short, split_owner
from keys.secret import Secret
from keys.v1 import signed_pb2

# Roots are long-lived and rare, so they bear the large signatures; everything daily stays small and fast.
_SUITES = {
    Usage.OFFICER: suites.ED25519,
    Usage.SYSTEM: suites.ED25519,
    Usage.AGENCY: suites.ED25519,
    Usage.ENCRYPTION: suites.HYBRID_KEM,
    Usage.LOG: suites.ED25519,
    Usage.WITNESS: suites.ED25519,
    Usage.AGENCY_ROOT: suites.ED25519_MLDSA65,
    Usage.ROSTER_ROOT: suites.ED25519_MLDSA65,
}
# Where a usage has a second suite, its keys are second keys, in fields of their own.
_SECOND_SUITES = {Usage.LOG: suites.MLDSA44, Usage.WITNESS: suites.MLDSA44}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key that we trust to be its owner's: made by ``register`` or from our own private key.

    ``public_key`` has its suite's length; an Ed25519 half is a valid point.
    """

    usage: Usage
    suite: int
    owner: str  # AGENCY or AGENCY/officer
    public_key: bytes
    key_id: bytes = field(init=False)  # 32 bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_id", key_id(self.usage, self.suite, self.owner, self.public_key))

    def verify(self, frame: bytes, signature: bytes) -> None:
        """Check a signature over *frame*; both halves where there are two.

        Raises:
            RefusedError: SIGNATURE_INVALID, whatever is wrong with it.
        """
        try:
            if len(signature) != suites.suite(self.suite).signature_bytes or not signature:
                raise InvalidSignature  # a half of a hybrid signature is none
            if self.suite == suites.MLDSA44:
                _mldsa44(self.public_key).verify(signature, frame)
                return
            cut = suites.ED25519_SIGNATURE_BYTES
            crypto_sign_open(signature[:cut] + frame, self.public_key[: suites.ED25519_KEY_BYTES])
            if self.suite == suites.ED25519_MLDSA65:
                half = _mldsa(self.public_key[suites.ED25519_KEY_BYTES :])
                half.verify(signature[cut:], frame, suites.MLDSA65_CONTEXT)
        except (InvalidSignature, BadSignatureError):
            raise RefusedError(
                "SIGNATURE_INVALID", f"the signature by key {short(self.key_id)} does not verify"
            ) from None


class Signer(Protocol):
    """Whatever can sign for one public key: a key in memory, later a token."""

    @property
    def key(self) -> PublicKey:
        """The public key that the signatures verify under."""

    def sign(self, frame: bytes) -> bytes:
        """Sign the frame; the length is the suite's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519Signer:
    """Suite 1, from a 32-byte seed in memory."""

    key: PublicKey
    private: Secret = field(repr=False, compare=False)  # 64 bytes: the seed and the public key, as libsodium has it

    @classmethod
    def from_seed(cls, usage: Usage, owner: str, seed: bytes) -> Ed25519Signer:
        """Make the key pair of a 32-byte seed (RFC 8032)."""
        raw, private = crypto_sign_seed_keypair(seed)
        return cls(
            key=PublicKey(usage=usage, suite=suites.ED25519, owner=owner, public_key=raw), private=Secret(private)
        )

    def sign(self, frame: bytes) -> bytes:
        """Sign the frame: 64 bytes, always the same."""
        return _ed25519(frame, self.private)


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridSigner:
    """Suite 2, from two seeds in memory. Its signatures differ each time, so they are never part of an identifier."""

    key: PublicKey
    ed25519: Secret = field(repr=False, compare=False)  # 64 bytes, as above
    mldsa: MLDSA65PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, usage: Usage, owner: str, seed: bytes) -> HybridSigner:
        """Make the key pairs of a 64-byte seed: 32 for Ed25519, 32 for ML-DSA-65 (FIPS 204)."""
        public, one = crypto_sign_seed_keypair(seed[:32])
        two = MLDSA65PrivateKey.from_seed_bytes(seed[32:])
        raw = public + two.public_key().public_bytes_raw()
        key = PublicKey(usage=usage, suite=suites.ED25519_MLDSA65, owner=owner, public_key=raw)
        return cls(key=key, ed25519=Secret(one), mldsa=two)

    def sign(self, frame: bytes) -> bytes:
        """Sign the same frame with both keys: 64 + 3,309 bytes."""
        return _ed25519(frame, self.ed25519) + self.mldsa.sign(frame, suites.MLDSA65_CONTEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlDsa44Signer:
    """Suite 3, from a 32-byte seed in memory.

    It signs bytes as they are, without a FIPS 204 context, because C2SP's cosignatures of type 0x06 are so; all that
    such a key signs is one of those, or the frame of its own key id. Its signatures differ each time.
    """

    key: PublicKey
    private: MLDSA44PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, usage: Usage, owner: str, seed: bytes) -> MlDsa44Signer:
        """Make the key pair of a 32-byte seed (FIPS 204)."""
        private = MLDSA44PrivateKey.from_seed_bytes(seed)
        raw = private.public_key().public_bytes_raw()
        return cls(key=PublicKey(usage=usage, suite=suites.MLDSA44, owner=owner, public_key=raw), private=private)

    def sign(self, frame: bytes) -> bytes:
        """Sign the bytes: 2,420 bytes."""
        return self.private.sign(frame)


def seed_length(suite: int) -> int:
    """Return the bytes of a private key of the suite."""
    return suites.suite(suite).seed_bytes


def suite_of(usage: Usage) -> int:
    """Return the suite that keys of this usage have."""
    return _SUITES[usage]


def second_suite_of(usage: Usage) -> int:
    """Return the suite of the second keys that a usage may have; 0 where it has none."""
    return _SECOND_SUITES.get(usage, 0)


def signer_from_seed(usage: Usage, suite: int, owner: str, seed: bytes) -> Signer:
    """Make the signer of a seed; RefusedError SUITE_UNKNOWN if the suite cannot sign."""
    if suite == suites.ED25519:
        return Ed25519Signer.from_seed(usage, owner, seed)
    if suite == suites.ED25519_MLDSA65:
        return HybridSigner.from_seed(usage, owner, seed)
    if suite == suites.MLDSA44:
        return MlDsa44Signer.from_seed(usage, owner, seed)
    raise RefusedError("SUITE_UNKNOWN", f"suite {suite} does not sign")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A public key as it stands in a list, not yet trusted: ``register`` makes a PublicKey of it."""

    usage: int
    suite: int
    owner: str
    public_key: bytes
    proof: bytes = b""  # its own signature over the frame (type key, key id); absent where it cannot sign

    @property
    def key_id(self) -> bytes:
        """The key id, 32 bytes, that the record's own fields give."""
        return key_id(self.usage, self.suite, self.owner, self.public_key)

    @property
    def raw_keys(self) -> tuple[bytes, ...]:
        """The raw signing keys in it, each half of a hybrid one; none in an encryption key."""
        return _halves(self.suite, self.public_key)

    def to_message(self) -> signed_pb2.KeyRecord:
        """Return the generated message, to stand inside another record."""
        return signed_pb2.KeyRecord(
            usage=self.usage,
            suite=self.suite,
            owner=self.owner,
            public_key=self.public_key,
            proof=self.proof,
        )

    @classmethod
    def from_message(cls, message: signed_pb2.KeyRecord) -> KeyRecord:
        """Take a record from a scanned message.

        Raises:
            RefusedError: MALFORMED if usage, owner or length are none of ours, SUITE_UNKNOWN.
        """
        if message.usage not in _SUITES:
            raise RefusedError("MALFORMED", f"usage {message.usage} is not known")
        if message.usage != Usage.WITNESS or not is_witness_name(message.owner):
            split_owner(message.owner)
        record = cls(
            usage=message.usage,
            suite=message.suite,
            owner=message.owner,
            public_key=message.public_key,
            proof=message.proof,
        )
        _check_suite(record, (_SUITES[Usage(record.usage)], second_suite_of(Usage(record.usage))))
        return record


def make_record(signer: Signer) -> KeyRecord:
    """Make the record of a signing key, with its proof of possession."""
    key = signer.key
    proof = signer.sign(pae(payload_type("key"), key.key_id))
    return KeyRecord(usage=key.usage, suite=key.suite, owner=key.owner, public_key=key.public_key, proof=proof)


def record_of(key: PublicKey) -> KeyRecord:
    """Make the record of a key that cannot sign: no proof."""
    return KeyRecord(usage=key.usage, suite=key.suite, owner=key.owner, public_key=key.public_key)


def register(record: KeyRecord, *, owner: str, usage: Set[Usage], second: bool = False) -> PublicKey:
    """Admit a signing key to our lists, in this order.

    1. usage and owner are those of its place (A's officer key cannot be registered by M), 2. the suite is the
    usage's (the second one, where a second key stands) and the length the suite's, 3. each Ed25519 key is a point of
    the prime-order group, 4. the key has signed its own key id.

    Args:
        record: As it stands in a list whose signatures are verified, or are about to be.
        owner: Whose key may stand at this place.
        usage: What a key may be for at this place.
        second: Whether the place is for the usage's second suite: the ML-DSA-44 key of a log or a witness.

    Raises:
        RefusedError: WRONG_TYPE (usage), WRONG_MAKER (owner), SUITE_UNKNOWN, MALFORMED, SIGNATURE_INVALID.
    """
    key = check_place(record, owner=owner, usage=usage, second=second)
    if key.suite != suites.MLDSA44 and not crypto_core_ed25519_is_valid_point(
        key.public_key[: suites.ED25519_KEY_BYTES]
    ):
        raise RefusedError("MALFORMED", f"key {short(key.key_id)} is not a point of the prime-order group")
    key.verify(pae(payload_type("key"), key.key_id), record.proof)
    return key


def check_place(record: KeyRecord, *, owner: str, usage: Set[Usage], second: bool = False) -> PublicKey:
    """Check what needs no cryptography: usage, owner, suite and length (steps 1 and 2 of ``register``)."""
    if record.usage not in usage:
        raise RefusedError("WRONG_TYPE", f"a key of usage {record.usage} stands where it may not")
    if record.owner != owner:
        raise RefusedError("WRONG_MAKER", f"a key of {record.owner} stands in a list of {owner}")
    suite = second_suite_of(Usage(record.usage)) if second else _SUITES[Usage(record.usage)]
    _check_suite(record, (suite,))
    return public_key(record)


def public_key(record: KeyRecord) -> PublicKey:
    """Make the public key of a record that stands, or will stand, in a verified list; ``register`` is the check."""
    return PublicKey(usage=Usage(record.usage), suite=record.suite, owner=record.owner, public_key=record.public_key)


def _check_suite(record: KeyRecord, known: tuple[int, ...]) -> None:
    if record.suite not in known or not record.suite:
        raise RefusedError("SUITE_UNKNOWN", f"suite {record.suite} is not for keys of usage {record.usage}")
    if len(record.public_key) != suites.suite(record.suite).public_key_bytes:
        raise RefusedError("MALFORMED", f"a key of {record.owner} has {len(record.public_key)} bytes")


def _halves(suite: int, public_key: bytes) -> tuple[bytes, ...]:
    cut = suites.ED25519_KEY_BYTES
    if suite in (suites.ED25519, suites.MLDSA44):
        return (public_key,)
    return (public_key[:cut], public_key[cut:]) if suite == suites.ED25519_MLDSA65 else ()


def _ed25519(frame: bytes, private: Secret) -> bytes:
    """Sign with libsodium: 25 µs, where ``cryptography`` takes 42 for the same 64 bytes."""
    return crypto_sign(frame, private.reveal())[: suites.ED25519_SIGNATURE_BYTES]


@lru_cache(maxsize=1024)  # roots are few; loading one costs as much as half a verification
def _mldsa(raw: bytes) -> MLDSA65PublicKey:
    return MLDSA65PublicKey.from_public_bytes(raw)


@lru_cache(maxsize=1024)  # of logs and witnesses: two for each member
def _mldsa44(raw: bytes) -> MLDSA44PublicKey:
    return MLDSA44PublicKey.from_public_bytes(raw)
