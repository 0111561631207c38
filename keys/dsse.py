"""Anything signed: a payload with its signatures, each over the frame of its own type.

The payload's bytes are kept and verified as received, and parsed only afterwards. The reader says which role it
expects; a static table says which keys may sign in that role; every signature present must count, so none can be
added or hidden. Source: DSSE v1.0; docs/design.md, "Frame".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from keys import suites
from keys.bounds import parse_record
from keys.errors import RefusedError
from keys.frame import pae, payload_type
from keys.identity import DIGEST_BYTES, Usage, short
from keys.signer import PublicKey, Signer
from keys.v1 import signed_pb2
from keys.values import hot_value

__all__ = ["Signature", "SignedPayload", "add", "pae", "payload_type", "sign", "verify", "verify_roles"]

MAX_SIGNATURES = 32  # more than roots or persons ever sign one thing
MAX_SIGNED_BYTES = 1 << 20  # the largest records, roster and manifest; smaller limits are their places'
MAX_TYPE_BYTES = 100
SIGNATURE_BYTES = frozenset(suites.suite(each).signature_bytes for each in (suites.ED25519, suites.ED25519_MLDSA65))

# Which keys may sign in which role. "key" is the proof of possession that stands in key records; log and witness
# keys sign notes, which are no frames.
SIGNERS: dict[str, frozenset[Usage]] = {
    "statement": frozenset({Usage.OFFICER, Usage.SYSTEM}),
    "release": frozenset({Usage.OFFICER}),  # a second person, never an automaton
    "read": frozenset({Usage.OFFICER, Usage.SYSTEM}),
    "dispatch": frozenset({Usage.AGENCY}),
    "lane-head": frozenset({Usage.AGENCY}),
    "key-sheet": frozenset({Usage.AGENCY}),
    "manifest": frozenset({Usage.AGENCY_ROOT}),
    "renewal-request": frozenset({Usage.AGENCY}),
    "renewal": frozenset({Usage.AGENCY_ROOT}),
    "roster": frozenset({Usage.ROSTER_ROOT}),
    "revocation": frozenset({Usage.AGENCY_ROOT, Usage.ROSTER_ROOT}),
    "freshness": frozenset({Usage.AGENCY}),
    "approve": frozenset({Usage.OFFICER}),  # as release
    "joint": frozenset({Usage.OFFICER}),  # another agency says the same, and an automaton says nothing for others
    "agreement": frozenset({Usage.AGENCY}),
    "group": frozenset({Usage.AGENCY}),
    "subscription": frozenset({Usage.OFFICER}),
    "key": frozenset(Usage) - {Usage.ENCRYPTION},
}

# Settled by name and by who may sign; no program of this release makes or takes any.
SETTLED = frozenset({"freshness", "approve", "joint", "agreement", "group", "subscription"})


@hot_value(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature over the frame of its type; nothing in it is trusted before it verifies."""

    payload_type: str
    key_id: bytes  # 32 bytes; a hint for look-up, proof of nothing
    signature: bytes  # 64 bytes, or 64 + 3,309 for suite 2


@hot_value(frozen=True, slots=True, kw_only=True)
class SignedPayload:
    """A payload and its signatures, ascending by (payload_type, key_id), none twice."""

    payload: bytes
    signatures: tuple[Signature, ...] = ()

    def to_message(self) -> signed_pb2.SignedPayload:
        """Return the generated message, to travel inside another one."""
        message = signed_pb2.SignedPayload(payload=self.payload)
        for each in self.signatures:
            message.signatures.add(payload_type=each.payload_type, key_id=each.key_id, signature=each.signature)
        return message

    def encode(self) -> bytes:
        """Encode to the canonical bytes, as kept in files and sealed."""
        return self.to_message().SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, data: bytes, *, limit: int = MAX_SIGNED_BYTES) -> SignedPayload:
        """Decode canonical bytes; RefusedError TOO_LARGE, MALFORMED or NOT_UNDERSTOOD."""
        return cls.from_message(parse_record(data, signed_pb2.SignedPayload, limit=limit))

    @classmethod
    def from_message(cls, message: signed_pb2.SignedPayload) -> SignedPayload:
        """Take a received message; RefusedError MALFORMED where lengths, order or count are wrong."""
        if not message.payload:
            raise RefusedError("MALFORMED", "a signed payload is empty")
        if len(message.signatures) > MAX_SIGNATURES:
            raise RefusedError("MALFORMED", f"a payload has {len(message.signatures)} signatures")
        signatures = tuple([_signature(each) for each in message.signatures])
        if len(signatures) > 1 and any(one >= two for one, two in pairwise(map(_order, signatures))):
            raise RefusedError("MALFORMED", "signatures do not ascend, or one stands twice")
        return cls(payload=message.payload, signatures=signatures)


def sign(payload: bytes, *pairs: tuple[str, Signer]) -> SignedPayload:
    """Sign a payload in one or more roles: pairs of role and signer, in any order."""
    signed = SignedPayload(payload=payload)
    for role, signer in pairs:
        signed = add(signed, role, signer)
    return signed


def add(signed: SignedPayload, role: str, signer: Signer) -> SignedPayload:
    """Add one more signature in its order; the same one again replaces the old one."""
    key = signer.key
    if key.usage not in SIGNERS[role]:
        raise RefusedError("WRONG_TYPE", f"a key of usage {key.usage.value} does not sign as {role}")
    name = payload_type(role)
    made = Signature(payload_type=name, key_id=key.key_id, signature=signer.sign(pae(name, signed.payload)))
    others = [each for each in signed.signatures if _order(each) != _order(made)]
    return SignedPayload(payload=signed.payload, signatures=tuple(sorted([*others, made], key=_order)))


def merge(one: SignedPayload, other: SignedPayload) -> SignedPayload:
    """Put the signatures of two copies of one payload together; one that both have stands once."""
    found = {_order(each): each for each in (*one.signatures, *other.signatures)}
    return SignedPayload(payload=one.payload, signatures=tuple(found[each] for each in sorted(found)))


def verify(
    signed: SignedPayload,
    role: str,
    find: Callable[[bytes], PublicKey | None],
    *,
    count: int | None = 1,
) -> tuple[PublicKey, ...]:
    """Verify every signature in one role.

    1. the number of signatures, 2. each one's type, 3. its key known, 4. its key allowed in the role, 5. the
    signature. That the keys' owner is the payload's maker is the duty of *find*, which knows no other keys.

    Args:
        signed: Decoded; its payload is not yet parsed.
        role: What its place expects, e.g. ``dispatch``.
        find: Gives the key of a key id, or None; may itself refuse (KEY_EXPIRED).
        count: How many signatures there must be; None for one or more.

    Returns:
        The keys that signed, ascending by key id.

    Raises:
        RefusedError: SIGNERS_DIFFER, WRONG_TYPE, SIGNER_UNKNOWN, SIGNATURE_INVALID.
    """
    number = len(signed.signatures)
    if number == 0 or (count is not None and number != count):
        raise RefusedError("SIGNERS_DIFFER", f"a {role} has {number} signatures")
    return tuple([_verify_one(signed.payload, each, (role,), find) for each in signed.signatures])


def verify_roles(
    signed: SignedPayload, roles: Sequence[str], find: Callable[[bytes], PublicKey | None]
) -> tuple[PublicKey, ...]:
    """Verify exactly one signature in each of *roles*, by different owners: a statement with its release.

    Returns:
        The keys in the order of *roles*.

    Raises:
        RefusedError: As ``verify``; SIGNERS_DIFFER also where one owner signed in two roles.
    """
    wanted = {payload_type(role): number for number, role in enumerate(roles)}
    if len(signed.signatures) != len(wanted):
        raise RefusedError("SIGNERS_DIFFER", f"a payload has {len(signed.signatures)} signatures")
    keys = {
        wanted[each.payload_type]: key
        for each in signed.signatures
        for key in (_verify_one(signed.payload, each, roles, find),)
    }
    if len(keys) != len(wanted) or len({key.owner for key in keys.values()}) != len(wanted):
        raise RefusedError("SIGNERS_DIFFER", "two roles are signed by one owner, or one role twice")
    return tuple(keys[number] for number in range(len(wanted)))


def _verify_one(
    payload: bytes, each: Signature, roles: Sequence[str], find: Callable[[bytes], PublicKey | None]
) -> PublicKey:
    for role in roles:
        if payload_type(role) == each.payload_type:
            break
    else:
        raise RefusedError("WRONG_TYPE", f"a signature of another type stands where {roles[0]} belongs")
    key = find(each.key_id)
    if key is None or key.key_id != each.key_id:
        raise RefusedError("SIGNER_UNKNOWN", f"key {short(each.key_id)} is not known as a signer here")
    if key.usage not in SIGNERS[role]:
        raise RefusedError("WRONG_TYPE", f"key {short(each.key_id)} may not sign as {role}")
    key.verify(pae(each.payload_type, payload), each.signature)
    return key


def _order(each: Signature) -> tuple[bytes, bytes]:
    return each.payload_type.encode(), each.key_id


def _signature(message: signed_pb2.Signature) -> Signature:
    name, key_id, signature = message.payload_type, message.key_id, message.signature
    if len(key_id) != DIGEST_BYTES or len(signature) not in SIGNATURE_BYTES:
        raise RefusedError("MALFORMED", "a signature or its key id has no length of ours")
    if not 0 < len(name) <= MAX_TYPE_BYTES:
        raise RefusedError("MALFORMED", "a signature's type is absent or too long")
    return Signature(payload_type=name, key_id=key_id, signature=signature)
