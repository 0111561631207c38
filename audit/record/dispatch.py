"""The record of what travels: who sends which sealed statement to whom, signed by the sending agency.

Every node can read it, so nothing in it names content. It lists the signatures inside (none can be dropped or added),
every recipient with the digest of its wrap (no ghost, no forwarding), every recipient that is not served with the
reason (no silent silencing), and the sealed body by digest and size. A size is that of a padding bucket, so the wire
shows buckets only.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType

from audit.record.statement import Statement
from audit.record.wire import (
    ID_BYTES,
    MAX_RECIPIENTS,
    encode,
    malformed,
    need_agency,
    need_ascending,
    need_bytes,
    need_count,
    need_enum,
    parse,
)
from audit.v1 import dispatch_pb2
from keys.dsse import MAX_SIGNATURES, SignedPayload, payload_type
from keys.errors import RefusedError
from keys.identity import AgencyId, record_digest, short
from keys.seal import BUCKET_BYTES, MAX_PADDED_BYTES
from keys.suites import COBBLESTONE
from keys.values import hot_value

MAX_DISPATCH_BYTES = 64 << 10
CHUNK_BYTES = 16 << 10
HEADER_BYTES = 24 + 32  # salt and commitment
TAG_BYTES = 16  # per chunk


def ciphertext_size(bucket: int) -> int:
    """Return the size of a sealed body whose plaintext fills *bucket* bytes; the last chunk is always a short one."""
    return HEADER_BYTES + bucket + TAG_BYTES * (bucket // CHUNK_BYTES + 1)


BUCKETS = tuple(BUCKET_BYTES << power for power in range((MAX_PADDED_BYTES // BUCKET_BYTES).bit_length()))
CIPHERTEXT_SIZES = frozenset(ciphertext_size(bucket) for bucket in BUCKETS)
MAX_CIPHERTEXT_BYTES = max(CIPHERTEXT_SIZES)


class SignerRole(IntEnum):
    """Who signed inside; the numbers of ``audit.v1.SignerRole``."""

    AUTHOR = 1
    RELEASER = 2
    JOINT = 3


class AbsentReason(IntEnum):
    """Why a recipient is not served; the numbers of ``audit.v1.AbsentReason``."""

    NO_KEY = 1
    SUSPENDED = 2
    LEFT = 3
    SERVED_BEFORE = 4
    NOT_ENTITLED = 5
    OTHER_PART = 6


class Urgency(IntEnum):
    """How fast; the numbers of ``exchange.v1.Urgency`` and ``DispatchUrgency``."""

    FLASH = 1
    URGENT = 2
    PRIORITY = 3
    ROUTINE = 4


# The payload type of a signature inside tells its role.
ROLE_OF_TYPE = MappingProxyType(
    {
        payload_type("statement"): SignerRole.AUTHOR,
        payload_type("release"): SignerRole.RELEASER,
        payload_type("joint"): SignerRole.JOINT,
    }
)


@hot_value(frozen=True, slots=True, kw_only=True)
class DispatchSigner:
    """One signature inside the sealed body."""

    role: SignerRole
    key_id: bytes  # 32 bytes


@hot_value(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One agency that can open the body."""

    agency: AgencyId
    key_id: bytes  # 32 bytes, of the encryption key that its wrap is made for
    wrap_digest: bytes  # 32 bytes


@hot_value(frozen=True, slots=True, kw_only=True)
class Absent:
    """One agency of the statement that this dispatch does not serve."""

    agency: AgencyId
    reason: AbsentReason


@hot_value(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What the sending agency signs."""

    federation_id: bytes  # 32 bytes
    bulletin_id: bytes  # 16 bytes, the UUID
    sender: AgencyId
    statement_digest: bytes  # 32 bytes
    signers: tuple[DispatchSigner, ...]  # ascending by (role, key id)
    recipients: tuple[Recipient, ...]  # ascending by agency
    absent: tuple[Absent, ...] = ()  # ascending by agency
    body_suite: int = COBBLESTONE
    expires_ms: int  # milliseconds UTC, the sender's limit for transport
    urgency: Urgency
    ciphertext_digest: bytes  # 32 bytes
    ciphertext_size: int  # bytes; that of a bucket
    part: int = 0  # from 1; 0 where it is the only one
    parts: int = 0

    @property
    def served(self) -> tuple[AgencyId, ...]:
        """The agencies that can open the body, ascending."""
        return tuple([recipient.agency for recipient in self.recipients])

    def encode(self) -> bytes:
        """Write the payload of type ``dispatch``."""
        return encode(
            dispatch_pb2.Dispatch(
                federation_id=self.federation_id,
                bulletin_id=self.bulletin_id,
                sender=self.sender,
                statement_digest=self.statement_digest,
                signers=[_signer_message(signer) for signer in self.signers],
                recipients=[_recipient_message(recipient) for recipient in self.recipients],
                absent=[_absent_message(absent) for absent in self.absent],
                body_suite=self.body_suite,
                expires_ms=self.expires_ms,
                urgency=dispatch_pb2.DispatchUrgency.ValueType(self.urgency),
                ciphertext_digest=self.ciphertext_digest,
                ciphertext_size=self.ciphertext_size,
                part=self.part,
                parts=self.parts,
            )
        )


def parse_dispatch(payload: bytes) -> Dispatch:
    """Read the payload of a dispatch whose signature is already verified or is verified next.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, or SUITE_UNKNOWN for another body suite.
    """
    message = parse("dispatch", payload, dispatch_pb2.Dispatch, MAX_DISPATCH_BYTES)
    need_bytes("dispatch", "federation_id", message.federation_id)
    need_bytes("dispatch", "bulletin_id", message.bulletin_id, ID_BYTES)
    need_bytes("dispatch", "statement_digest", message.statement_digest)
    need_bytes("dispatch", "ciphertext_digest", message.ciphertext_digest)
    if message.body_suite != COBBLESTONE:
        raise RefusedError("SUITE_UNKNOWN", f"dispatch: body suite {message.body_suite}, {COBBLESTONE} expected")
    if message.ciphertext_size > MAX_CIPHERTEXT_BYTES:
        raise RefusedError("TOO_LARGE", f"dispatch: body of {message.ciphertext_size} bytes")
    if message.ciphertext_size not in CIPHERTEXT_SIZES:
        raise malformed("dispatch", f"ciphertext_size {message.ciphertext_size} is no bucket's")
    if not message.expires_ms:
        raise malformed("dispatch", "no expires_ms")
    dispatch = Dispatch(
        federation_id=message.federation_id,
        bulletin_id=message.bulletin_id,
        sender=need_agency(message.sender),
        statement_digest=message.statement_digest,
        signers=tuple([_parse_signer(signer) for signer in message.signers]),
        recipients=tuple([_parse_recipient(recipient) for recipient in message.recipients]),
        absent=tuple([_parse_absent(absent) for absent in message.absent]),
        body_suite=message.body_suite,
        expires_ms=message.expires_ms,
        urgency=need_enum("dispatch", "urgency", message.urgency, Urgency),
        ciphertext_digest=message.ciphertext_digest,
        ciphertext_size=message.ciphertext_size,
        part=message.part,
        parts=message.parts,
    )
    _check_lists(dispatch)
    if dispatch.absent or dispatch.part or dispatch.parts:
        _check_part(dispatch)
    return dispatch


def dispatch_digest(payload: bytes) -> bytes:
    """Return the 32-byte digest that deliveries and log entries name; signatures are no part of it."""
    return record_digest("dispatch", payload)


def wrap_digest(wrapped: bytes) -> bytes:
    """Return the 32-byte digest of a wrap."""
    return record_digest("wrap", wrapped)


def ciphertext_digest(body: bytes) -> bytes:
    """Return the 32-byte digest of a sealed body."""
    return record_digest("ciphertext", body)


def signers_of(signed_statement: SignedPayload) -> tuple[DispatchSigner, ...]:
    """Return the signers that the signatures of a statement mean, ascending by (role, key id).

    Raises:
        RefusedError: WRONG_TYPE for a signature that is neither an author's nor a releaser's.
    """
    found = []
    for signature in signed_statement.signatures:
        role = ROLE_OF_TYPE.get(signature.payload_type)
        if role is None:
            raise RefusedError("WRONG_TYPE", f"statement: signature of type {signature.payload_type[:80]!a}")
        found.append(DispatchSigner(role=role, key_id=signature.key_id))
    return tuple(sorted(found, key=_signer_order))


def check_recipients(statement: Statement, dispatch: Dispatch) -> None:
    """Refuse a dispatch whose recipients and absent are not together exactly the statement's (rows 1, 31, 52, 56).

    Raises:
        RefusedError: RECIPIENTS_DIFFER.
    """
    named = sorted([*dispatch.served, *(each.agency for each in dispatch.absent)])
    if tuple(named) != statement.recipients:
        raise RefusedError(
            "RECIPIENTS_DIFFER",
            f"dispatch of {short(dispatch.statement_digest)}: {len(named)} agencies served and absent are not"
            f" the {len(statement.recipients)} that the statement names",
        )


def check_signers(signed_statement: SignedPayload, dispatch: Dispatch) -> None:
    """Refuse a statement whose signatures are not exactly those that the dispatch lists (row 3).

    Raises:
        RefusedError: SIGNERS_DIFFER, or WRONG_TYPE for a strange signature.
    """
    if signers_of(signed_statement) != dispatch.signers:
        raise RefusedError(
            "SIGNERS_DIFFER",
            f"statement {short(dispatch.statement_digest)}: {len(signed_statement.signatures)} signatures inside"
            f" are not the {len(dispatch.signers)} that the dispatch lists",
        )


def recipient_of(dispatch: Dispatch, agency: AgencyId) -> Recipient:
    """Return what the dispatch says of one recipient.

    Raises:
        RefusedError: NOT_FOR_US if it is none.
    """
    for recipient in dispatch.recipients:
        if recipient.agency == agency:
            return recipient
    raise RefusedError("NOT_FOR_US", f"dispatch of {short(dispatch.statement_digest)}: {agency} is no recipient")


def _check_lists(dispatch: Dispatch) -> None:
    """Bound the three lists; one author, at most one releaser; recipients and absent apart, the sender in none."""
    signers, served, absent = dispatch.signers, dispatch.served, [absent.agency for absent in dispatch.absent]
    need_count("dispatch", "signers", len(signers), 1, MAX_SIGNATURES)
    need_ascending("dispatch", "signers", [_signer_order(signer) for signer in signers])
    roles = [signer.role for signer in signers]
    if roles.count(SignerRole.AUTHOR) != 1 or roles.count(SignerRole.RELEASER) > 1:
        raise malformed("dispatch", "signers name not exactly one author and at most one releaser")
    need_count("dispatch", "recipients", len(served), 1, MAX_RECIPIENTS)
    need_count("dispatch", "recipients and absent", len(served) + len(absent), 1, MAX_RECIPIENTS)
    need_ascending("dispatch", "recipients", served)
    need_ascending("dispatch", "absent", absent)
    if not set(served).isdisjoint(absent):
        raise malformed("dispatch", "an agency is both served and absent")
    if dispatch.sender in served or dispatch.sender in absent:
        raise malformed("dispatch", "the sender is among the recipients")


def _check_part(dispatch: Dispatch) -> None:
    """Refuse a part that is none of its parts, and agencies of another part exactly where there is none."""
    elsewhere = any(absent.reason is AbsentReason.OTHER_PART for absent in dispatch.absent)
    if elsewhere != bool(dispatch.parts):
        raise malformed("dispatch", f"{dispatch.parts} parts, {'an' if elsewhere else 'no'} agency in another one")
    if not dispatch.parts:
        if dispatch.part:
            raise malformed("dispatch", f"part {dispatch.part} of no parts")
        return
    need_count("dispatch", "parts", dispatch.parts, 2, MAX_RECIPIENTS)
    if not 1 <= dispatch.part <= dispatch.parts:
        raise malformed("dispatch", f"part {dispatch.part} of {dispatch.parts}")


def _signer_order(signer: DispatchSigner) -> tuple[int, bytes]:
    return signer.role, signer.key_id


def _parse_signer(message: dispatch_pb2.Signer) -> DispatchSigner:
    need_bytes("dispatch", "signers.key_id", message.key_id)
    role = need_enum("dispatch", "signers.role", message.role, SignerRole)
    return DispatchSigner(role=role, key_id=message.key_id)


def _parse_recipient(message: dispatch_pb2.Recipient) -> Recipient:
    key_id, digest = message.key_id, message.wrap_digest
    need_bytes("dispatch", "recipients.key_id", key_id)
    need_bytes("dispatch", "recipients.wrap_digest", digest)
    return Recipient(agency=need_agency(message.agency), key_id=key_id, wrap_digest=digest)


def _parse_absent(message: dispatch_pb2.Absent) -> Absent:
    reason = need_enum("dispatch", "absent.reason", message.reason, AbsentReason)
    return Absent(agency=need_agency(message.agency), reason=reason)


def _signer_message(signer: DispatchSigner) -> dispatch_pb2.Signer:
    return dispatch_pb2.Signer(role=dispatch_pb2.SignerRole.ValueType(signer.role), key_id=signer.key_id)


def _recipient_message(recipient: Recipient) -> dispatch_pb2.Recipient:
    return dispatch_pb2.Recipient(agency=recipient.agency, key_id=recipient.key_id, wrap_digest=recipient.wrap_digest)


def _absent_message(absent: Absent) -> dispatch_pb2.Absent:
    return dispatch_pb2.Absent(agency=absent.agency, reason=dispatch_pb2.AbsentReason.ValueType(absent.reason))
